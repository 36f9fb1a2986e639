"""Layers that paint over parts of images. The arguments are described at the components of the same names."""

from __future__ import annotations

from abc import abstractmethod

import keras
import tensorflow as tf

from reidfw_augmentations._keras.color import LUMA
from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchAugmentation

register = keras.saving.register_keras_serializable(package="reidfw")


class ErasingLayer(BatchAugmentation):
    """Base of layers that erase: a subclass says which pixels, this class paints them."""

    fill_method: str
    color: tuple[int, int, int] | None
    mode: str

    @abstractmethod
    def parts(self, count: tf.Tensor, height: tf.Tensor, width: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, int]:
        """Draws the parts to erase; subclasses say which.

        Args:
            count: number B of layouts to draw, scalar int32.
            height, width: of the images in pixels, scalar int32.
            draws: where the draws come from.

        Returns:
            (B, H, W) int32, the number of the part that a pixel belongs to, from 1 on, or 0 where it is kept; and the
            largest number there can be.
        """

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Writes only the pixels that are erased."""
        size = tf.shape(images)
        layouts = 1 if self.mode == "batch" else size[0]
        parts, most = self.parts(layouts, size[1], size[2], draws)
        parts = tf.reshape(tf.broadcast_to(parts, size[:3]), (-1,))
        erased = tf.where(parts > 0)
        image = tf.cast(erased[:, 0], tf.int32) // (size[1] * size[2])
        part = tf.gather(parts, erased[:, 0]) - 1
        colors = self._colors(image * most + part, size[0] * most, images.shape[-1], draws)
        pixels = tf.reshape(images, (-1, images.shape[-1]))
        return tf.reshape(tf.tensor_scatter_nd_update(pixels, erased, colors), size)

    def _colors(self, part: tf.Tensor, count: tf.Tensor, channels: int, draws: Draws) -> tf.Tensor:
        """(N, channels) colours of N pixels, ``part`` (N,) being the number of each one's part, of ``count`` in all."""
        levels = (self.low, self.high)
        if self.fill_method == "mosaic":
            return draws.uniform((tf.shape(part)[0], channels), levels)
        if self.fill_method == "random":
            return tf.gather(draws.uniform((count, channels), levels), part)
        color: tuple[float, ...] = self.color or (0, 0, 0)
        if channels == 1:
            color = (sum(weight * level for weight, level in zip(LUMA, color, strict=True)),)
        return tf.repeat(self.from_levels(tf.constant([color], tf.float32)), tf.shape(part)[0], axis=0)


@register
class RandomRectangleErasing(ErasingLayer):
    """Erases rectangles; later ones lie on top."""

    nrec: tuple[int, int]
    area: tuple[float, float]
    wh_ratio: tuple[float, float]

    def parts(self, count: tf.Tensor, height: tf.Tensor, width: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, int]:
        """One part a rectangle; each lies wholly within the image."""
        most = self.nrec[1]
        rows, columns = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
        shape = (count, most, 1, 1)
        number = draws.integers((count, 1, 1, 1), self.nrec)
        area = draws.uniform(shape, self.area) * rows * columns
        ratio = draws.uniform(shape, self.wh_ratio)
        across = tf.clip_by_value(tf.round(tf.sqrt(area * ratio)), 1.0, columns)
        down = tf.clip_by_value(tf.round(tf.sqrt(area / ratio)), 1.0, rows)
        left = tf.floor(draws.uniform(shape) * (columns - across + 1))
        top = tf.floor(draws.uniform(shape) * (rows - down + 1))
        x, y = tf.range(columns)[tf.newaxis, tf.newaxis, :], tf.range(rows)[tf.newaxis, :, tf.newaxis]
        owner = tf.zeros((count, height, width), tf.int32)
        for place in range(most):
            in_columns = (x >= left[:, place]) & (x < (left + across)[:, place])
            in_rows = (y >= top[:, place]) & (y < (top + down)[:, place])
            drawn = number[:, 0] > place
            owner = tf.where(in_rows & in_columns & drawn, place + 1, owner)
        return owner, most


@register
class RandomGridCellErasing(ErasingLayer):
    """Erases cells of a grid."""

    ncells_x: int
    ncells_y: int
    erasing_prob: float

    def parts(self, count: tf.Tensor, height: tf.Tensor, width: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, int]:
        """One part a cell; cells differ by a pixel where the image's size is no multiple of their number."""
        most = self.ncells_x * self.ncells_y
        numbers = tf.reshape(tf.range(1, most + 1), (1, self.ncells_y, self.ncells_x))
        erased = draws.chance((count, self.ncells_y, self.ncells_x), self.erasing_prob)
        cells = tf.where(erased, numbers, 0)
        row = tf.range(height) * self.ncells_y // height
        column = tf.range(width) * self.ncells_x // width
        return tf.gather(tf.gather(cells, row, axis=1), column, axis=2), most
