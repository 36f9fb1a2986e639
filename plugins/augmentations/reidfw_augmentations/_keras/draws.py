"""Random draws that depend on a seed only, not on the order in which threads ask for them."""

from __future__ import annotations

import tensorflow as tf

SLOWED = 1_000_003
"""Keeps the draws of :meth:`Draws.slowed` apart from those of a batch; no sequence is that long."""


class Draws:
    """A sequence of independent draws; the same seed gives the same sequence.

    Args:
        seed: (2,) integer tensor.
    """

    def __init__(self, seed: tf.Tensor) -> None:
        self._seed = tf.cast(seed, tf.int32)
        self._drawn = 0

    def slowed(self, period: int) -> Draws:
        """Other draws, the same ones for each ``period`` consecutive batches.

        Args:
            period: number of batches; the second number of the seed is taken for the batch's number.
        """
        first, number = tf.unstack(self._seed)
        return Draws(tf.random.fold_in(tf.stack([first, number // period]), SLOWED))

    def seed(self) -> tf.Tensor:
        """A (2,) int32 seed that no other draw of this sequence uses."""
        self._drawn += 1
        return tf.random.fold_in(self._seed, self._drawn)

    def uniform(self, shape: object, interval: tuple[float, float] = (0.0, 1.0)) -> tf.Tensor:
        """float32 of the given shape in [a, b); the value a where both ends are equal."""
        low, high = interval
        return low + (high - low) * tf.random.stateless_uniform(shape, self.seed())

    def integers(self, shape: object, interval: tuple[int, int]) -> tf.Tensor:
        """int32 of the given shape in [a, b], both included."""
        low, high = interval
        return tf.random.stateless_uniform(shape, self.seed(), low, high + 1, tf.int32)

    def normal(self, shape: object) -> tf.Tensor:
        """float32 of the given shape with mean 0 and standard deviation 1."""
        return tf.random.stateless_normal(shape, self.seed())

    def chance(self, shape: object, probability: float) -> tf.Tensor:
        """bool of the given shape, True with the given probability (always for 1, never for 0)."""
        return tf.random.stateless_uniform(shape, self.seed()) < probability
