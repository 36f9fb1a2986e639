"""Distances between query and gallery embeddings, a few query rows at a time.

========= ============================== ======================================================================
metric    distance                       embeddings
========= ============================== ======================================================================
cosine    ``clip(1 - q.g, 0, 2)``        L2-normalised here; a zero vector has distance 1 to everything
euclidean ``sqrt(|q|^2 - 2 q.g + |g|^2)`` taken as they are
========= ============================== ======================================================================

ST's services normalise before either metric, so there the two always rank alike. Here they are different measures:
euclidean sees the length of an embedding, cosine does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.errors import DataError, nearest_match

METRICS = ("cosine", "euclidean")

FloatArray = NDArray[np.floating[Any]]

_SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingPairs:
    """Query and gallery embeddings, checked and made ready for products of chunks.

    The similarity of a query ``q`` and a gallery image ``g`` is larger the nearer they are: ``q.g`` of the normalised
    vectors for cosine, ``q.g - |g|^2 / 2`` for euclidean, which along a row differs from ``-distance^2 / 2`` by the
    constant ``|q|^2 / 2``. Ranking needs no more, and so saves the passes that turn it into distances.

    Attributes:
        metric: ``cosine`` or ``euclidean``.
        query: (Q, D) float32 or float64, L2-normalised for cosine.
        gallery: (G, D) of the same type, L2-normalised for cosine.
        query_squared_norms: (Q,) of the vectors in ``query``; not used for cosine.
        gallery_half_squared_norms: (G,) of the vectors in ``gallery``; None for cosine.
    """

    metric: str
    query: FloatArray
    gallery: FloatArray
    query_squared_norms: FloatArray
    gallery_half_squared_norms: FloatArray | None

    @classmethod
    def prepare(cls, query: ArrayLike, gallery: ArrayLike, metric: str) -> EmbeddingPairs:
        """Checks embeddings and brings them to one floating type: float64 where one of them is, else float32.

        Args:
            query: (Q, D) embeddings.
            gallery: (G, D) embeddings.
            metric: ``cosine`` or ``euclidean``.

        Raises:
            DataError: not two-dimensional, nothing in them, other lengths D, or values that are not finite.
            ValueError: unknown metric.
        """
        check_choice("metric", metric, METRICS)
        arrays = {"query": np.asarray(query), "gallery": np.asarray(gallery)}
        for name, array in arrays.items():
            _check_shape(name, array)
        if len({array.shape[1] for array in arrays.values()}) > 1:
            lengths = " and ".join(f"{name} embeddings of length {array.shape[1]}" for name, array in arrays.items())
            raise DataError(f"{lengths} cannot be compared", hint="Both must come from the same model.")
        dtype = np.result_type(*arrays.values(), np.float32)
        vectors = {name: array.astype(dtype, copy=False) for name, array in arrays.items()}
        squares = {name: _squared_norms(name, array) for name, array in vectors.items()}
        if metric == "cosine":
            vectors = {name: _normalised(array, squares[name]) for name, array in vectors.items()}
        return cls(
            metric,
            vectors["query"],
            vectors["gallery"],
            squares["query"].astype(dtype),
            (squares["gallery"] / 2).astype(dtype) if metric == "euclidean" else None,
        )

    def keep_gallery(self, indices: Sequence[int] | NDArray[np.int64]) -> EmbeddingPairs:
        """The same queries with only the gallery images at ``indices``."""
        halves = self.gallery_half_squared_norms
        return replace(
            self,
            gallery=self.gallery[indices],
            gallery_half_squared_norms=None if halves is None else halves[indices],
        )

    def similarities(self, chunk_rows: int) -> Iterator[tuple[int, FloatArray]]:
        """Similarities of all pairs, ``chunk_rows`` queries a step.

        Yields:
            Number of the first query of the chunk, and its (rows, G) similarities. The next step overwrites them
            (one buffer serves all chunks), and the receiver may too.

        Raises:
            ValueError: ``chunk_rows`` below 1.
        """
        if chunk_rows < 1:
            raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")
        buffer = np.empty((min(chunk_rows, len(self.query)), len(self.gallery)), dtype=self.query.dtype)
        for start in range(0, len(self.query), chunk_rows):
            rows = self.query[start : start + chunk_rows]
            similarity = np.matmul(rows, self.gallery.T, out=buffer[: len(rows)])
            if self.gallery_half_squared_norms is not None:
                similarity -= self.gallery_half_squared_norms
            yield start, similarity

    def as_distances(self, query: int, similarities: FloatArray) -> FloatArray:
        """Distances that belong to similarities of one query; minus infinity becomes infinity."""
        if self.metric == "cosine":
            result: FloatArray = np.where(np.isneginf(similarities), np.inf, np.clip(1 - similarities, 0, 2))
        else:
            result = np.sqrt(np.maximum(self.query_squared_norms[query] - 2 * similarities, 0))
        return result

    def distances(self, chunk_rows: int) -> Iterator[tuple[int, FloatArray]]:
        """Distances of all pairs, ``chunk_rows`` queries a step, in the buffer of :meth:`similarities`."""
        for start, buffer in self.similarities(chunk_rows):
            if self.metric == "cosine":
                np.subtract(1, buffer, out=buffer)
                np.clip(buffer, 0, 2, out=buffer)
            else:
                np.multiply(buffer, -2, out=buffer)
                np.add(buffer, self.query_squared_norms[start : start + len(buffer), None], out=buffer)
                np.sqrt(np.maximum(buffer, 0, out=buffer), out=buffer)
            yield start, buffer


def chunked_distances(
    query: ArrayLike, gallery: ArrayLike, metric: str, chunk_rows: int = 256
) -> Iterator[tuple[int, FloatArray]]:
    """Distances of all queries to all gallery images, ``chunk_rows`` queries a step.

    Products of other chunk sizes may differ in the last bit, as those of any matrix library.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        metric: ``cosine`` (in [0, 2]) or ``euclidean``, see the module's table.
        chunk_rows: queries a step; memory grows with ``chunk_rows * G``.

    Yields:
        Number of the first query of the chunk, and a fresh (rows, G) array, float64 where an input is, else float32.

    Raises:
        DataError: embeddings of unusable shape, or not finite.
        ValueError: unknown metric, or ``chunk_rows`` below 1.
    """
    for start, distances in EmbeddingPairs.prepare(query, gallery, metric).distances(chunk_rows):
        yield start, distances.copy()


def normalised_embeddings(name: str, embeddings: ArrayLike) -> FloatArray:
    """Checked and L2-normalised (N, D) embeddings; zero vectors stay zero.

    Args:
        name: of the set, for messages.
        embeddings: (N, D), any numbers.

    Returns:
        (N, D), float64 where the input is, else float32.

    Raises:
        DataError: not two-dimensional, nothing in them, or values that are not finite.
    """
    array = checked_embeddings(name, embeddings)
    return _normalised(array, _squared_norms(name, array))


def checked_embeddings(name: str, embeddings: ArrayLike) -> FloatArray:
    """Embeddings as (N, D) float32 or float64, not empty and finite; Raises as :func:`normalised_embeddings`."""
    array = np.asarray(embeddings)
    _check_shape(name, array)
    result: FloatArray = array.astype(np.result_type(array, np.float32), copy=False)
    _squared_norms(name, result)
    return result


def unit_length(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) embeddings scaled to length 1; a vector of zeros stays one."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(embeddings, norms, out=np.zeros_like(embeddings), where=norms > 0)
    return scaled


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError, with the nearest match, where ``value`` is not one of ``allowed``."""
    if value not in allowed:
        nearest = nearest_match(str(value), allowed)
        meant = f" (did you mean '{nearest}'?)" if nearest else ""
        raise ValueError(f"unknown {name} '{value}'{meant}; allowed: {', '.join(allowed)}")


