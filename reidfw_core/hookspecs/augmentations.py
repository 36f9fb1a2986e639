"""Contract of augmentations (entry point group ``reidfw.augmentations``)."""

from __future__ import annotations

from typing import Any

from reidfw_core.markers import hookspec
from reidfw_core.types import PixelRange


@hookspec(firstresult=True)
def build_augmentation(pixel_range: PixelRange, seed: int) -> Any:
    """Makes the Keras layer that changes a batch of training images.

    The layer maps (B, H, W, C) float32 to the same shape and dtype, keeps values in ``pixel_range``, leaves images
    untouched when called with ``training=False``, works inside ``tf.data.Dataset.map``, and can be saved: its class
    is registered with ``keras.saving.register_keras_serializable``.

    Two methods are optional. ``apply(images, seed)`` with a seed (2,) int32 always augments and depends on its
    arguments alone: the core then gives every batch a seed of its own, and threads cannot change the result.
    ``joined_with(following)`` may give one layer that does the work of this one and the next, or None.

    Args:
        pixel_range: range of the pixel values that it gets.
        seed: seeds its random draws; the same seed gives the same sequence of images.

    Returns:
        A ``keras.layers.Layer``.
    """
