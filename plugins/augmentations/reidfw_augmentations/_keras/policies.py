"""RandAugment and AugMix. The arguments are described at the components of the same names."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
import tensorflow as tf

from reidfw_augmentations._keras.color import brightened, contrasted, saturated
from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.geometry import check_fill_value
from reidfw_augmentations._keras.intensity import autocontrast_table, equalize_table, mapped, posterized, solarized
from reidfw_augmentations._keras.layer import BatchAugmentation, BatchSize, batch_size, per_image
from reidfw_augmentations._keras.quality import sharpened
from reidfw_augmentations._keras.sampling import AffineStage, affine, resample

register = keras.saving.register_keras_serializable(package="reidfw")

IDENTITY = "identity"
GEOMETRY = "geometry"
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
FULL_ANGLE = math.radians(30)
FULL_SLOPE = 0.3
FULL_FACTOR = 0.9
TINY = 1e-12
"""Keeps weights finite that are drawn from gamma distributions of small parameters."""


class OperationLayer(BatchAugmentation):
    """Base of layers in which each image goes through operations of its own.

    The images are sorted by operation, each operation changes those that drew it, and they are put back in order: an
    image costs what its operation costs, and not what all of them cost. The geometric ones are a single operation with
    different maps.
    """

    full_shift: ClassVar[float] = 1 / 3
    """Shift at the full magnitude, as a fraction of the side."""
    most_bits: ClassVar[int] = 8
    """Bits that posterization keeps at magnitude 0; at the full one it keeps four less."""
    operations: tuple[str, ...]
    fill_mode: str
    interpolation: str
    fill_value: float

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_fill_value(self.fill_mode, self.fill_value, (self.low, self.high))

    def usable(self, images: tf.Tensor) -> tuple[str, ...]:
        """The operations that images with these channels can go through.

        Raises:
            ValueError: there is none.
        """
        names = tuple(name for name in self.operations if name != "color" or images.shape[-1] == 3)
        if not names:
            raise ValueError(f"{type(self).__name__} needs an operation other than color for images that are not RGB")
        return names

    def operate(self, images: tf.Tensor, names: tuple[str, ...], choice: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
        """Changes each image by its operation.

        Args:
            images: (B, H, W, C) float32.
            names: operations to choose from.
            choice: (B,) int32, place in ``names`` of each image's operation.
            magnitude: (B,) float32 in [-1, 1], how far; operations that have one direction only take its size.

        Returns:
            (B, H, W, C) float32.
        """
        group_names = [GEOMETRY if name in GEOMETRIC else name for name in names]
        groups = list(dict.fromkeys(group_names))
        group_of = [groups.index(name) for name in group_names]
        group = tf.gather(tf.constant(group_of), choice)

        def sorted_out(values: tf.Tensor) -> list[tf.Tensor]:
            parts: list[tf.Tensor] = tf.dynamic_partition(values, group, len(groups))
            return parts

        places = sorted_out(tf.range(tf.shape(images)[0]))
        parts = zip(groups, sorted_out(images), sorted_out(choice), sorted_out(magnitude), strict=True)
        changed = [self._change_some(name, part, names, chosen, far) for name, part, chosen, far in parts]
        return tf.reshape(tf.dynamic_stitch(places, changed), tf.shape(images))

    def _change_some(
        self, group: str, images: tf.Tensor, names: tuple[str, ...], choice: tf.Tensor, magnitude: tf.Tensor
    ) -> tf.Tensor:
        """The images, none or more, that drew an operation of a group."""

        def change() -> tf.Tensor:
            if group == GEOMETRY:
                return self._move(images, names, choice, magnitude)
            return self._change(group, images, magnitude)

        return images if group == IDENTITY else tf.cond(tf.size(magnitude) > 0, change, lambda: images)

    def _move(self, images: tf.Tensor, names: tuple[str, ...], choice: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
        """Rotation, shears and shifts; those that an image did not draw go nowhere."""
        size = BatchSize.of(images)

        def strength(name: str, full: float) -> tf.Tensor:
            drawn = tf.constant([other == name for other in names])
            return tf.where(tf.gather(drawn, choice), full * magnitude, 0.0)

        angle = strength("rotate", FULL_ANGLE)
        coefficients = affine(
            xx=tf.cos(angle),
            xy=strength("shear_x", FULL_SLOPE) - tf.sin(angle),
            x0=strength("translate_x", self.full_shift) * size.width,
            yx=strength("shear_y", FULL_SLOPE) + tf.sin(angle),
            yy=tf.cos(angle),
            y0=strength("translate_y", self.full_shift) * size.height,
        )
        stage = AffineStage(coefficients, False, self.fill_mode, self.fill_value)
        return resample(images, [stage], self.interpolation)

    def _change(self, name: str, images: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
        """Operations on pixel values; ``images`` has at least one."""
        how_far = tf.abs(magnitude)
        offset = FULL_FACTOR * magnitude
        match name:
            case "autocontrast":
                return self.from_levels(mapped(self.to_levels(images), lambda counts: autocontrast_table(counts, 0)))
            case "equalize":
                return self.from_levels(mapped(self.to_levels(images), equalize_table))
            case "solarize":
                return solarized(
                    images, self.to_levels(images), tf.round(256.0 * (1.0 - how_far)), (self.low, self.high)
                )
            case "posterize":
                bits = tf.maximum(self.most_bits - tf.cast(tf.round(4.0 * how_far), tf.int32), 1)
                return self.from_levels(posterized(self.to_levels(images), bits))
            case "brightness":
                return self.clip(brightened(images, 1.0 + offset, self.low))
            case "contrast":
                return self.clip(contrasted(images, 1.0 + offset))
            case "color":
                return self.clip(saturated(images, 1.0 + offset))
            case "sharpness":
                return self.from_levels(sharpened(self.to_levels(images), offset))
            case _:
                raise ValueError(f"{type(self).__name__} knows no operation {name}")

    @staticmethod
    def _direction(count: tf.Tensor, draws: Draws) -> tf.Tensor:
        """(B,) float32, 1 or -1."""
        return tf.where(draws.chance(count, 0.5), 1.0, -1.0)


@register
class RandAugment(OperationLayer):
    """A few operations, one after the other."""

    full_shift = 150 / 331
    num_ops: int
    magnitude: float

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Every operation is drawn anew, and so is its direction."""
        names, count = self.usable(images), batch_size(images)
        for _ in range(self.num_ops):
            choice = draws.integers(count, (0, len(names) - 1))
            images = self.operate(images, names, choice, self._direction(count, draws) * self.magnitude / 30.0)
        return images


