"""The nearest gallery images of each query, exactly, without sorting the gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.metrics.distances import EmbeddingPairs, FloatArray

Excluded = Callable[[int], NDArray[Any] | None]
"""Query number -> boolean mask (G,) or indices of the gallery images to leave out; None for none."""


def nearest_gallery(
    query: ArrayLike,
    gallery: ArrayLike,
    metric: str,
    k: int,
    *,
    exclude: Callable[[int], NDArray[np.bool_] | None] | None = None,
    chunk_rows: int = 256,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Finds the ``k`` nearest gallery images of each query, in the order of the ranks of ``evaluate_retrieval``.

    Of images exactly as near the one with the smaller index comes first, also where only some of them have room.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        metric: ``cosine`` or ``euclidean``.
        k: how many; a gallery of fewer images gives G.
        exclude: tells for a query, counted from 0, which images to leave out: (G,) bool, True is out; None for none.
        chunk_rows: queries a step; memory grows with ``chunk_rows * G``.

    Returns:
        Indices (Q, min(k, G)) int64 and distances of the same shape, float32, nearest first. Where exclusion leaves
        fewer, the rest has index -1 and distance infinity.

    Raises:
        DataError: embeddings of unusable shape or with values that are not finite.
        ValueError: unknown metric, ``k`` or ``chunk_rows`` below 1, or a mask of another length than G.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    pairs = EmbeddingPairs.prepare(query, gallery, metric)
    num_gallery = len(pairs.gallery)

    def checked(number: int) -> NDArray[Any] | None:
        mask = None if exclude is None else exclude(number)
        if mask is not None and (mask.shape != (num_gallery,) or mask.dtype != np.bool_):
            raise ValueError(
                f"exclude gave {mask.dtype} of shape {mask.shape} for query {number}; "
                f"it must give bool of shape ({num_gallery},)"
            )
        return mask

    indices = np.empty((len(pairs.query), min(k, num_gallery)), dtype=np.int64)
    distances = np.empty(indices.shape, dtype=np.float32)
    for number, found, similarities, _ in nearest_rows(pairs, k, checked, chunk_rows):
        indices[number] = found
        distances[number] = pairs.as_distances(number, similarities)
    return indices, distances


def nearest_rows(
    pairs: EmbeddingPairs, k: int, exclude: Excluded | None, chunk_rows: int
) -> Iterator[tuple[int, NDArray[np.int64], FloatArray, FloatArray]]:
    """Nearest gallery images query by query.

    Yields:
        Query number; (min(k, G),) indices, -1 where nothing is left; their similarities, minus infinity there; and
        the whole (G,) row of similarities, minus infinity where excluded, overwritten by the next chunk.
    """
    num_gallery = len(pairs.gallery)
    count = min(k, num_gallery)
    for start, chunk in pairs.similarities(chunk_rows):
        for number, row in enumerate(chunk, start):
            left_out = None if exclude is None else exclude(number)
            if left_out is not None:
                row[left_out] = -np.inf
            found = _largest(row, count)
            similarities = row[found]
            found[np.isneginf(similarities)] = -1
            yield number, found, similarities, row


def _largest(row: FloatArray, count: int) -> NDArray[np.int64]:
    """Indices of the ``count`` largest values, largest first, equal ones by index."""
    # argpartition alone would choose freely among equal values at the border.
    border = row[np.argpartition(row, row.size - count)[row.size - count]]
    candidates = (row >= border).nonzero()[0]
    order = np.argsort(-row[candidates], kind="stable")[:count]
    result: NDArray[np.int64] = candidates[order].astype(np.int64)
    return result
