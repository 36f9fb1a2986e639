"""The ROC curve of a verification: which share of impostor pairs each share of genuine pairs costs.

Its corners are connected by straight lines, also where genuine and impostor pairs at the same distance make a slope.

Source: T. Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006 (curve, ties, area).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 512
"""Points of a curve that is returned."""


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdCounts:
    """Pairs called the same at each threshold that can matter: a larger one calls more genuine pairs the same.

    Attributes:
        thresholds: (T,) float64, ascending distances at which genuine pairs lie.
        genuine: (T,) int64, genuine pairs at most that far.
        impostor: (T,) int64, impostor pairs at most that far.
        impostor_before: (T,) int64, impostor pairs nearer than that.
        thresholds_before: (T,) float64, a distance that calls just those the same.
    """

    thresholds: NDArray[np.float64]
    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]
    impostor_before: NDArray[np.int64]
    thresholds_before: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RocPoints:
    """Points of the curve, from (0, 0) to (1, 1).

    Attributes:
        false_positive_rates: (P,) float64, never falling.
        true_positive_rates: (P,) float64, never falling.
        thresholds: (P,) float64; a pair at most that far is called the same. The first is minus infinity.
    """

    false_positive_rates: NDArray[np.float64]
    true_positive_rates: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def area_under_curve(counts: ThresholdCounts, num_genuine: int, num_impostor: int) -> float:
    """Share of (genuine, impostor) combinations in which the genuine pair is nearer; equally near ones count half."""
    found = np.diff(counts.genuine, prepend=0).astype(np.float64)
    nearer = (counts.impostor_before + counts.impostor) / 2
    return 1 - float(np.sum(found * (nearer / num_impostor))) / num_genuine


def roc_points(
    counts: ThresholdCounts,
    num_genuine: int,
    num_impostor: int,
    *,
    largest_distance: float,
    kept_rates: Sequence[float],
    max_points: int = MAX_POINTS,
) -> RocPoints:
    """The corners of the curve; of more than ``max_points``, some.

    Then these stay: both ends, the corner of best balanced accuracy, both neighbours of the equal error rate, and
    those at ``kept_rates``. The others are chosen evenly, half of them along the curve and half of them on a
    logarithmic axis of false positives, as both are drawn.

    Args:
        counts: of the pairs.
        num_genuine: all genuine pairs, at least 1.
        num_impostor: all impostor pairs, at least 1.
        largest_distance: of any pair; the threshold of the end (1, 1).
        kept_rates: false positive rates; the corner of the largest TPR at no more false positives stays.
        max_points: most points to return, at least 32.
    """
    false, true, thresholds = _corners(counts, num_genuine, num_impostor, largest_distance)
    fpr, tpr = false / num_impostor, true / num_genuine
    if false.size > max_points:
        kept = _thinned(fpr, tpr, kept_rates, max_points)
        fpr, tpr, thresholds = fpr[kept], tpr[kept], thresholds[kept]
    return RocPoints(fpr, tpr, thresholds)


def _corners(
    counts: ThresholdCounts, num_genuine: int, num_impostor: int, largest_distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """False positives, true positives and thresholds of the points where the curve turns."""
    size = counts.thresholds.size
    false = np.empty(2 * size, dtype=np.int64)
    true = np.empty_like(false)
    thresholds = np.empty(2 * size)
    # Before each distance of genuine pairs the impostor pairs since the last one, then both at that distance.
    false[0::2], false[1::2] = counts.impostor_before, counts.impostor
    true[0::2], true[1::2] = np.r_[0, counts.genuine[:-1]], counts.genuine
    thresholds[0::2], thresholds[1::2] = counts.thresholds_before, counts.thresholds
    false, true = np.r_[0, false, num_impostor], np.r_[0, true, num_genuine]
    thresholds = np.r_[-np.inf, thresholds, largest_distance]
    # Of equal points the first stays: the smallest threshold.
    moved = np.r_[True, (np.diff(false) != 0) | (np.diff(true) != 0)]
    false, true, thresholds = false[moved], true[moved], thresholds[moved]
    across, up = np.diff(false).astype(np.float64), np.diff(true).astype(np.float64)
    turns = np.r_[True, across[:-1] * up[1:] != across[1:] * up[:-1], True]
    return false[turns], true[turns], thresholds[turns]


def _thinned(
    fpr: NDArray[np.float64], tpr: NDArray[np.float64], kept_rates: Sequence[float], max_points: int
) -> NDArray[np.int64]:
    after = int(np.argmax(fpr + tpr >= 1))
    # The first of the points with the largest TPR is the corner, later ones cost more false positives.
    at_rates = [int(np.searchsorted(tpr, tpr[np.searchsorted(fpr, rate, side="right") - 1])) for rate in kept_rates]
    forced = {0, fpr.size - 1, max(after - 1, 0), after, int(np.argmax(tpr - fpr)), *at_rates}
    even = (max_points - len(forced)) // 2
    least = fpr[fpr > 0][0]
    for axis in (fpr + tpr, np.log10(np.maximum(fpr, least))):
        forced.update(np.searchsorted(axis, np.linspace(axis[0], axis[-1], even)).tolist())
    return np.array(sorted(forced), dtype=np.int64)
