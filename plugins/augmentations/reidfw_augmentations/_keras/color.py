"""Layers that change colours. The arguments are described at the components of the same names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchAugmentation, batch_size, one_by_one, per_image

register = keras.saving.register_keras_serializable(package="reidfw")

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma. Source: ITU-R BT.601."""


def luma(images: tf.Tensor) -> tf.Tensor:
    """(B, H, W, 1) luma of RGB images; gray images are their own."""
    if images.shape[-1] == 1:
        return images
    return tf.tensordot(images[..., :3], tf.constant(LUMA, images.dtype), axes=1)[..., tf.newaxis]


def brightened(images: tf.Tensor, factor: tf.Tensor, black: float) -> tf.Tensor:
    """Images times ``factor``, (B,), black being zero; not clipped. A factor of 1 changes no bit, here and below."""
    return images + per_image(factor - 1.0) * (images - black)


def contrasted(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """The distance from the mean luma of each image times ``factor``, (B,); not clipped."""
    rows = tf.reduce_mean(luma(images), axis=1, keepdims=True)
    return images + per_image(factor - 1.0) * (images - tf.reduce_mean(rows, axis=2, keepdims=True))


def saturated(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """The distance from the luma of each pixel times ``factor``, (B,); not clipped."""
    return images + per_image(factor - 1.0) * (images - luma(images))


def hue_turned(images: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """The hue of each image shifted by ``offset``, (B,), 1 being a full turn; works in any pixel range."""

    def turn(image_and_offset: tuple[Any, Any]) -> tf.Tensor:
        image, delta = image_and_offset
        return tf.raw_ops.AdjustHue(images=image, delta=delta)

    # TensorFlow's kernel takes one offset for all images, and a third of the time of going to HSV and back.
    return one_by_one(turn, (images, offset), tf.TensorSpec(images.shape[1:], images.dtype))


Offsets = tuple[tf.Tensor | None, tf.Tensor | None, tf.Tensor | None]
"""What is added to hue, saturation and value, each (B,); None adds nothing."""


def hsv_shifted(images: tf.Tensor, offsets: Offsets) -> tf.Tensor:
    """Images in [0, 1] with hue, saturation and value shifted; the hue goes round, the others are clipped."""
    planes = tf.unstack(tf.image.rgb_to_hsv(tf.clip_by_value(images, 0.0, 1.0)), axis=-1)
    hue, saturation, value = (
        plane if offset is None else plane + offset[:, tf.newaxis, tf.newaxis]
        for plane, offset in zip(planes, offsets, strict=True)
    )
    hue = hue - tf.floor(hue)
    saturation, value = tf.clip_by_value(saturation, 0.0, 1.0), tf.clip_by_value(value, 0.0, 1.0)
    return tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1))


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
        return self.from_unit(hsv_shifted(self.to_unit(images), self.offsets(batch_size(images), draws)))


class OneOffsetLayer(HsvLayer):
    """Base of layers that shift one of the three."""

    delta: tuple[float, float]


@register
class RandomHue(BatchAugmentation):
    """Turns the hue."""

    needs_rgb = True
    delta: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Hue only, and without a way through HSV."""
        return self.clip(hue_turned(images, draws.uniform(batch_size(images), self.delta)))


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
        return self.clip(tf.repeat(luma(images), 3, axis=-1))


@register
class RandomColorJitter(BatchAugmentation):
    """Brightness, contrast, saturation and hue, in an order drawn for each batch."""

    needs_rgb = True
    brightness: tuple[float, float]
    contrast: tuple[float, float]
    saturation: tuple[float, float]
    hue: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """One step after the other; a step whose range holds only "no change" is left out."""
        count = batch_size(images)
        brightness, contrast, saturation, hue = (
            draws.uniform(count, interval) for interval in (self.brightness, self.contrast, self.saturation, self.hue)
        )
        steps: list[tuple[tuple[float, float], float, Callable[[tf.Tensor], tf.Tensor]]] = [
            (self.brightness, 1.0, lambda given: self.clip(brightened(given, brightness, self.low))),
            (self.contrast, 1.0, lambda given: self.clip(contrasted(given, contrast))),
            (self.saturation, 1.0, lambda given: self.clip(saturated(given, saturation))),
            (self.hue, 0.0, lambda given: self.clip(hue_turned(given, hue))),
        ]
        used = [step for interval, nothing, step in steps if tuple(interval) != (nothing, nothing)]
        order = tf.unstack(tf.argsort(draws.uniform((len(used),)))) if used else []
        for place in order:
            images = tf.switch_case(place, [partial(step, images) for step in used])
        return images
