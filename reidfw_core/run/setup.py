"""Seeds and devices: the one place that sets the process-wide state of Python, NumPy and TensorFlow."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reidfw_core.chatter import native_stderr_to_log

if TYPE_CHECKING:
    from reidfw_core.config.sections import GeneralSection

logger = logging.getLogger(__name__)


def import_frameworks() -> None:
    """Imports TensorFlow and Keras with what their native code prints kept in the log (level DEBUG)."""
    with native_stderr_to_log(logger):
        import keras
        import tensorflow as tf

        tf.constant(0)  # starts the runtime, which announces itself too
    del keras


def prepare_frameworks(general: GeneralSection) -> None:
    """Seeds Python, NumPy and TensorFlow, limits GPU memory, and switches deterministic operations on.

    Done once, at the beginning of a run. ``gpu_memory_limit`` is in GBytes and holds for the first GPU only.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(general.global_seed)
    if general.deterministic_ops:
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        logger.debug("No GPU is visible to TensorFlow")
        return
    if general.gpu_memory_limit is None:
        logger.info("general.gpu_memory_limit is not set: TensorFlow may use all memory of the GPU")
        return
    limit = tf.config.LogicalDeviceConfiguration(memory_limit=int(general.gpu_memory_limit * 1024))
    try:
        tf.config.set_logical_device_configuration(gpus[0], [limit])
    except RuntimeError as cause:  # TensorFlow refuses once it has started the device
        logger.warning("general.gpu_memory_limit could not be applied: %s", cause)
