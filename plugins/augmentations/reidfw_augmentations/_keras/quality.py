"""Layers that imitate cameras and files. The arguments are described at the components of the same names."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchAugmentation, batch_size, one_by_one, per_image

register = keras.saving.register_keras_serializable(package="reidfw")


def sharpened(levels: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """``x + k (x - smooth(x))``, rounded; smooth is [1 1 1; 1 5 1; 1 1 1] / 13, and the border stays as it is.

    Args:
        levels: (B, H, W, C) float32, whole numbers from 0 to 255.
        strength: (B,) float32, k; -1 gives the smoothed image.
    """
    inner = levels[:, 1:-1, 1:-1]
    smooth = (9.0 * tf.nn.avg_pool2d(levels, 3, 1, "VALID") + 4.0 * inner) / 13.0
    detail = tf.pad(inner - smooth, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return tf.clip_by_value(tf.round(levels + per_image(strength) * detail), 0.0, 255.0)


@register
class RandomSharpness(BatchAugmentation):
    """Adds detail."""

    factor: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """One strength an image."""
        strength = draws.uniform(batch_size(images), self.factor)
        return self.from_levels(sharpened(self.to_levels(images), strength))


@register
class RandomBlur(BatchAugmentation):
    """Mean filter; for an even n the window reaches one pixel further to the right and down."""

    filter_size: tuple[int, int]
    padding: str
    constant_values: float

    def apply(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """See the base class.

        Raises:
            ValueError: the filter is too large for the images.
        """
        smallest_side = min((side for side in images.shape[1:3] if side is not None), default=None)
        if smallest_side is not None and self.filter_size[1] > smallest_side:
            raise ValueError(
                f"filter_size {self.filter_size[1]} of random_blur is too large for images whose smaller side has "
                f"{smallest_side} pixels"
            )
        return super().apply(images, seed)

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """One branch for each size, since a pooling's size must be known when it is traced."""
        smallest, largest = self.filter_size
        branches = [lambda size=size: self._mean(images, size) for size in range(smallest, largest + 1)]
        return self.clip(tf.switch_case(draws.integers((), (0, largest - smallest)), branches))

    def _mean(self, images: tf.Tensor, size: int) -> tf.Tensor:
        sides = [(size - 1) // 2, size // 2]
        padded = tf.pad(images, [[0, 0], sides, sides, [0, 0]], self.padding.upper(), self.constant_values)
        # A square mean is a mean of means: 2 n instead of n * n terms.
        return tf.nn.avg_pool2d(tf.nn.avg_pool2d(padded, (size, 1), 1, "VALID"), (1, size), 1, "VALID")


@register
class RandomGaussianNoise(BatchAugmentation):
    """Adds noise."""

    stddev: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """The standard deviation is meant for [0, 1] and scaled to ``pixel_range``."""
        deviation = draws.uniform((), self.stddev) * (self.high - self.low)
        return self.clip(images + deviation * draws.normal(tf.shape(images)))


@register
class RandomJpegQuality(BatchAugmentation):
    """JPEG there and back."""

    jpeg_quality: tuple[int, int]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Image by image, each with a quality of its own."""
        qualities = draws.integers(batch_size(images), self.jpeg_quality)
        levels = tf.cast(self.to_levels(images), tf.uint8)
        channels = images.shape[-1]

        def compress(image_and_quality: tuple[Any, Any]) -> tf.Tensor:
            image, quality = image_and_quality
            content = tf.raw_ops.EncodeJpegVariableQuality(images=image, quality=quality)
            return tf.ensure_shape(tf.io.decode_jpeg(content, channels=channels), image.shape)

        decoded = one_by_one(compress, (levels, qualities), tf.TensorSpec(images.shape[1:], tf.uint8))
        return self.from_levels(tf.cast(decoded, tf.float32))


@register
class RandomPeriodicResizing(BatchAugmentation):
    """To a smaller size and back, with one size for ``period`` batches."""

    image_sizes: tuple[tuple[int, int], ...] | tuple[float, float]
    period: int
    interpolation: str

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Averages what becomes one pixel, where ``interpolation`` is bilinear; nearest only leaves pixels out."""
        size = tf.shape(images)[1:3]
        smaller = tf.image.resize(
            images, self._size(size, draws.slowed(self.period)), self.interpolation, antialias=True
        )
        return self.clip(tf.image.resize(smaller, size, self.interpolation))

    def _size(self, size: tf.Tensor, draws: Draws) -> tf.Tensor:
        """(2,) int32 height and width; draws nothing but that."""
        sizes = self.image_sizes
        if isinstance(sizes[0], int | float):
            scale = draws.uniform((), (float(sizes[0]), float(sizes[1])))
            return tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1)
        return tf.gather(tf.constant(sizes, tf.int32), draws.integers((), (0, len(sizes) - 1)))
