"""RandAugment and AugMix. The arguments are described at the components of the same names."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import keras
import tensorflow as tf

from reidfw_augmentations._keras.color import brightened, contrasted, saturated
from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.geometry import check_fill_value
from reidfw_augmentations._keras.intensity import autocontrast_table, equalize_table, mapped, posterized, solarized
from reidfw_augmentations._keras.layer import BatchAugmentation, one_by_one
from reidfw_augmentations._keras.quality import sharpened
from reidfw_augmentations._keras.sampling import AffineStage, resample_one

register = keras.saving.register_keras_serializable(package="reidfw")

IDENTITY = "identity"
SHIFT = "shift"
TURN = "turn"
BRANCHES = {"translate_x": SHIFT, "translate_y": SHIFT, "rotate": TURN, "shear_x": TURN, "shear_y": TURN}
"""Operations that move pixels, and which of two branches does them; they differ in their maps only."""

FULL_ANGLE = math.radians(30)
FULL_SLOPE = 0.3
FULL_FACTOR = 0.9
TINY = 1e-12
"""Keeps weights finite that are drawn from gamma distributions of small parameters."""


class OperationLayer(BatchAugmentation):
    """Base of layers in which each image goes through operations of its own.

    The images go through one by one, so that an image costs what its own operations cost, and stays in the processor's
    cache from one to the next.
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

    def walked(self, image: tf.Tensor, names: tuple[str, ...], choices: tf.Tensor, magnitudes: tf.Tensor) -> tf.Tensor:
        """An image after several operations.

        Args:
            image: (H, W, C) float32.
            names: operations to choose from.
            choices: (K,) int32, places in ``names`` of the operations; larger numbers do nothing.
            magnitudes: (K,) float32 in [-1, 1], how far; operations that have one direction only take its size.

        Returns:
            (H, W, C) float32.
        """

        def step(place: tf.Tensor, given: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return place + 1, self._operate(given, names, choices[place], magnitudes[place])

        return tf.while_loop(lambda place, _: place < choices.shape[0], step, (tf.constant(0), image))[1]

    def _operate(self, image: tf.Tensor, names: tuple[str, ...], choice: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
        """One step."""
        group_of = [BRANCHES.get(name, name) for name in (*names, IDENTITY)]
        groups = list(dict.fromkeys(group_of))
        changes: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
            IDENTITY: lambda one, _: one,
            SHIFT: lambda one, far: self._move(one[0], names, choice, far[0], axis_aligned=True)[tf.newaxis],
            TURN: lambda one, far: self._move(one[0], names, choice, far[0], axis_aligned=False)[tf.newaxis],
            "autocontrast": self._autocontrast,
            "equalize": self._equalize,
            "solarize": self._solarize,
            "posterize": self._posterize,
            "brightness": lambda one, far: self.clip(brightened(one, 1.0 + FULL_FACTOR * far, self.low)),
            "contrast": lambda one, far: self.clip(contrasted(one, 1.0 + FULL_FACTOR * far)),
            "color": lambda one, far: self.clip(saturated(one, 1.0 + FULL_FACTOR * far)),
            "sharpness": lambda one, far: self.from_levels(sharpened(self.to_levels(one), FULL_FACTOR * far)),
        }
        batch, far = image[tf.newaxis], magnitude[tf.newaxis]
        branches = [partial(changes[group], batch, far) for group in groups]
        branch = tf.gather(tf.constant([groups.index(group) for group in group_of]), tf.minimum(choice, len(names)))
        return tf.ensure_shape(tf.switch_case(branch, branches)[0], image.shape)

    def _move(
        self, image: tf.Tensor, names: tuple[str, ...], choice: tf.Tensor, magnitude: tf.Tensor, *, axis_aligned: bool
    ) -> tf.Tensor:
        """Rotation, shears and shifts; all but the chosen one are zero."""
        height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))

        def strength(name: str, full: float) -> tf.Tensor:
            full_strengths = tf.constant([full if other == name else 0.0 for other in names])
            return magnitude * tf.gather(full_strengths, choice)

        angle = strength("rotate", FULL_ANGLE)
        coefficients = [
            tf.cos(angle),
            strength("shear_x", FULL_SLOPE) - tf.sin(angle),
            strength("translate_x", self.full_shift) * width,
            strength("shear_y", FULL_SLOPE) + tf.sin(angle),
            tf.cos(angle),
            strength("translate_y", self.full_shift) * height,
        ]
        stage = AffineStage(tf.stack([coefficients]), axis_aligned, self.fill_mode, self.fill_value)
        return resample_one(image, stage.coefficients, [stage], self.interpolation)

    def _autocontrast(self, images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return self.from_levels(mapped(self.to_levels(images), partial(autocontrast_table, cutoff=0)))

    def _equalize(self, images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return self.from_levels(mapped(self.to_levels(images), equalize_table))

    def _solarize(self, images: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
        threshold = tf.round(256.0 * (1.0 - tf.abs(magnitude)))
        return solarized(images, self.to_levels(images), threshold, (self.low, self.high))

    def _posterize(self, images: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
        bits = tf.maximum(self.most_bits - tf.cast(tf.round(4.0 * tf.abs(magnitude)), tf.int32), 1)
        return self.from_levels(posterized(self.to_levels(images), bits))

    @staticmethod
    def _direction(shape: Any, draws: Draws) -> tf.Tensor:
        """float32 of the given shape, 1 or -1."""
        return tf.where(draws.chance(shape, 0.5), 1.0, -1.0)


@register
class RandAugment(OperationLayer):
    """A few operations, one after the other."""

    full_shift = 150 / 331
    num_ops: int
    magnitude: float

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Every operation is drawn anew, and so is its direction."""
        names, shape = self.usable(images), (tf.shape(images)[0], self.num_ops)
        choices = draws.integers(shape, (0, len(names) - 1))
        magnitudes = self._direction(shape, draws) * self.magnitude / 30.0

        def one(drawn: tuple[Any, Any, Any]) -> tf.Tensor:
            image, choice, magnitude = drawn
            return self.walked(image, names, choice, magnitude)

        return one_by_one(one, (images, choices, magnitudes), tf.TensorSpec(images.shape[1:], images.dtype))


@register
class AugMix(OperationLayer):
    """Chains of operations, mixed."""

    most_bits = 4
    width: int
    depth: int
    alpha: float
    severity: float

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Operations beyond the depth of a chain do nothing."""
        names, count = self.usable(images), tf.shape(images)[0]
        shape = (count, self.width, self.depth if self.depth > 0 else 3)
        choices = draws.integers(shape, (0, len(names) - 1))
        if self.depth <= 0:
            depths = draws.integers((count, self.width, 1), (1, 3))
            choices = tf.where(tf.range(3) < depths, choices, len(names))
        magnitudes = self._direction(shape, draws) * draws.uniform(shape, (0.1, self.severity)) / 10.0
        weights = self._shares((count, self.width), draws)
        shares = self._shares((count, 2), draws)[:, 0]

        def one(drawn: tuple[Any, Any, Any, Any, Any]) -> tf.Tensor:
            image, choice, magnitude, weight, share = drawn
            chains = tf.map_fn(
                lambda chain: self.walked(image, names, *chain), (choice, magnitude), fn_output_signature=image.dtype
            )
            mixed = tf.reshape(
                tf.linalg.matvec(tf.reshape(chains, (self.width, -1)), weight, transpose_a=True), tf.shape(image)
            )
            return tf.ensure_shape(image + share * (mixed - image), image.shape)

        drawn = (images, choices, magnitudes, weights, shares)
        return self.clip(one_by_one(one, drawn, tf.TensorSpec(images.shape[1:], images.dtype)))

    def _shares(self, shape: Any, draws: Draws) -> tf.Tensor:
        """Shares that add up to 1 along the last axis, from a Dirichlet distribution with equal parameters."""
        parts = tf.random.stateless_gamma(shape, draws.seed(), self.alpha) + TINY
        return parts / tf.reduce_sum(parts, axis=-1, keepdims=True)
