"""Shapes of images and embeddings, as the runners of all formats check them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reidfw_core.api import DataError

Layout = Literal["NHWC", "NCHW"]

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """How a model wants its image.

    Attributes:
        shape: (H, W, C), however the file orders them.
        layout: the order in the file; N is the batch.
    """

    shape: tuple[int, int, int]
    layout: Layout

    def arrange(self, images: np.ndarray) -> np.ndarray:
        """Brings (N, H, W, C) images into the file's order, as a contiguous array."""
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if self.layout == "NCHW" else images


def image_input(dimensions: Sequence[int | str | None], name: str, *, prefer: Layout) -> ImageInput:
    """Recognises an image input by the place of its 1, 3 or 4 channels.

    Args:
        dimensions: the input's four dimensions; the first is the batch, a text or None stands for any size.
        name: what the error calls the model.
        prefer: the order where both fit, as in (1, 3, 64, 3).

    Raises:
        DataError: these are not the dimensions of an image of fixed size.
    """
    sizes = [size if isinstance(size, int) and size > 0 else None for size in dimensions[1:]]
    if len(dimensions) != 4 or None in sizes:
        shown = ", ".join(str(size) for size in dimensions)
        raise DataError(f"{name} takes ({shown}); a ReID model takes an image of fixed height, width and channels")
    first, middle, last = (int(size) for size in sizes if size is not None)
    fitting: list[Layout] = []
    if last in _CHANNELS:
        fitting.append("NHWC")
    if first in _CHANNELS:
        fitting.append("NCHW")
    if not fitting:
        raise DataError(
            f"{name} takes {(first, middle, last)}; neither its first nor its last size is 1, 3 or 4 channels"
        )
    layout = prefer if prefer in fitting else fitting[0]
    return ImageInput((middle, last, first) if layout == "NCHW" else (first, middle, last), layout)


def embedding_dim(dimensions: Sequence[int | str | None], name: str) -> int:
    """Length D of an output of dimensions (batch, D), or (batch, 1, 1, D) or (batch, D, 1, 1) after a global pooling.

    Raises:
        DataError: the output is something else; for a feature map the message says what is missing.
    """
    sizes = list(dimensions[1:])
    if len(sizes) == 3 and sizes.count(1) >= 2:  # a map of one pixel
        sizes = [next((size for size in sizes if size != 1), 1)]
    last = sizes[0] if len(sizes) == 1 else None
    if not isinstance(last, int) or last < 1:
        shown = ", ".join(str(size) for size in dimensions)
        hint = "Add global average pooling at its end." if len(dimensions) == 4 else None
        raise DataError(f"{name} gives ({shown}); a ReID model gives (batch, D): one embedding an image", hint=hint)
    return last


def single(found: Sequence[object], what: str, name: str) -> None:
    """Checks that a model has one input or output. Raises DataError."""
    if len(found) != 1:
        raise DataError(f"{name} has {len(found)} {what}s; a ReID model has one")


def checked_batch(images: np.ndarray, input_shape: tuple[int, int, int]) -> np.ndarray:
    """The images as float32.

    Args:
        images: (N, H, W, C), N may be 0.
        input_shape: the (H, W, C) of the model.

    Raises:
        DataError: the shape is another one, or a number is NaN.
    """
    if images.ndim != 4 or images.shape[1:] != input_shape:
        raise DataError(f"The model takes images of shape (N, {', '.join(map(str, input_shape))}), got {images.shape}")
    if images.size and np.isnan(images.min()):
        raise DataError("An image holds NaN, which stands for no pixel")
    return np.asarray(images, np.float32)
