"""Re-ranking by k-reciprocal neighbours: images that name each other among their nearest belong together.

All Q + G images are looked at together. An image's neighbours of order k are the image itself and its k nearest
others, equally near ones by index (query first, then gallery). With d the distance below:

1. R(p, k): those of the neighbours of p that have p among theirs. R*(p): R(p, k1), and R(q, k1 / 2) of each q in it
   that shares at least two thirds of its members with R(p, k1).
2. V(p): exp(-d(p, g)) for g in R*(p), scaled to sum 1, else 0.
3. Local query expansion: V(p) becomes the mean of the V of p and its k2 - 1 nearest others.
4. Jaccard distance: 1 - sum min(V(p), V(g)) / sum max(V(p), V(g)).
5. Result: (1 - lambda) * Jaccard + lambda * d.

d is the squared euclidean distance, or the cosine distance, divided by the largest one of p. On normalised vectors
both are the same. This scaling and the sum 1 are not in the paper's text but usual since its publication; without
them the result would depend on the length of the embeddings.

Source: Z. Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.errors import DataError
from reidfw_core.metrics.distances import EmbeddingPairs, FloatArray
from reidfw_core.metrics.nearest import nearest_rows

_CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Sparse:
    """A matrix of which only the entries that are not zero are kept, row after row.

    Attributes:
        starts: (rows + 1,) int64, where each row begins.
        columns: (entries,) int64.
        values: (entries,) float64.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of_rows(cls, rows: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> _Sparse:
        starts = np.cumsum([0, *(columns.size for columns, _ in rows)], dtype=np.int64)
        return cls(starts, np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows]))

    def row(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        part = slice(self.starts[number], self.starts[number + 1])
        return self.columns[part], self.values[part]

    def positions(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the entries of some rows are kept, one row after the other, and how many each of them has."""
        begins, sizes = self.starts[numbers], self.starts[numbers + 1] - self.starts[numbers]
        ends = np.cumsum(sizes)
        return np.arange(sizes.sum()) + np.repeat(begins - (ends - sizes), sizes), sizes

    def transposed(self, num_columns: int, *, first_row: int) -> _Sparse:
        """Columns as rows, of the rows from ``first_row`` on, which count from 0."""
        begin = self.starts[first_row]
        columns = self.columns[begin:]
        order = np.argsort(columns, kind="stable")
        rows = np.repeat(np.arange(self.starts.size - 1 - first_row), np.diff(self.starts[first_row:]))
        starts = np.searchsorted(columns[order], np.arange(num_columns + 1)).astype(np.int64)
        return _Sparse(starts, rows[order], self.values[begin:][order])


def rerank(
    query: ArrayLike,
    gallery: ArrayLike,
    metric: str,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Distances of all pairs after re-ranking, for :func:`~reidfw_core.metrics.retrieval.evaluate_distances`.

    Takes time in proportion to (Q + G)^2. Beside the result, memory holds some hundred numbers an image and one chunk
    of ``256 * (Q + G)`` similarities. Camera rules are the evaluation's: they play no part here.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        metric: ``cosine`` or ``euclidean``.
        k1: nearest others that count as neighbours.
        k2: images, itself included, over which an image's neighbourhood is averaged; 1 for none.
        lambda_value: weight of the original distance, 0 to 1; 1 leaves the original order.
        progress: told how many of the Q + G images have their neighbours.

    Returns:
        (Q, G) float32 in [0, 1], smaller is nearer.

    Raises:
        DataError: embeddings of unusable shape or with values that are not finite, or not more than k1 images in all.
        ValueError: unknown metric, k1 or k2 below 1, k2 above k1 + 1, lambda_value outside 0 to 1.
    """
    if k1 < 1 or not 1 <= k2 <= k1 + 1:
        raise ValueError(f"k1 must be at least 1 and k2 from 1 to k1 + 1, got k1 {k1} and k2 {k2}")
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value must be from 0 to 1, got {lambda_value}")
    asked = EmbeddingPairs.prepare(query, gallery, metric)  # checks both
    num_queries, num_gallery = len(asked.query), len(asked.gallery)
    total = num_queries + num_gallery
    if k1 >= total:
        raise DataError(
            f"Re-ranking with k1 = {k1} needs more than {k1} images, query and gallery have {total} together",
            hint=f"Take a k1 of at most {total - 1}, better a fifth of that, or leave re-ranking out.",
        )
    everything = np.concatenate([asked.query, asked.gallery])
    pairs = EmbeddingPairs.prepare(everything, everything, metric)
    neighbours, largest = _neighbours(pairs, k1, progress)
    weights = _expanded(_weights(pairs, neighbours, largest, k1), neighbours[:, :k2])
    result = np.empty((num_queries, num_gallery), dtype=np.float32)
    by_column = weights.transposed(total, first_row=num_queries)
    for start, distances in asked.distances(_CHUNK_ROWS):
        for number, row in enumerate(distances, start):
            columns, values = weights.row(number)
            at, sizes = by_column.positions(columns)
            smaller = np.minimum(by_column.values[at], np.repeat(values, sizes))
            shared = np.bincount(by_column.columns[at], weights=smaller, minlength=num_gallery)
            original = _scaled(row, metric, largest[number])
            # Both sum to 1, so the sum of the larger ones is 2 - the sum of the smaller ones.
            result[number] = (1 - lambda_value) * (1 - shared / (2 - shared)) + lambda_value * original
    return result


def _scaled(distances: FloatArray, metric: str, largest: float) -> NDArray[np.float64]:
    """d of the module's text; where all images are equal it is 0."""
    power = distances.astype(np.float64) ** (2 if metric == "euclidean" else 1)
    return np.minimum(power / largest, 1) if largest else np.zeros_like(power)


def _neighbours(
    pairs: EmbeddingPairs, k1: int, progress: Callable[[int], None] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N, k1 + 1) each image and its nearest others, and (N,) the largest distance of each, squared for euclidean."""
    total = len(pairs.query)
    neighbours = np.empty((total, k1 + 1), dtype=np.int64)
    neighbours[:, 0] = np.arange(total)
    largest = np.empty(total)
    power = 2 if pairs.metric == "euclidean" else 1

    def itself(number: int) -> NDArray[np.int64]:
        return np.array([number], dtype=np.int64)

    for number, found, _, row in nearest_rows(pairs, k1, itself, _CHUNK_ROWS):
        neighbours[number, 1:] = found
        row[number] = np.inf  # not the farthest
        largest[number] = float(pairs.as_distances(number, row.min(keepdims=True))[0]) ** power
        done = number + 1
        if progress is not None and (done % _CHUNK_ROWS == 0 or done == total):
            progress(done)
    return neighbours, largest


def _reciprocal(neighbours: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N, k + 1): which neighbours have the image among theirs."""
    total = len(neighbours)
    rows = np.arange(total)[:, None]
    keys = np.sort((rows * total + neighbours).ravel())
    wanted = neighbours * total + rows
    at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    result: NDArray[np.bool_] = keys[at] == wanted
    return result


def _weights(pairs: EmbeddingPairs, neighbours: NDArray[np.int64], largest: NDArray[np.float64], k1: int) -> _Sparse:
    """V before the expansion, a row an image."""
    half = neighbours[:, : round(k1 / 2) + 1]
    is_mutual, is_half_mutual = _reciprocal(neighbours), _reciprocal(half)
    small_sets = [set(row[mutual].tolist()) for row, mutual in zip(half, is_half_mutual, strict=True)]
    rows = []
    for number, (row, mutual) in enumerate(zip(neighbours, is_mutual, strict=True)):
        base = set(row[mutual].tolist())
        members = set(base)
        for candidate in base:
            small = small_sets[candidate]
            if 3 * len(small & base) >= 2 * len(small):
                members |= small
        columns = np.array(sorted(members), dtype=np.int64)
        distances = _pair_distances(pairs, number, columns)
        values = np.exp(-_scaled(distances, pairs.metric, largest[number]))
        rows.append((columns, values / values.sum()))
    return _Sparse.of_rows(rows)


def _pair_distances(pairs: EmbeddingPairs, number: int, columns: NDArray[np.int64]) -> FloatArray:
    if pairs.metric == "cosine":
        similarities = pairs.gallery[columns] @ pairs.query[number]
        return pairs.as_distances(number, similarities)
    differences = pairs.gallery[columns] - pairs.query[number]
    result: FloatArray = np.sqrt(np.einsum("ij,ij->i", differences, differences))
    return result


def _expanded(weights: _Sparse, nearest: NDArray[np.int64]) -> _Sparse:
    """Each row becomes the mean of the rows of its nearest images, itself included."""
    count = nearest.shape[1]
    if count == 1:
        return weights
    rows = []
    for numbers in nearest:
        at, _ = weights.positions(numbers)
        columns, where = np.unique(weights.columns[at], return_inverse=True)
        rows.append((columns, np.bincount(where, weights=weights.values[at]) / count))
    return _Sparse.of_rows(rows)
