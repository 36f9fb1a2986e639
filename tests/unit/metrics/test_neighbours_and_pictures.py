"""Nearest images, pooled queries, fidelity of embeddings, and their places in the plane."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidfw_core.errors import DataError, ToolNotFound
from reidfw_core.metrics import (
    chunked_distances,
    embedding_fidelity,
    evaluate_retrieval,
    nearest_gallery,
    pool_queries,
    project_embeddings,
)


@given(
    places=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    hidden=st.lists(st.booleans(), min_size=12, max_size=12),
    k=st.integers(1, 14),
    chunk_rows=st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_nearest_images_are_those_of_a_stable_sort(
    places: list[int], hidden: list[bool], k: int, chunk_rows: int
) -> None:
    query, gallery = np.array([[0.0], [3.0]], np.float32), np.array(places, np.float32)[:, None]
    mask = np.array(hidden[: len(places)])
    indices, distances = nearest_gallery(
        query, gallery, "euclidean", k, exclude=lambda number: mask if number else None, chunk_rows=chunk_rows
    )
    for number, at in enumerate((0, 3)):
        order = [i for i in sorted(range(len(places)), key=lambda i: abs(places[i] - at)) if not (number and mask[i])]
        order = order[:k]
        fill = min(k, len(places)) - len(order)
        assert indices[number].tolist() == order + [-1] * fill
        assert distances[number].tolist() == [abs(places[i] - at) for i in order] + [np.inf] * fill
    assert (indices.dtype, distances.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_their_distances_are_the_distances_and_the_first_match_stands_at_its_rank(metric: str) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(20, 8)), rng.normal(size=(90, 8))
    ids = [str(i) for i in rng.integers(0, 9, 20)], [str(i) for i in rng.integers(0, 9, 90)]
    indices, distances = nearest_gallery(query, gallery, metric, 90, chunk_rows=7)
    matrix = np.concatenate([rows for _, rows in chunked_distances(query, gallery, metric)])
    np.testing.assert_allclose(distances, np.take_along_axis(matrix, indices, axis=1), atol=1e-6)
    ranks = evaluate_retrieval(query, gallery, *ids, metric=metric).first_match_ranks
    for number, rank in enumerate(ranks):
        found = [ids[1][i] for i in indices[number]]
        assert found.index(ids[0][number]) == rank - 1


def test_wrong_arguments_are_refused() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(ValueError, match="k must be"):
        nearest_gallery(ones, ones, "cosine", 0)
    with pytest.raises(ValueError, match=r"int64 of shape \(2,\) for query 0; it must give bool of shape \(2,\)"):
        nearest_gallery(ones, ones, "cosine", 1, exclude=lambda number: np.array([0, 1]))


def test_pooling_by_hand() -> None:
    vectors = np.array([[3, 0], [0, 5], [0, 2], [4, 0], [0, 0]], np.float32)
    pooled = pool_queries(vectors, list("abaab"), list("12121"))
    assert pooled.identities == ("a", "b", "a", "b")
    assert pooled.cameras == ("1", "2", "2", "1")
    assert pooled.members == ((0, 2), (1,), (3,), (4,))
    np.testing.assert_allclose(pooled.embeddings, [[0.5, 0.5], [0, 1], [1, 0], [0, 0]])
    assert pooled.embeddings.dtype == np.float32
    without = pool_queries(vectors, list("abaab"), None)
    assert without.members == ((0, 2, 3), (1, 4))
    assert without.cameras is None
    np.testing.assert_allclose(without.embeddings, [[2 / 3, 1 / 3], [0, 0.5]], atol=1e-7)


def test_pooling_helps_where_single_images_are_noisy() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(15, 16))
    ids, gallery_ids = rng.integers(0, 15, 120), rng.integers(0, 15, 200)
    query = centres[ids] + 1.5 * rng.normal(size=(120, 16))
    gallery = centres[gallery_ids] + 1.5 * rng.normal(size=(200, 16))
    names, gallery_names = [str(i) for i in ids], [str(i) for i in gallery_ids]
    pooled = pool_queries(query, names, None)
    single = evaluate_retrieval(query, gallery, names, gallery_names)
    multi = evaluate_retrieval(pooled.embeddings, gallery, pooled.identities, gallery_names)
    assert multi.mean_average_precision > single.mean_average_precision + 0.1
    with pytest.raises(DataError, match="120 embeddings but 3 cameras"):
        pool_queries(query, names, ["1", "2", "3"])


def test_fidelity_by_hand() -> None:
    reference = np.array([[1, 0], [0, 2], [3, 0], [0, 0]], np.float32)
    other = np.array([[1, 0], [2, 0], [3, 3], [0, 0]], np.float32)
    scores = embedding_fidelity(reference, other, neighbours=(1, 3), names=["p", "q", "r", "s"])
    np.testing.assert_allclose(scores.cosines, [1, 0, 0.5**0.5, 1])
    assert [(worst.index, worst.name) for worst in scores.worst] == [(1, "q"), (2, "r"), (0, "p"), (3, "s")]
    assert scores.mean_cosine == pytest.approx((2 + 0.5**0.5) / 4)
    assert scores.min_cosine == 0
    assert scores.percentile5_cosine == pytest.approx(0.15 * 0.5**0.5)
    assert scores.signal_to_noise_db == pytest.approx(10 * np.log10(14 / (4 + 4 + 9)))
    # Two entries correlate fully or not: (1,0)(1,0): 1, (0,2)(2,0): -1; (3,3) and (0,0) do not vary.
    assert scores.pearson_correlation == pytest.approx(0)
    assert scores.neighbour_overlap[3] == 1
    # Nearest others, before: 2, 0 (all at distance 1, by index), 0, 0; after: 1, 0, 0, 0.
    assert scores.neighbour_overlap[1] == 0.75
    assert scores.num_images == 4


def test_equal_embeddings_are_faithful_without_limit() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 7)).astype(np.float32)
    scores = embedding_fidelity(vectors, vectors.copy())
    assert (scores.mean_cosine, scores.min_cosine, scores.signal_to_noise_db) == (1, 1, np.inf)
    assert scores.pearson_correlation == 1
    assert scores.neighbour_overlap == {1: 1, 5: 1, 10: 1}
    assert len(scores.worst) == 10


def test_overlap_and_correlation_are_those_of_independent_computations() -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(300, 12))
    other = reference + 0.4 * rng.normal(size=reference.shape)
    scores = embedding_fidelity(reference, other)
    assert scores.pearson_correlation == pytest.approx(
        np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(reference, other, strict=True)])
    )
    nearest = []
    for vectors in (reference, other):
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        matrix = units @ units.T
        np.fill_diagonal(matrix, -2)
        nearest.append(np.argsort(-matrix, axis=1))
    for k, overlap in scores.neighbour_overlap.items():
        shares = [len(set(a[:k]) & set(b[:k])) / k for a, b in zip(*nearest, strict=True)]
        assert overlap == pytest.approx(np.mean(shares))
    assert 0.2 < scores.neighbour_overlap[10] < 0.95


def test_fidelity_of_few_images_and_of_zeros() -> None:
    few = embedding_fidelity(np.eye(3), np.eye(3)[[0, 2, 1]], neighbours=(10,))
    assert few.neighbour_overlap == {10: 1}  # both others are the neighbours
    one = embedding_fidelity(np.ones((1, 2)), np.zeros((1, 2)))
    assert one.mean_cosine == 0
    assert one.signal_to_noise_db == 0
    assert one.neighbour_overlap == {}  # a single image has no neighbours
    assert np.isnan(one.pearson_correlation)
    assert embedding_fidelity(np.zeros((2, 2)), np.ones((2, 2))).signal_to_noise_db == -np.inf
    with pytest.raises(DataError, match=r"shape \(2, 3\) and other embeddings of shape \(2, 4\)"):
        embedding_fidelity(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(DataError, match="1 of 2 other embeddings hold NaN"):
        embedding_fidelity(np.ones((2, 1)), np.array([[1], [np.nan]]))
    with pytest.raises(DataError, match="1 names"):
        embedding_fidelity(np.ones((2, 3)), np.ones((2, 3)), names=["a"])
    with pytest.raises(ValueError, match="neighbours"):
        embedding_fidelity(np.ones((2, 3)), np.ones((2, 3)), neighbours=(0,))


def test_pca_finds_the_plane_and_its_signs_are_fixed() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(50, 2)) * [5, 2]
    axes = np.linalg.qr(rng.normal(size=(6, 2)))[0]
    points = project_embeddings(plane @ axes.T + 7, "pca")
    assert (points.dtype, points.shape) == (np.float32, (50, 2))
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-5)
    distances = [np.linalg.norm(of[:, None] - of, axis=2) for of in (plane, points)]
    np.testing.assert_allclose(*distances, atol=1e-4)
    assert points[:, 0].var() > points[:, 1].var()
    assert np.array_equal(points, project_embeddings(plane @ axes.T + 7, "pca", seed=5))
    mirrored = project_embeddings(-(plane @ axes.T), "pca")
    np.testing.assert_allclose(mirrored, -points, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (3, 1), (5, 1)])
def test_pca_takes_any_number_of_images(shape: tuple[int, int]) -> None:
    points = project_embeddings(np.arange(np.prod(shape), dtype=float).reshape(shape), "pca")
    assert points.shape == (shape[0], 2)
    np.testing.assert_allclose(points[:, 1], 0, atol=1e-5)
    assert np.isfinite(project_embeddings(np.ones((5, 3)), "pca")).all()


@pytest.mark.parametrize(("method", "package"), [("tsne", "sklearn"), ("umap", "umap")])
def test_neighbour_maps_keep_groups_together(method: str, package: str) -> None:
    pytest.importorskip(package)
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 12)
    vectors = (np.eye(3, 8) * 20)[groups] + rng.normal(size=(36, 8))
    points = project_embeddings(vectors, method, seed=1)
    assert (points.dtype, points.shape) == (np.float32, (36, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=2) + np.eye(36) * 1e9
    assert (groups[distances.argmin(axis=1)] == groups).all()
    assert np.array_equal(points, project_embeddings(vectors, method, seed=1))
    assert np.isfinite(project_embeddings(np.eye(4), method)).all()
    assert np.isfinite(project_embeddings(np.ones((5, 1)), method)).all()


@pytest.mark.parametrize(
    ("method", "module", "pip"), [("tsne", "sklearn.manifold", "scikit-learn"), ("umap", "umap", "umap-learn")]
)
def test_missing_packages_and_too_few_images_are_explained(
    method: str, module: str, pip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolNotFound, match=f"projection '{method}' needs the package") as raised:
        project_embeddings(np.eye(4), method)
    assert f"pip install {pip}" in str(raised.value.hint)
    with pytest.raises(DataError, match="needs at least 4 embeddings, got 3"):
        project_embeddings(np.eye(3), method)
    with pytest.raises(ValueError, match="did you mean 'pca'"):
        project_embeddings(np.eye(3), "pcaa")
