"""Ranges of activations, gathered image by image in bounded memory, and how far they are clipped.

Sources: percentile and entropy: S. Migacz, 8-bit Inference with TensorRT, GTC 2017, and H. Wu et al., Integer
Quantization for Deep Learning Inference, 2020 (arXiv 2004.09602); mean squared error: M. Nagel et al., A White Paper
on Neural Network Quantization, 2021 (arXiv 2106.08295), section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Clipping = Literal["none", "percentile", "mse", "entropy"]
"""How the range of an activation follows from its values."""

BINS = 4096
"""Bins of a histogram over ``[-limit, limit)``: at least four for each step of an 8-bit integer."""

LEVELS = 256
PERCENTILE = 99.99
"""Share of the values, in percent, that lies in the range of ``percentile``; each end cuts half of the rest."""

_SHRINKAGE = np.linspace(1.0, 0.2, 81)
"""Parts of an end of the range that are tried for ``mse`` and ``entropy``."""


@dataclass(slots=True)
class Extremes:
    """Smallest and largest value of an activation."""

    low: float = np.inf
    high: float = -np.inf

    def add(self, values: NDArray[np.float32]) -> None:
        """Takes the values of one image in, of any shape; NaN among them stays."""
        self.low = float(np.minimum(self.low, values.min()))
        self.high = float(np.maximum(self.high, values.max()))

    def range(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high

    def is_finite(self) -> bool:
        """Whether no value was NaN or infinity."""
        return bool(np.isfinite(self.range()).all())


@dataclass(slots=True)
class Histogram(Extremes):
    """Extremes, and how often each value occurs: of fixed size, however many values there are.

    The bins cover ``[-limit, limit)``; a value beyond it doubles the limit, and pairs of bins become one. Zeros are
    not counted: integers represent them exactly, and there are so many behind a ReLU that they would hide the rest.

    Attributes:
        limit: end of the bins, a power of two.
        counts: (:data:`BINS`,) int64.
    """

    limit: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        """Takes the values of one image in, of any shape."""
        super(Histogram, self).add(values)
        largest = max(-self.low, self.high)
        if largest == 0 or not np.isfinite(largest):
            return
        if self.limit == 0:
            self.limit = float(2.0 ** np.ceil(np.log2(largest)))
        while self.limit < largest:
            self._double()
        places = (values.ravel() + np.float32(self.limit)) * np.float32(BINS / 2 / self.limit)
        counted = np.bincount(np.minimum(places.astype(np.int64), BINS - 1), minlength=BINS)
        counted[BINS // 2] -= np.count_nonzero(values == 0)
        self.counts += counted

    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return (np.arange(BINS) + 0.5) * (2 * self.limit / BINS) - self.limit

    def _double(self) -> None:
        quarter = BINS // 4
        self.counts = np.pad(self.counts.reshape(-1, 2).sum(1), quarter)
        self.limit *= 2


def clipped_range(seen: Histogram, clipping: Clipping) -> tuple[float, float]:
    """The range that is worth representing; never beyond the values that were seen, and always around zero.

    Args:
        seen: the values of one activation.
        clipping: ``none`` takes the extremes; ``percentile`` :data:`PERCENTILE` percent of the values; ``mse`` the
            range whose rounding and clipping errors together are smallest in the mean square; ``entropy`` the one
            whose rounded histogram diverges least from the histogram (Kullback-Leibler).
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    if clipping == "none" or low == high or not seen.counts.any():
        return seen.range()
    return _METHODS[clipping](seen, low, high)


def _percentile_range(seen: Histogram, low: float, high: float) -> tuple[float, float]:
    share = np.cumsum(seen.counts) / seen.counts.sum()
    outside = (1 - PERCENTILE / 100) / 2
    edges = np.linspace(-seen.limit, seen.limit, BINS + 1)
    below = edges[np.searchsorted(share, outside)]
    above = edges[np.searchsorted(share, 1 - outside) + 1]
    return max(low, min(float(below), 0.0)), min(high, max(float(above), 0.0))


def _mse_range(seen: Histogram, low: float, high: float) -> tuple[float, float]:
    """Searches one end after the other until neither moves; rounding counts as uniform noise of its step."""
    values, counts = seen.centres(), seen.counts

    def error(start: float, stop: float) -> float:
        cut = np.maximum(start - values, 0.0) + np.maximum(values - stop, 0.0)
        inside = counts[cut == 0].sum()
        step = (stop - start) / (LEVELS - 1)
        return float((cut**2 * counts).sum() + inside * step**2 / 12)

    return _best_ends(low, high, error)


def _entropy_range(seen: Histogram, low: float, high: float) -> tuple[float, float]:
    """Kullback-Leibler divergence of the histogram that ``LEVELS`` steps leave from the clipped one."""
    values, counts = seen.centres(), seen.counts.astype(np.float64)

    def divergence(start: float, stop: float) -> float:
        step = (stop - start) / (LEVELS - 1)
        levels = np.rint((np.clip(values, start, stop) - start) / step).astype(np.int64)
        inside = (values >= start) & (values <= stop)
        wanted = np.where(inside, counts, 0.0)
        occupied = wanted > 0
        # what lies outside is moved to the ends of the wanted histogram, but is lost for the rounded one
        bins = np.flatnonzero(inside)
        if not len(bins) or not occupied.any():
            return np.inf
        rounded = np.bincount(levels, np.where(occupied, wanted, 0.0), LEVELS)
        shares = np.bincount(levels, occupied, LEVELS)
        found = np.where(occupied, rounded[levels] / np.maximum(shares[levels], 1), 0.0)
        wanted[bins[0]] += counts[: bins[0]].sum()
        wanted[bins[-1]] += counts[bins[-1] + 1 :].sum()
        p, q = wanted / wanted.sum(), found / found.sum()
        both = p > 0
        return float((p[both] * np.log(p[both] / np.maximum(q[both], 1e-9))).sum())

    return _best_ends(low, high, divergence)


def _best_ends(low: float, high: float, cost: Callable[[float, float], float]) -> tuple[float, float]:
    start, stop = low, high
    for _ in range(4):
        before = start, stop
        if high > 0:
            stop = min((high * part for part in _SHRINKAGE), key=lambda end: cost(start, end))
        if low < 0:
            start = min((low * part for part in _SHRINKAGE), key=lambda end: cost(end, stop))
        if (start, stop) == before:
            break
    return start, stop


_METHODS: dict[str, Callable[[Histogram, float, float], tuple[float, float]]] = {
    "percentile": _percentile_range,
    "mse": _mse_range,
    "entropy": _entropy_range,
}
