"""The file of an equalised float model."""

from __future__ import annotations

import logging
from pathlib import Path

import keras

from reidfw_core.api import atomic_path
from reidfw_quantizers._keras.equalisation import equalise

logger = logging.getLogger(__name__)

OPTIMIZED_NAME = "optimized_model.keras"
"""Name in the export folder of the float model that is quantized with ``optimize``."""


def write_optimized(model: keras.Model, export_dir: Path) -> tuple[keras.Model, Path]:
    """Equalises a model, says in the log what was done, and saves the result.

    Returns:
        The rewritten model, and its file in the export folder.

    Raises:
        StorageError: the file cannot be written.
    """
    rewritten, done = equalise(model)
    logger.info(
        "optimize: %d batch normalisations folded, %d dead channels cleaned, biases of %d channels absorbed, "
        "%d groups of layers equalised in %d passes",
        done.folded,
        done.dead_channels,
        done.absorbed,
        done.groups,
        done.passes,
    )
    if not done.groups:
        logger.warning("optimize: no two layers of this model can be equalised; per_tensor weights lose as without it")
    path = export_dir / OPTIMIZED_NAME
    with atomic_path(path) as temporary:
        rewritten.save(temporary)
    return rewritten, path
