"""Layers that move pixels. The arguments are described at the components of the same names."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchAugmentation, BatchSize
from reidfw_augmentations._keras.sampling import IDENTITY, AffineStage, affine, resample
from reidfw_core.api import ConfigError, Problem

Interval = tuple[float, float]
register = keras.saving.register_keras_serializable(package="reidfw")


class GeometricLayer(BatchAugmentation):
    """A layer that reads images at other places.

    Layers that follow each other can be joined (:meth:`joined_with`): the maps and fills are followed one after the
    other as if each layer ran alone, but pixels are read and interpolated once. That is faster, and sharper.
    """

    interpolation: str | None = None
    """None: a map from pixel centres to pixel centres, for which it makes no difference."""

    @abstractmethod
    def stages(self, images: tf.Tensor, draws: Draws) -> list[AffineStage]:
        """Draws the maps to follow; subclasses say which."""

    def _apply(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        return resample(images, self.stages(images, draws), self.interpolation or "nearest")

    def joined_with(self, following: keras.layers.Layer) -> GeometricChain | None:
        """One layer that does what this and the following one do, or None where they cannot be joined.

        They can where both are of this kind and neither interpolates differently from the other.
        """
        if not isinstance(following, GeometricLayer):
            return None
        if None not in (self.interpolation, following.interpolation) and self.interpolation != following.interpolation:
            return None
        parts = [
            part
            for layer in (self, following)
            for part in (layer.parts if isinstance(layer, GeometricChain) else [layer])
        ]
        return GeometricChain(parts=parts, pixel_range=(self.low, self.high), seed=self.seed)


@register
class GeometricChain(GeometricLayer):
    """Several geometric layers with a single interpolation; made by :meth:`GeometricLayer.joined_with`."""

    parts: list[GeometricLayer]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.interpolation = next((part.interpolation for part in self.parts if part.interpolation), None)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Marks the parts as built, too."""
        for part in self.parts:
            part.build(input_shape)
        super().build(input_shape)

    def stages(self, images: tf.Tensor, draws: Draws) -> list[AffineStage]:
        """The maps of all parts; each part draws from a seed of its own."""
        return [stage for part in self.parts for stage in part.stages(images, Draws(draws.seed()))]

    def get_config(self) -> dict[str, Any]:
        """All arguments, JSON-able."""
        return {**super().get_config(), "parts": [keras.saving.serialize_keras_object(part) for part in self.parts]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BatchAugmentation:
        """Makes the layer of a saved model again."""
        parts = [keras.saving.deserialize_keras_object(part) for part in config["parts"]]
        return super().from_config({**config, "parts": parts})


class AffineLayer(GeometricLayer):
    """A layer that draws one affine map for each image."""

    axis_aligned: ClassVar[bool] = True
    fill_mode: str = "nearest"
    fill_value: float = 0.0

    @abstractmethod
    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """Draws (B, 6) float32 maps, see :class:`AffineStage`; subclasses say which."""

    def stages(self, images: tf.Tensor, draws: Draws) -> list[AffineStage]:
        """The one map, the identity for images that are not to be changed."""
        size = BatchSize.of(images)
        maps = self.coefficients(size, draws)
        if self.change_rate < 1:
            maps = tf.where(draws.chance(size.count, self.change_rate)[:, tf.newaxis], maps, tf.constant([IDENTITY]))
        return [AffineStage(maps, self.axis_aligned, self.fill_mode, self.fill_value)]


def check_fill_value(fill_mode: str, fill_value: float, ends: Interval) -> None:
    """Refuses a fill value that is no pixel value.

    Args:
        fill_mode: only ``constant`` uses the value.
        fill_value: the value.
        ends: lowest and highest pixel value.

    Raises:
        ConfigError: it is used and lies outside of the pixel range.
    """
    low, high = ends
    if fill_mode == "constant" and not low <= fill_value <= high:
        raise ConfigError(
            [
                Problem(
                    where="fill_value",
                    message=f"{fill_value:g} is no pixel value of the rescaled images",
                    allowed=f"{low:g} to {high:g}",
                )
            ]
        )


class ResamplingLayer(AffineLayer):
    """An affine layer whose user chooses fill and interpolation.

    Raises:
        ConfigError: ``fill_value`` is used and lies outside of the pixel range.
    """

    fill_mode: str
    interpolation: str
    fill_value: float

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_fill_value(self.fill_mode, self.fill_value, (self.low, self.high))


@register
class RandomFlip(AffineLayer):
    """Mirrors images exactly, without interpolation."""

    mode: str

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """-1 on the mirrored axes."""
        signs = {"horizontal": [(-1.0, 1.0)], "vertical": [(1.0, -1.0)]}
        choices = signs.get(self.mode, [(-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
        chosen = tf.gather(tf.constant(choices), draws.integers(size.count, (0, len(choices) - 1)))
        return affine(xx=chosen[:, 0], yy=chosen[:, 1])


@register
class RandomTranslation(ResamplingLayer):
    """Shifts images."""

    width_factor: Interval
    height_factor: Interval

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """An image that moves to the right is read further left."""
        right, down = draws.uniform(size.count, self.width_factor), draws.uniform(size.count, self.height_factor)
        return affine(x0=-right * size.width, y0=-down * size.height)


@register
class RandomRotation(ResamplingLayer):
    """Rotates images about their centre."""

    axis_aligned = False
    factor: Interval

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """An image that turns counter-clockwise is read clockwise; y points down."""
        angle = 2 * math.pi * draws.uniform(size.count, self.factor)
        sine, cosine = tf.sin(angle), tf.cos(angle)
        return affine(xx=cosine, xy=-sine, yx=sine, yy=cosine)


@register
class RandomZoom(ResamplingLayer):
    """Scales images about their centre."""

    width_factor: Interval
    height_factor: Interval | None

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """Zooming out reads further from the centre."""
        across = 1 + draws.uniform(size.count, self.width_factor)
        down = across if self.height_factor is None else 1 + draws.uniform(size.count, self.height_factor)
        return affine(xx=across, yy=down)


class ShearLayer(ResamplingLayer):
    """Base of the three shears."""

    axis_aligned = False
    factor: Interval

    def _slope(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        return -tf.sin(2 * math.pi * draws.uniform(size.count, self.factor))


@register
class RandomShearX(ShearLayer):
    """Displaces rows."""

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """dx_in = dx - sin(a) dy."""
        return affine(xy=self._slope(size, draws))


@register
class RandomShearY(ShearLayer):
    """Displaces columns."""

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """dy_in = dy - sin(a) dx."""
        return affine(yx=self._slope(size, draws))


@register
class RandomShear(ShearLayer):
    """Displaces columns, then rows."""

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """The product of both shears, whose determinant is 1: no draw flattens the image."""
        rows, columns = self._slope(size, draws), self._slope(size, draws)
        return affine(xy=rows, yx=columns, yy=1 + rows * columns)


@register
class RandomCrop(AffineLayer):
    """Cuts out a box and resizes it to the whole image."""

    crop_center_x: Interval
    crop_center_y: Interval
    crop_width: Interval
    crop_height: Interval
    interpolation: str

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """The centre of the clipped box becomes the centre of the image."""
        scale_x, shift_x = self._axis(size, self.crop_center_x, self.crop_width, draws)
        scale_y, shift_y = self._axis(size, self.crop_center_y, self.crop_height, draws)
        return affine(xx=scale_x, x0=shift_x * size.width, yy=scale_y, y0=shift_y * size.height)

    @staticmethod
    def _axis(size: BatchSize, center: Interval, length: Interval, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
        middle, half = draws.uniform(size.count, center), draws.uniform(size.count, length) / 2
        begin, end = tf.maximum(middle - half, 0.0), tf.minimum(middle + half, 1.0)
        return end - begin, (begin + end) / 2 - 0.5


@register
class RandomBoundedCrop(AffineLayer):
    """Cuts out a box that lies wholly within the image, and resizes it to the whole image."""

    width_factor: Interval
    height_factor: Interval | None
    interpolation: str

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """The smaller the box, the further its centre may lie from that of the image."""
        across = draws.uniform(size.count, self.width_factor)
        down = across if self.height_factor is None else draws.uniform(size.count, self.height_factor)
        right, below = (draws.uniform(size.count, (-0.5, 0.5)) * (1 - kept) for kept in (across, down))
        return affine(xx=across, x0=right * size.width, yy=down, y0=below * size.height)


@register
class RandomPaddedCrop(AffineLayer):
    """Moves images by whole pixels."""

    padding: int
    fill_mode: str
    fill_value: float

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.fill_value is None:
            self.fill_value = self.low
        check_fill_value(self.fill_mode, self.fill_value, (self.low, self.high))

    def coefficients(self, size: BatchSize, draws: Draws) -> tf.Tensor:
        """The (2 p + 1) squared places of the image's size in the padded image, all equally likely."""
        right, below = (
            tf.cast(draws.integers(size.count, (-self.padding, self.padding)), tf.float32) for _ in range(2)
        )
        return affine(x0=right, y0=below)


def join_consecutive(layers: Sequence[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """The same augmentation with as few resamplings as possible.

    Args:
        layers: layers in the order in which they run; layers of other kinds are kept as they are.

    Returns:
        The layers, runs of geometric ones joined.
    """
    joined: list[keras.layers.Layer] = []
    for layer in layers:
        both = joined[-1].joined_with(layer) if joined and isinstance(joined[-1], GeometricLayer) else None
        joined[-1:] = [both] if both is not None else [*joined[-1:], layer]
    return joined
