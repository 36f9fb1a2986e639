"""Layers that change single pixel values. The arguments are described at the components of the same names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import keras
import tensorflow as tf

from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchAugmentation, batch_size, per_image

register = keras.saving.register_keras_serializable(package="reidfw")

LEVELS = 256


def solarized(images: tf.Tensor, levels: tf.Tensor, threshold: tf.Tensor, ends: tuple[float, float]) -> tf.Tensor:
    """The images, inverted where ``levels``, the same images in 0 to 255, are at or above the threshold.

    Args:
        images: (B, H, W, C) float32.
        levels: (B, H, W, C) float32.
        threshold: (B,) float32.
        ends: lowest and highest pixel value of ``images``.
    """
    low, high = ends
    return tf.where(levels >= per_image(threshold), tf.clip_by_value((low + high) - images, low, high), images)


def posterized(levels: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Levels with only the upper ``bits``, (B,) int32, of their 8 bits."""
    step = tf.cast(tf.bitwise.left_shift(1, 8 - per_image(bits)), tf.float32)
    return tf.floor(levels / step) * step


def autocontrast_table(histogram: tf.Tensor, cutoff: int) -> tf.Tensor:
    """A straight line from the darkest to the brightest level that is kept, as in Pillow's ``autocontrast``.

    Args:
        histogram: (..., 256) float32, number of pixels of each level.
        cutoff: percent of the pixels left out at each end.

    Returns:
        (..., 256) float32, the new level of each level.
    """
    levels = tf.range(LEVELS, dtype=tf.float32)
    cut = tf.floor(tf.reduce_sum(histogram, axis=-1, keepdims=True) * cutoff / 100.0)
    from_below = tf.cumsum(histogram, axis=-1) > cut
    from_above = tf.cumsum(histogram, axis=-1, reverse=True) > cut
    darkest = tf.reduce_min(tf.where(from_below, levels, 255.0), axis=-1, keepdims=True)
    brightest = tf.reduce_max(tf.where(from_above, levels, 0.0), axis=-1, keepdims=True)
    span = brightest - darkest
    stretched = tf.floor(tf.clip_by_value(255.0 * (levels - darkest) / tf.maximum(span, 1.0), 0.0, 255.0))
    return tf.where(span > 0, stretched, levels)


def equalize_table(histogram: tf.Tensor) -> tf.Tensor:
    """The cumulative histogram in 255 steps, as in Pillow's ``equalize``; shapes as in :func:`autocontrast_table`."""
    levels = tf.range(LEVELS, dtype=tf.float32)
    brightest = tf.reduce_max(tf.where(histogram > 0, levels, 0.0), axis=-1, keepdims=True)
    at_brightest = tf.reduce_sum(tf.where(levels == brightest, histogram, 0.0), axis=-1, keepdims=True)
    step = tf.floor((tf.reduce_sum(histogram, axis=-1, keepdims=True) - at_brightest) / 255.0)
    below = tf.floor(step / 2) + tf.cumsum(histogram, axis=-1, exclusive=True)
    flat = tf.clip_by_value(tf.floor(below / tf.maximum(step, 1.0)), 0.0, 255.0)
    return tf.where(step > 0, flat, levels)


def mapped(levels: tf.Tensor, table: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Levels mapped, for each image and channel, by a table made from their histogram.

    Args:
        levels: (B, H, W, C) float32, whole numbers from 0 to 255.
        table: makes (..., 256) tables from (..., 256) histograms.
    """
    shape = tf.shape(levels)
    curves = shape[0] * shape[3]
    first_bin = tf.reshape(tf.range(curves) * LEVELS, (shape[0], 1, shape[3]))
    # Whole rows at a time: to repeat three numbers for each pixel would take longer than all the rest.
    rows = tf.reshape(tf.cast(levels, tf.int32), (shape[0], shape[1], shape[2] * shape[3]))
    bins = rows + tf.tile(first_bin, (1, 1, shape[2]))
    counts = tf.math.bincount(tf.reshape(bins, (-1,)), minlength=curves * LEVELS, maxlength=curves * LEVELS)
    tables = table(tf.cast(tf.reshape(counts, (-1, LEVELS)), tf.float32))
    return tf.reshape(tf.gather(tf.reshape(tables, (-1,)), bins), shape)


@register
class RandomContrast(BatchAugmentation):
    """Scales the distance from the mean of each image and channel."""

    factor: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """``alpha * (x - mean) + mean``, clipped."""
        alpha = per_image(draws.uniform(batch_size(images), self.factor))
        # Two steps: summing whole rows first is twice as fast as summing over height and width at once.
        mean = tf.reduce_mean(tf.reduce_mean(images, axis=1, keepdims=True), axis=2, keepdims=True)
        return self.clip(alpha * (images - mean) + mean)


@register
class RandomBrightness(BatchAugmentation):
    """Adds a value."""

    factor: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """``x + beta``, clipped."""
        return self.clip(images + per_image(draws.uniform(batch_size(images), self.factor)))


@register
class RandomGamma(BatchAugmentation):
    """Raises to a power."""

    gamma: tuple[float, float]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """``x ** gamma`` on [0, 1]."""
        gamma = per_image(draws.uniform(batch_size(images), self.gamma))
        return self.from_unit(tf.pow(tf.clip_by_value(self.to_unit(images), 0.0, 1.0), gamma))


@register
class RandomInvert(BatchAugmentation):
    """Makes negatives."""

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:  # noqa: ARG002 (nothing to draw)
        """``1 - x`` on [0, 1]."""
        return self.clip((self.low + self.high) - images)


@register
class RandomSolarize(BatchAugmentation):
    """Inverts bright pixels."""

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """255 - v for the levels v at or above the threshold."""
        threshold = tf.cast(draws.integers(batch_size(images), (0, LEVELS - 1)), tf.float32)
        return solarized(images, self.to_levels(images), threshold, (self.low, self.high))


@register
class RandomPosterize(BatchAugmentation):
    """Keeps upper bits."""

    bits: tuple[int, int]

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Clears the lower ``8 - bits`` bits of the levels."""
        bits = draws.integers(batch_size(images), self.bits)
        return self.from_levels(posterized(self.to_levels(images), bits))


class HistogramLayer(BatchAugmentation):
    """Base of layers that map the levels of each image and channel by a table made from their histogram."""

    @abstractmethod
    def table(self, histogram: tf.Tensor) -> tf.Tensor:
        """Makes the tables; subclasses say how.

        Args:
            histogram: (..., 256) float32, number of pixels of each level.

        Returns:
            (..., 256) float32, the new level (0 to 255) of each level.
        """

    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:  # noqa: ARG002 (nothing to draw)
        """Counts levels, makes the tables, looks levels up."""
        return self.from_levels(mapped(self.to_levels(images), self.table))


@register
class RandomAutocontrast(HistogramLayer):
    """Stretches channels to the full range."""

    needs_rgb = True
    cutoff: int

    def table(self, histogram: tf.Tensor) -> tf.Tensor:
        """A straight line."""
        return autocontrast_table(histogram, self.cutoff)


@register
class RandomEqualize(HistogramLayer):
    """Flattens histograms."""

    def table(self, histogram: tf.Tensor) -> tf.Tensor:
        """The cumulative histogram."""
        return equalize_table(histogram)
