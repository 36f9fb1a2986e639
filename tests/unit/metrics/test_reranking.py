"""Re-ranking: equal to full matrices in plain Python, and better than no re-ranking where neighbours help."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from reidfw_core.errors import DataError
from reidfw_core.metrics import chunked_distances, evaluate_distances, evaluate_retrieval, rerank


def people(seed: int, count: int, identities: int, noise: float = 1.0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, identities, count)
    centres = np.random.default_rng(99).normal(size=(identities, 8))
    return centres[ids] + noise * rng.normal(size=(count, 8)), [str(i) for i in ids]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"), [(20, 6, 0.3), (5, 1, 0.0), (3, 4, 0.9), (1, 2, 0.5), (34, 3, 0.1)]
)
def test_any_setting_equals_the_slow_reference(
    metric: str, k1: int, k2: int, lambda_value: float, reference: ModuleType
) -> None:
    query, gallery = people(1, 9, 5)[0], people(2, 26, 5)[0]
    expected = reference.rerank(query, gallery, metric, k1, k2, lambda_value)
    result = rerank(query, gallery, metric, k1=k1, k2=k2, lambda_value=lambda_value)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_on_normalised_vectors_both_metrics_agree() -> None:
    query, gallery = people(1, 9, 5)[0], people(2, 40, 5)[0]
    query, gallery = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (query, gallery))
    np.testing.assert_allclose(rerank(query, gallery, "cosine"), rerank(query, gallery, "euclidean"), atol=1e-6)


def test_it_helps_where_identities_form_groups() -> None:
    query, query_ids = people(1, 40, 12)
    gallery, gallery_ids = people(2, 300, 12)
    before = evaluate_retrieval(query, gallery, query_ids, gallery_ids, metric="euclidean").mean_average_precision
    after = evaluate_distances(rerank(query, gallery, "euclidean"), query_ids, gallery_ids).mean_average_precision
    assert after > before + 0.02


def test_a_lambda_of_one_leaves_the_order() -> None:
    query, gallery = people(1, 9, 5)[0], people(2, 30, 5)[0]
    original = np.concatenate([rows for _, rows in chunked_distances(query, gallery, "cosine")])
    result = rerank(query, gallery, "cosine", lambda_value=1)
    assert np.array_equal(np.argsort(original, axis=1), np.argsort(result, axis=1))


def test_equal_images_have_no_distance_and_no_nan() -> None:
    with np.errstate(all="raise"):
        assert np.abs(rerank(np.ones((3, 4)), np.ones((30, 4)), "euclidean")).max() <= 1
        assert np.isfinite(rerank(np.zeros((3, 4)), np.zeros((30, 4)), "cosine")).all()


def test_too_few_images_for_k1_are_explained_with_what_would_do() -> None:
    query, gallery = np.eye(4)[:2], np.eye(4)
    with pytest.raises(DataError, match="k1 = 6 needs more than 6 images, query and gallery have 6") as raised:
        rerank(query, gallery, "cosine", k1=6)
    assert "at most 5" in str(raised.value.hint)
    assert rerank(query, gallery, "cosine", k1=5).shape == (2, 4)


def test_settings_without_sense_are_refused_and_progress_ends_at_all_images() -> None:
    query, gallery = people(1, 9, 5)[0], people(2, 300, 5)[0]
    for wrong in ({"k1": 0}, {"k2": 0}, {"k2": 22}, {"lambda_value": 1.1}, {"metric": "cosin"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            rerank(query, gallery, **({"metric": "cosine"} | wrong))
    told: list[int] = []
    rerank(query, gallery, "cosine", progress=told.append)
    assert told == [256, 309]
