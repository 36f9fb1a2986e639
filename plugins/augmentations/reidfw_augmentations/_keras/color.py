"""Layers that change colours. The arguments are described at the components of the same names."""

from __future__ import annotations

from abc import abstractmethod

import keras
import tensorflow as tf

from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchAugmentation, batch_size

register = keras.saving.register_keras_serializable(package="reidfw")

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma. Source: ITU-R BT.601."""


Offsets = tuple[tf.Tensor | None, tf.Tensor | None, tf.Tensor | None]
"""What is added to hue, saturation and value, each (B,); None adds nothing."""


class HsvLayer(BatchAugmentation):
    """Base of layers that shift hue, saturation and value, each in [0, 1]."""

    needs_rgb = True

    @abstractmethod
    def offsets(self, count: tf.Tensor, draws: Draws) -> Offsets:
        """Draws the offsets of hue, saturation and value; subclasses say which.

        Args:
            count: (1,) int32, number B of images.
            draws: where the draws come from.

        Returns:
            Three times (B,) float32, or None for what stays as it is.
        """

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """To HSV, shift, and back; the hue goes round, the others are clipped."""
        planes = tf.unstack(tf.image.rgb_to_hsv(tf.clip_by_value(self.to_unit(images), 0.0, 1.0)), axis=-1)
        hue, saturation, value = (
            plane if offset is None else plane + offset[:, tf.newaxis, tf.newaxis]
            for plane, offset in zip(planes, self.offsets(batch_size(images), draws), strict=True)
        )
        hue = hue - tf.floor(hue)
        saturation, value = tf.clip_by_value(saturation, 0.0, 1.0), tf.clip_by_value(value, 0.0, 1.0)
        return self.from_unit(tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1)))


class OneOffsetLayer(HsvLayer):
    """Base of layers that shift one of the three."""

    delta: tuple[float, float]


@register
class RandomHue(OneOffsetLayer):
    """Turns the hue."""

    def offsets(self, count: tf.Tensor, draws: Draws) -> Offsets:
        """Hue only."""
        return draws.uniform(count, self.delta), None, None


@register
class RandomSaturation(OneOffsetLayer):
    """Shifts the saturation."""

    def offsets(self, count: tf.Tensor, draws: Draws) -> Offsets:
        """Saturation only."""
        return None, draws.uniform(count, self.delta), None


@register
class RandomValue(OneOffsetLayer):
    """Shifts the value."""

    def offsets(self, count: tf.Tensor, draws: Draws) -> Offsets:
        """Value only."""
        return None, None, draws.uniform(count, self.delta)


@register
class RandomHsv(HsvLayer):
    """Shifts all three."""

    hue_delta: tuple[float, float]
    saturation_delta: tuple[float, float]
    value_delta: tuple[float, float]

    def offsets(self, count: tf.Tensor, draws: Draws) -> Offsets:
        """Three independent draws."""
        return (
            draws.uniform(count, self.hue_delta),
            draws.uniform(count, self.saturation_delta),
            draws.uniform(count, self.value_delta),
        )


@register
class RandomRgbToHsv(BatchAugmentation):
    """Replaces RGB by HSV."""

    needs_rgb = True

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:  # noqa: ARG002 (nothing to draw)
        """Hue, saturation and value, each brought from [0, 1] to ``pixel_range``."""
        return self.from_unit(tf.image.rgb_to_hsv(tf.clip_by_value(self.to_unit(images), 0.0, 1.0)))


@register
class RandomRgbToGrayscale(BatchAugmentation):
    """Replaces RGB by luma."""

    needs_rgb = True

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:  # noqa: ARG002 (nothing to draw)
        """The weights add up to 1, so that the pixel range does not matter."""
        luma = tf.tensordot(images, tf.constant(LUMA, images.dtype), axes=1)
        return self.clip(tf.stack([luma] * 3, axis=-1))
