"""Seeded random draws that are the same on every platform and NumPy version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Draws:
    """A stream of random draws, decided by its key alone.

    Built on ``SeedSequence`` and ``PCG64``, whose streams NumPy guarantees, and on ``Generator.random`` alone: other
    methods may change between NumPy versions (NEP 19) or use the platform's ``log`` and ``exp``.

    Args:
        key: non-negative integers that name the stream, for example seed, purpose, identity, image.
    """

    def __init__(self, *key: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return float(self._generator.random()) < probability

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return low + int(float(self._generator.random()) * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """One of ``options``, all equally likely."""
        return options[self.integer(0, len(options) - 1)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of ``options`` in random order."""
        keys = self._generator.random(len(options)).tolist()
        return [options[index] for index in sorted(range(len(options)), key=keys.__getitem__)]

    def field(self, *shape: int) -> np.ndarray:
        """An array of numbers in [0, 1), float32."""
        return self._generator.random(shape).astype(np.float32)
