"""Distances: right values, in every chunk size, and clear errors for embeddings that cannot be compared."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from reidfw_core.errors import DataError
from reidfw_core.metrics import chunked_distances


def all_distances(query: np.ndarray, gallery: np.ndarray, metric: str, chunk_rows: int = 256) -> np.ndarray:
    return np.concatenate([rows for _, rows in chunked_distances(query, gallery, metric, chunk_rows)])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_those_of_the_definition(metric: str, reference: ModuleType) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(7, 16)) * 3, rng.normal(size=(11, 16)) + 1
    expected = [[reference.distance(q, g, metric) for g in gallery] for q in query]
    np.testing.assert_allclose(all_distances(query, gallery, metric), expected, atol=1e-12)
    single = all_distances(query.astype(np.float32), gallery.astype(np.float32), metric)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-5)


def test_hand_made_distances() -> None:
    query, gallery = np.array([[3.0, 4.0]]), np.array([[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [4.0, -3.0], [0.0, 0.0]])
    np.testing.assert_allclose(all_distances(query, gallery, "cosine"), [[0, 0, 2, 1, 1]], atol=1e-15)
    np.testing.assert_allclose(all_distances(query, gallery, "euclidean"), [[0, 5, 10, 50**0.5, 5]], atol=1e-12)


def test_a_zero_vector_has_cosine_distance_one_to_everything_itself_included() -> None:
    zero, other = np.zeros((1, 3), np.float32), np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    assert all_distances(zero, other, "cosine").tolist() == [[1, 1]]


def test_very_short_and_very_long_vectors_keep_their_direction() -> None:
    query = np.array([[1e-30, 0], [1e18, 1e18]], np.float32)
    gallery = np.array([[1, 0], [0, 1e-25]], np.float32)
    half = 1 - 0.5**0.5
    np.testing.assert_allclose(all_distances(query, gallery, "cosine"), [[0, 1], [half, half]], atol=1e-6)


@pytest.mark.parametrize("chunk_rows", [1, 2, 5, 9, 100])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_chunks_of_any_size_give_the_same_distances_and_start_where_they_say(metric: str, chunk_rows: int) -> None:
    rng = np.random.default_rng(1)
    query, gallery = rng.normal(size=(9, 8)), rng.normal(size=(4, 8))
    whole = all_distances(query, gallery, metric, 9)
    chunks = list(chunked_distances(query, gallery, metric, chunk_rows))
    assert [start for start, _ in chunks] == list(range(0, 9, chunk_rows))
    for start, rows in chunks:  # kept in a list: no chunk may have been overwritten by the next
        np.testing.assert_allclose(rows, whole[start : start + chunk_rows], atol=1e-12)


def test_inputs_are_left_as_they_were() -> None:
    query, gallery = np.full((2, 2), 3.0), np.full((3, 2), 5.0)
    all_distances(query, gallery, "cosine")
    all_distances(query, gallery, "euclidean")
    assert (query == 3).all()
    assert (gallery == 5).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_embeddings_that_are_no_numbers_are_counted_and_named(value: float, dtype: type) -> None:
    gallery = np.ones((30, 4), dtype)
    gallery[[3, 17], [0, 2]] = value
    with pytest.raises(DataError, match=r"2 of 30 gallery embeddings .* images 3, 17 \(counted from 0\)"):
        all_distances(np.ones((2, 4)), gallery, "cosine")
    gallery[:] = value
    with pytest.raises(DataError, match=r"30 of 30 query embeddings .* 8, 9, \.\.\. \(counted"):
        all_distances(gallery, np.ones((2, 4)), "euclidean")


def test_finite_values_whose_square_overflows_are_refused_rather_than_ranked_by_nan() -> None:
    huge = np.full((1, 4), 1e30, np.float32)
    with pytest.raises(DataError, match="enormous"):
        all_distances(huge, huge, "euclidean")


@pytest.mark.parametrize(
    ("query", "gallery", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "query embeddings of length 3 and gallery embeddings of length 4"),
        (np.ones(3), np.ones((2, 3)), r"query embeddings of shape \(3,\)"),
        (np.ones((2, 3)), np.ones((0, 3)), r"gallery embeddings of shape \(0, 3\)"),
        (np.ones((2, 1, 3)), np.ones((2, 3)), r"query embeddings of shape \(2, 1, 3\)"),
    ],
)
def test_unusable_shapes_are_explained(query: np.ndarray, gallery: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        all_distances(query, gallery, "cosine")


def test_unknown_metrics_and_chunk_sizes_are_refused() -> None:
    ones = np.ones((1, 1))
    with pytest.raises(ValueError, match=r"unknown metric 'cosin' \(did you mean 'cosine'\?\); allowed: cosine, eucl"):
        all_distances(ones, ones, "cosin")
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, got 0"):
        all_distances(ones, ones, "cosine", 0)
