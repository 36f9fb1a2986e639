"""Seeds and devices: the one place that sets the process-wide state of Python, NumPy and TensorFlow."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reidfw_core.chatter import native_stderr_to_log

if TYPE_CHECKING:
    from reidfw_core.config.sections import GeneralSection, TrainingSection

logger = logging.getLogger(__name__)


def import_frameworks(general: GeneralSection | None = None, training: TrainingSection | None = None) -> None:
    """Imports TensorFlow and Keras with what their native code prints kept in the log (level DEBUG).

    ``gpu_memory_limit`` is in GBytes and holds for the first GPU only. It is set here, and the other computers of a
    ``multi_worker`` training are met here, since TensorFlow takes both only before it starts its devices.

    Raises:
        DataError: ``multi_worker`` without a sound ``TF_CONFIG``.
    """
    with native_stderr_to_log(logger):
        import keras
        import tensorflow as tf

        _limit_gpu_memory(general.gpu_memory_limit if general is not None else None)
        if training is not None and training.distribution == "multi_worker":
            from reidfw_core._keras.distribution import open_strategy

            open_strategy("multi_worker")
        tf.constant(0)  # starts the runtime, which announces itself too
    del keras


def _limit_gpu_memory(limit_gbytes: float | None) -> None:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        logger.debug("No GPU is visible to TensorFlow")
        return
    if limit_gbytes is None:
        logger.info("general.gpu_memory_limit is not set: TensorFlow may use all memory of the GPU")
        return
    limit = tf.config.LogicalDeviceConfiguration(memory_limit=int(limit_gbytes * 1024))
    try:
        tf.config.set_logical_device_configuration(gpus[0], [limit])
    except RuntimeError as cause:  # TensorFlow refuses once it has started the device
        logger.warning("general.gpu_memory_limit could not be applied: %s", cause)


def prepare_frameworks(general: GeneralSection) -> None:
    """Seeds Python, NumPy and TensorFlow, and switches deterministic operations on: once, as a run begins."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(general.global_seed)
    if general.deterministic_ops:
        tf.config.experimental.enable_op_determinism()