@register
class AugMix(OperationLayer):
    """Chains of operations, mixed."""

    most_bits = 4
    width: int
    depth: int
    alpha: float
    severity: float

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """All chains of all images go through the operations together."""
        names, size = self.usable(images), tf.shape(images)
        chains = tf.repeat(images, self.width, axis=0)
        count = batch_size(chains)
        deepest = self.depth if self.depth > 0 else 3
        depth = draws.integers(count, (1, 3)) if self.depth <= 0 else tf.fill(count, self.depth)
        for step in range(deepest):
            choice = tf.where(depth > step, draws.integers(count, (0, len(names) - 1)), len(names))
            magnitude = draws.uniform(count, (0.1, self.severity)) / 10.0
            chains = self.operate(chains, (*names, IDENTITY), choice, self._direction(count, draws) * magnitude)
        chains = tf.reshape(chains, tf.concat([[size[0], self.width], size[1:]], axis=0))
        mixed = tf.einsum("bw,bwhxc->bhxc", self._shares((size[0], self.width), draws), chains)
        weight = per_image(self._shares((size[0], 2), draws)[:, 0])
        return self.clip(images + weight * (mixed - images))

    def _shares(self, shape: Any, draws: Draws) -> tf.Tensor:
        """Shares that add up to 1 along the last axis, from a Dirichlet distribution with equal parameters."""
        parts = tf.random.stateless_gamma(shape, draws.seed(), self.alpha) + TINY
        return parts / tf.reduce_sum(parts, axis=-1, keepdims=True)
