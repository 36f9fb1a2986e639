"""Looking at calibration images before a converter does, so that its errors speak of images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reidfw_core.api import CalibrationSet, DataError

CORRECTION_IMAGES = 32
"""Images that bias correction takes its means over; they are held in memory."""


def checked_images(calibration: CalibrationSet, input_shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Yields the calibration images one by one, each checked.

    Args:
        calibration: the images.
        input_shape: (H, W, C) of the model.

    Yields:
        (1, H, W, C) float32, finite.

    Raises:
        DataError: there is no image, or one has another shape or holds NaN or infinity.
    """
    number = 0
    for number, image in enumerate(calibration.images(), start=1):
        yield checked_image(image, input_shape, f"Calibration image {number} of {calibration.origin}")
    if number == 0:
        raise no_images(calibration)


def checked_image(image: np.ndarray, input_shape: tuple[int, int, int], name: str) -> np.ndarray:
    """The image as (1, H, W, C) float32; DataError where it has another shape or holds NaN or infinity."""
    if image.shape != (1, *input_shape):
        raise DataError(f"{name} has shape {image.shape}, but the model takes {(1, *input_shape)}")
    if not np.isfinite(image).all():
        raise DataError(f"{name} holds NaN or infinity")
    return np.ascontiguousarray(image, np.float32)


def no_images(calibration: CalibrationSet) -> DataError:
    """The error that says that there is nothing to calibrate with."""
    return DataError(
        f"There are no calibration images ({calibration.origin}); quantization measures activations with them",
        hint="Give dataset.quantization_path or dataset.training_path, or a larger dataset.quantization_split.",
    )
