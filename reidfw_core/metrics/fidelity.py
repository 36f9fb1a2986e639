"""How well the embeddings of one model (quantized, converted) stand for those of another (float), image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.errors import DataError
from reidfw_core.metrics.distances import EmbeddingPairs, FloatArray, checked_embeddings
from reidfw_core.metrics.identities import check_one_each
from reidfw_core.metrics.nearest import nearest_rows

_CHUNK_ROWS = 256
_WORST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstImage:
    """An image whose embedding changed much.

    Attributes:
        index: place in the list, counted from 0.
        name: as given; the index as text where no names were given.
        cosine: cosine similarity of its two embeddings.
    """

    index: int
    name: str
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FidelityScores:
    """How near two sets of embeddings of the same images are.

    Attributes:
        num_images: N.
        cosines: (N,) float64 in [-1, 1], cosine similarity of the two embeddings of each image. Two zero vectors
            have 1, a zero vector and another one 0.
        mean_cosine: mean of these.
        min_cosine: least of these.
        percentile5_cosine: 5 % of the images have less (with linear interpolation).
        worst: up to ten images with the least cosines, the least first.
        signal_to_noise_db: 10 log10(sum of squares of the reference / sum of squares of the differences), in dB over
            all numbers; infinity where the sets are equal, minus infinity where only the reference is all zero.
        pearson_correlation: mean over the images of the correlation of the two embeddings' entries; an embedding
            whose entries are all equal has none and is left out; NaN where that leaves no image.
        neighbour_overlap: for each k, the mean share of an image's k nearest other images (by cosine) that are the
            same in both sets, in [0, 1]. With fewer than k other images, all of them count; empty for a single image.
    """

    num_images: int
    cosines: NDArray[np.float64]
    mean_cosine: float
    min_cosine: float
    percentile5_cosine: float
    worst: tuple[WorstImage, ...]
    signal_to_noise_db: float
    pearson_correlation: float
    neighbour_overlap: Mapping[int, float]


def embedding_fidelity(
    reference: ArrayLike,
    other: ArrayLike,
    *,
    neighbours: Sequence[int] = (1, 5, 10),
    names: Sequence[str] | None = None,
) -> FidelityScores:
    """Compares two embeddings of each image; memory grows with N * D, not with N * N.

    Args:
        reference: (N, D) embeddings of the model that is right by definition.
        other: (N, D) embeddings of the same images in the same order.
        neighbours: the k of the neighbour overlaps.
        names: of the images, for example their paths.

    Raises:
        DataError: embeddings of unusable or different shape or with values that are not finite, not one name each.
        ValueError: a k below 1.
    """
    first = checked_embeddings("reference", reference).astype(np.float64)
    second = checked_embeddings("other", other).astype(np.float64)
    if first.shape != second.shape:
        raise DataError(
            f"reference embeddings of shape {first.shape} and other embeddings of shape {second.shape} "
            "cannot be compared image by image",
            hint="Both must be made from the same images by models of the same embedding size.",
        )
    if names is not None:
        check_one_each("names", names, "reference", len(first))
    if any(k < 1 for k in neighbours):
        raise ValueError(f"neighbours must be at least 1, got {min(neighbours)}")
    cosines = _row_cosines(first, second)
    order = np.argsort(cosines, kind="stable")[:_WORST].tolist()
    return FidelityScores(
        num_images=len(first),
        cosines=cosines,
        mean_cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
        percentile5_cosine=float(np.percentile(cosines, 5)),
        worst=tuple(
            WorstImage(index=index, name=str(index if names is None else names[index]), cosine=float(cosines[index]))
            for index in order
        ),
        signal_to_noise_db=_signal_to_noise(first, second),
        pearson_correlation=_mean_correlation(first, second),
        neighbour_overlap=_overlaps(first, second, neighbours),
    )


def _row_cosines(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = [np.linalg.norm(vectors, axis=1) for vectors in (first, second)]
    zero = [length == 0 for length in lengths]
    units = [
        vectors / np.where(none, 1, length)[:, None]
        for vectors, length, none in zip((first, second), lengths, zero, strict=True)
    ]
    cosines: NDArray[np.float64] = np.clip(np.einsum("ij,ij->i", *units), -1, 1)
    cosines[zero[0] & zero[1]] = 1.0
    # Rounding must not make an unchanged image the worst of several.
    cosines[(first == second).all(axis=1)] = 1.0
    return cosines


def _signal_to_noise(reference: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    signal, noise = float(np.sum(reference**2)), float(np.sum((reference - other) ** 2))
    if noise == 0:
        return math.inf
    return -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def _mean_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    # Subtracting the mean of equal numbers can leave a tiny rest, so these rows are found by their values.
    varied = [(vectors != vectors[:, :1]).any(axis=1) for vectors in (first, second)]
    kept = varied[0] & varied[1]
    if not kept.any():
        return math.nan
    centred = [vectors[kept] - vectors[kept].mean(axis=1, keepdims=True) for vectors in (first, second)]
    return float(_row_cosines(centred[0], centred[1]).mean())


def _overlaps(first: FloatArray, second: FloatArray, neighbours: Sequence[int]) -> dict[int, float]:
    others = len(first) - 1
    if not others or not neighbours:
        return {}  # a single image has no neighbours
    wanted = min(max(neighbours), others)

    def itself(number: int) -> NDArray[np.int64]:
        return np.array([number], dtype=np.int64)

    nearest = []
    for vectors in (first, second):
        pairs = EmbeddingPairs.prepare(vectors, vectors, "cosine")
        nearest.append(np.stack([found for _, found, _, _ in nearest_rows(pairs, wanted, itself, _CHUNK_ROWS)]))
    result = {}
    for k in neighbours:
        size = min(k, others)
        before, after = (found[:, :size] for found in nearest)
        shared = sum(int((before[:, column, None] == after).sum()) for column in range(size))
        result[k] = shared / (size * len(first))
    return result