def _check_shape(name: str, array: NDArray[Any]) -> None:
    if array.ndim != 2 or not array.size:
        raise DataError(f"{name} embeddings of shape {array.shape}; they must be (images, D), at least (1, 1)")


def _squared_norms(name: str, embeddings: FloatArray) -> NDArray[np.float64]:
    # In float64 no finite float32 vector overflows, so a sum that is not finite gives away every NaN and infinity.
    with np.errstate(over="ignore", invalid="ignore"):
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    bad = np.flatnonzero(~(squares <= np.finfo(embeddings.dtype).max))
    if bad.size:
        shown = ", ".join(str(index) for index in bad[:_SHOWN]) + (", ..." if bad.size > _SHOWN else "")
        raise DataError(
            f"{bad.size} of {len(embeddings)} {name} embeddings hold NaN, infinite or enormous values: "
            f"images {shown} (counted from 0)",
            hint="The training diverged or the model file is damaged; check the training loss.",
        )
    return squares


def _normalised(embeddings: FloatArray, squares: NDArray[np.float64]) -> FloatArray:
    norms = np.sqrt(squares)
    # Lengths below the smallest normal number count as zero: their reciprocal would overflow.
    scales = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms >= np.finfo(embeddings.dtype).tiny)
    result: FloatArray = embeddings * scales.astype(embeddings.dtype)[:, None]
    return result
