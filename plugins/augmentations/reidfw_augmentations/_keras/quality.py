"""Layers that imitate cameras and files. The arguments are described at the components of the same names."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchAugmentation, batch_size, one_by_one, per_image

register = keras.saving.register_keras_serializable(package="reidfw")


@register
class RandomSharpness(BatchAugmentation):
    """Adds detail."""

    factor: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """``x + k (x - smooth(x))`` on the levels 0 to 255, rounded; smooth is [1 1 1; 1 5 1; 1 1 1] / 13."""
        strength = per_image(draws.uniform(batch_size(images), self.factor))
        levels = self.to_levels(images)
        inner = levels[:, 1:-1, 1:-1]
        smooth = (9.0 * tf.nn.avg_pool2d(levels, 3, 1, "VALID") + 4.0 * inner) / 13.0
        detail = tf.pad(inner - smooth, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return self.from_levels(tf.clip_by_value(tf.round(levels + strength * detail), 0.0, 255.0))


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
