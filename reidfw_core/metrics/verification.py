"""Verification scores: at which distance two images are best called the same identity, and how often that is right.

A pair of a query and a gallery image is *genuine* when both show the same identity, else an *impostor* pair. It is
called the same identity when its distance is at most the threshold. Rates are shares of all pairs of their sort:

- true positive rate (TPR): genuine pairs called the same; false positive rate (FPR): impostor pairs called the same;
- balanced accuracy: (TPR + 1 - FPR) / 2;
- equal error rate: the FPR where it equals 1 - TPR, on the ROC with straight lines between its upper corners.

The pairs are those that the retrieval protocol compares (:mod:`reidfw_core.metrics.protocols`): what it leaves out of
a query's gallery makes no pair. ``cuhk03`` draws nothing here: all pairs but those of one identity and camera count.

Source: A. Martin et al., "The DET Curve in Assessment of Detection Task Performance", Eurospeech 1997 (error rates).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.metrics.distances import EmbeddingPairs, FloatArray
from reidfw_core.metrics.protocols import PairRules
from reidfw_core.metrics.roc import RocPoints, ThresholdCounts, area_under_curve, roc_points

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.1)
"""False positive rates at which the true positive rate is reported."""

EXACT_PAIRS = 2**24
"""Up to here all distances are kept (64 MiB in float32) and sorted; beyond, they are counted in bins."""

_FINE_BINS = 2**16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistanceHistogram:
    """How many pairs lie at which distance.

    Attributes:
        edges: (B + 1,) float64, ascending borders of the bins, from the smallest distance to the largest.
        genuine: (B,) int64, pairs of the same identity in each bin.
        impostor: (B,) int64, pairs of different identities in each bin.
    """

    edges: NDArray[np.float64]
    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThresholdScores:
    """The best threshold and what it achieves; None or empty where a set has pairs of only one sort.

    Attributes:
        threshold: the distance up to which two images are called the same identity so that balanced accuracy is
            largest; the smallest one where several do.
        balanced_accuracy: in [0.5, 1], at that threshold.
        equal_error_rate: in [0, 1].
        true_positive_rate_at_fpr: the largest TPR among the thresholds whose FPR is at most the key.
        roc_false_positive_rates: (P,) float64, corners of the ROC from (0, 0) to (1, 1), at most 512 of them: see
            :func:`~reidfw_core.metrics.roc.roc_points`.
        roc_true_positive_rates: (P,) float64.
        roc_thresholds: (P,) float64, the distances; the first is minus infinity: nothing is called the same.
        area_under_roc: in [0, 1], over all points: the chance that a genuine pair is nearer than an impostor pair.
        histogram: the distances of all pairs, for a picture.
        num_genuine: pairs of the same identity.
        num_impostor: pairs of different identities.
        metric: ``cosine`` or ``euclidean``.
    """

    threshold: float | None
    balanced_accuracy: float | None
    equal_error_rate: float | None
    true_positive_rate_at_fpr: Mapping[float, float]
    roc_false_positive_rates: NDArray[np.float64]
    roc_true_positive_rates: NDArray[np.float64]
    roc_thresholds: NDArray[np.float64]
    area_under_roc: float | None
    histogram: DistanceHistogram
    num_genuine: int
    num_impostor: int
    metric: str


def best_threshold(
    query_embeddings: ArrayLike,
    gallery_embeddings: ArrayLike,
    query_identities: Sequence[str],
    gallery_identities: Sequence[str],
    *,
    metric: str = "cosine",
    query_cameras: Sequence[str] | None = None,
    gallery_cameras: Sequence[str] | None = None,
    protocol: str = "all",
    leave_one_out: bool = False,
    chunk_rows: int = 256,
    num_bins: int = 60,
    exact_pairs: int = EXACT_PAIRS,
) -> ThresholdScores:
    """Finds the distance that best separates pairs of the same identity from others, among all compared pairs.

    Up to ``exact_pairs`` pairs the result is exact: every distance of a genuine pair is tried. Beyond, distances are
    counted in 65536 bins of equal width from 0 to the largest distance that the metric or the norms allow, and only
    the bins' upper borders are tried: memory stays one chunk, and the threshold is exact to a bin (3e-5 for cosine).

    Args:
        query_embeddings: (Q, D).
        gallery_embeddings: (G, D).
        query_identities: one a query; compared by their texts.
        gallery_identities: one a gallery image.
        metric: ``cosine`` or ``euclidean``, see :mod:`reidfw_core.metrics.distances`.
        query_cameras: one a query; needed by ``market1501`` and ``veri``, optional for ``cuhk03``, not looked at by
            ``all``.
        gallery_cameras: one a gallery image, likewise.
        protocol: one of :data:`~reidfw_core.metrics.protocols.PROTOCOLS`.
        leave_one_out: query and gallery are the same list; an image makes no pair with itself. Each other pair counts
            twice, once from each side, which changes no rate.
        chunk_rows: queries a step.
        num_bins: bins of the histogram that is returned.
        exact_pairs: the number of pairs up to which all distances are kept.

    Raises:
        DataError: embeddings of unusable shape or with values that are not finite, lists of other lengths,
            cameras missing where the protocol needs them, two different lists with ``leave_one_out``.
        ValueError: unknown metric or protocol, or ``chunk_rows`` or ``num_bins`` below 1.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    pairs = EmbeddingPairs.prepare(query_embeddings, gallery_embeddings, metric)
    sizes = len(pairs.query), len(pairs.gallery)
    rules = PairRules.of(
        protocol,
        query_identities,
        gallery_identities,
        query_cameras,
        gallery_cameras,
        sizes=sizes,
        leave_one_out=leave_one_out,
    )
    if rules.kept is not None:
        pairs = pairs.keep_gallery(rules.kept)
    exact = len(pairs.query) * len(pairs.gallery) <= exact_pairs
    counts, histogram, largest = (_kept if exact else _binned)(pairs, rules, chunk_rows, num_bins)
    num_genuine, num_impostor = int(histogram.genuine.sum()), int(histogram.impostor.sum())
    threshold = accuracy = error = area = None
    at_rates: dict[float, float] = {}
    roc = RocPoints(np.empty(0), np.empty(0), np.empty(0))
    if num_genuine and num_impostor:
        tpr, fpr = counts.genuine / num_genuine, counts.impostor / num_impostor
        # In whole numbers equally good thresholds are equal, and the first of them is found.
        best = int(np.argmax(counts.genuine * num_impostor - counts.impostor * num_genuine))
        threshold, accuracy = float(counts.thresholds[best]), float(1 + tpr[best] - fpr[best]) / 2
        error = _equal_error_rate(tpr, fpr)
        at_rates = {rate: float(np.max(tpr[fpr <= rate], initial=0.0)) for rate in FALSE_POSITIVE_RATES}
        area = area_under_curve(counts, num_genuine, num_impostor)
        roc = roc_points(counts, num_genuine, num_impostor, largest_distance=largest, kept_rates=FALSE_POSITIVE_RATES)
    return ThresholdScores(
        threshold=threshold,
        balanced_accuracy=accuracy,
        equal_error_rate=error,
        true_positive_rate_at_fpr=at_rates,
        roc_false_positive_rates=roc.false_positive_rates,
        roc_true_positive_rates=roc.true_positive_rates,
        roc_thresholds=roc.thresholds,
        area_under_roc=area,
        histogram=histogram,
        num_genuine=num_genuine,
        num_impostor=num_impostor,
        metric=metric,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Distances of a chunk of queries.

    Attributes:
        start: number of the first query.
        distances: (rows, G), to be overwritten; of genuine and excluded pairs too.
        split: for each query the gallery indices of its genuine and of its excluded pairs.
    """

    start: int
    distances: FloatArray
    split: list[tuple[NDArray[np.int64], NDArray[np.int64]]]

    def of(self, which: int) -> FloatArray:
        """Distances of the genuine pairs (0) or of the excluded ones (1)."""
        return np.concatenate([row[chosen[which]] for row, chosen in zip(self.distances, self.split, strict=True)])


def _chunks(pairs: EmbeddingPairs, rules: PairRules, chunk_rows: int) -> Iterator[_Chunk]:
    for start, distances in pairs.distances(chunk_rows):
        yield _Chunk(start, distances, [rules.split(query) for query in range(start, start + len(distances))])


def _kept(
    pairs: EmbeddingPairs, rules: PairRules, chunk_rows: int, num_bins: int
) -> tuple[ThresholdCounts, DistanceHistogram, float]:
    num_gallery = len(pairs.gallery)
    impostor = np.empty(len(pairs.query) * num_gallery, dtype=pairs.query.dtype)
    genuine_chunks = []
    num_excluded = 0
    for chunk in _chunks(pairs, rules, chunk_rows):
        genuine_chunks.append(chunk.of(0))
        for row, (positives, excluded) in zip(chunk.distances, chunk.split, strict=True):
            row[positives] = np.inf  # sorted to the end, and cut off there
            row[excluded] = np.inf
            num_excluded += excluded.size
        begin = chunk.start * num_gallery
        impostor[begin : begin + chunk.distances.size] = chunk.distances.ravel()
    genuine = np.sort(np.concatenate(genuine_chunks))
    impostor.sort()
    impostor = impostor[: impostor.size - genuine.size - num_excluded]
    thresholds = np.unique(genuine)
    before = np.searchsorted(impostor, thresholds)
    counts = ThresholdCounts(
        thresholds.astype(np.float64),
        np.searchsorted(genuine, thresholds, side="right"),
        np.searchsorted(impostor, thresholds, side="right"),
        before,
        # Where no impostor is nearer this is the point (0, ...) that stands in the curve already.
        np.r_[-np.inf, impostor][before].astype(np.float64),
    )
    ends = [end for values in (genuine, impostor) if values.size for end in (float(values[0]), float(values[-1]))]
    edges = _edges(min(ends, default=0.0), max(ends, default=0.0), num_bins)
    histogram = DistanceHistogram(
        edges=edges, genuine=_counts_of_sorted(genuine, edges), impostor=_counts_of_sorted(impostor, edges)
    )
    return counts, histogram, max(ends, default=0.0)


def _binned(
    pairs: EmbeddingPairs, rules: PairRules, chunk_rows: int, num_bins: int
) -> tuple[ThresholdCounts, DistanceHistogram, float]:
    limit = _largest_distance(pairs)
    scale = _FINE_BINS / limit
    genuine = np.zeros(_FINE_BINS, dtype=np.int64)
    everything = np.zeros(_FINE_BINS, dtype=np.int64)
    for chunk in _chunks(pairs, rules, chunk_rows):
        genuine += _fine_counts(chunk.of(0), scale)
        everything -= _fine_counts(chunk.of(1), scale)
        for row in chunk.distances:
            everything += _fine_counts(row, scale)
    impostor = everything - genuine
    upper = np.arange(1, _FINE_BINS + 1) / scale
    tried = genuine > 0
    counted = np.cumsum(impostor)
    counts = ThresholdCounts(
        upper[tried],
        np.cumsum(genuine)[tried],
        counted[tried],
        (counted - impostor)[tried],
        (upper - 1 / scale)[tried],
    )
    used = np.flatnonzero(everything)
    low, high = (used[0] / scale, (used[-1] + 1) / scale) if used.size else (0.0, 0.0)
    edges = _edges(low, high, num_bins)
    bins = np.clip(np.searchsorted(edges, upper - 0.5 / scale, side="right") - 1, 0, num_bins - 1)
    coarse = [np.zeros(num_bins, dtype=np.int64) for _ in range(2)]
    for counts_of, fine in zip(coarse, (genuine, impostor), strict=True):
        np.add.at(counts_of, bins, fine)
    return counts, DistanceHistogram(edges=edges, genuine=coarse[0], impostor=coarse[1]), high


def _largest_distance(pairs: EmbeddingPairs) -> float:
    """A bound on the distances: 2 for cosine; the sum of the two largest norms for euclidean."""
    if pairs.gallery_half_squared_norms is None:
        return 2.0
    longest = float(np.sqrt(2 * pairs.gallery_half_squared_norms.max(initial=0)))
    return float(np.sqrt(pairs.query_squared_norms.max())) + longest or 1.0


def _fine_counts(distances: FloatArray, scale: float) -> NDArray[np.int64]:
    bins = np.minimum((distances * scale).astype(np.int64), _FINE_BINS - 1)
    return np.bincount(bins, minlength=_FINE_BINS)


def _counts_of_sorted(values: FloatArray, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    # Edges of another type than the values would make searchsorted convert all values.
    inner = np.searchsorted(values, edges[1:-1].astype(values.dtype))
    counts: NDArray[np.int64] = np.diff(inner, prepend=0, append=values.size)
    return counts


def _edges(low: float, high: float, num_bins: int) -> NDArray[np.float64]:
    width = max(high - low, 1e-6)  # equal distances still need bins of some width
    return np.linspace(low, low + width, num_bins + 1)


def _equal_error_rate(tpr: NDArray[np.float64], fpr: NDArray[np.float64]) -> float:
    tpr, fpr = np.r_[0.0, tpr, 1.0], np.r_[0.0, fpr, 1.0]
    gaps = fpr - (1 - tpr)  # from -1 to 1, never falling
    after = int(np.argmax(gaps >= 0))
    part = gaps[after - 1] / (gaps[after - 1] - gaps[after])
    return float(fpr[after - 1] + part * (fpr[after] - fpr[after - 1]))
