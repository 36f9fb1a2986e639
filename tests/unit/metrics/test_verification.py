"""The best threshold: exact against trying every distance, and its binned form close to the exact one."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidfw_core.errors import DataError
from reidfw_core.metrics import best_threshold, chunked_distances


def line(*positions: float) -> np.ndarray:
    return np.array(positions, dtype=np.float32)[:, None]


def test_an_example_by_hand() -> None:
    # Distances from 0: a 1, a 2, b 3, a 4, b 5, b 6, b 7: best at 2 (2/3 and 4/4) or 4 (3/3 and 3/4): 4 wins.
    scores = best_threshold(line(0), line(1, 2, 3, 4, 5, 6, 7), ["a"], list("aababbb"), metric="euclidean")
    assert scores.threshold == 4
    assert scores.balanced_accuracy == pytest.approx((1 + 3 / 4) / 2)
    assert (scores.num_genuine, scores.num_impostor) == (3, 4)
    # ROC corners (FPR, TPR): (0, 2/3) then (1/4, 1): FPR = 1 - TPR on the line between them.
    assert scores.equal_error_rate == pytest.approx(1 / 7)
    assert scores.true_positive_rate_at_fpr == pytest.approx({0.001: 2 / 3, 0.01: 2 / 3, 0.1: 2 / 3})


def test_separable_pairs_have_no_error() -> None:
    scores = best_threshold(line(0, 10), line(0.5, 9), ["a", "b"], ["a", "b"], metric="euclidean")
    assert (scores.threshold, scores.balanced_accuracy, scores.equal_error_rate) == (1, 1, 0)
    assert set(scores.true_positive_rate_at_fpr.values()) == {1}


def test_the_smallest_of_equally_good_thresholds_is_taken() -> None:
    scores = best_threshold(line(0), line(1, 2, 3, 4), ["a"], list("abab"), metric="euclidean")
    assert scores.threshold == 1
    assert scores.balanced_accuracy == pytest.approx(0.75)


@pytest.mark.parametrize("exact_pairs", [0, 2**24])
@pytest.mark.parametrize(("gallery_identities", "genuine"), [(["a", "a"], 2), (["b", "c"], 0)])
def test_pairs_of_one_sort_have_no_threshold_but_a_histogram(
    gallery_identities: list[str], genuine: int, exact_pairs: int
) -> None:
    scores = best_threshold(line(0), line(1, 2), ["a"], gallery_identities, metric="euclidean", exact_pairs=exact_pairs)
    assert (scores.threshold, scores.balanced_accuracy, scores.equal_error_rate) == (None, None, None)
    assert not scores.true_positive_rate_at_fpr
    assert scores.histogram.genuine.sum() == scores.num_genuine == genuine
    assert scores.histogram.impostor.sum() == scores.num_impostor == 2 - genuine


@pytest.mark.parametrize("exact_pairs", [0, 2**24])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_collapsed_model_scores_as_chance(metric: str, exact_pairs: int) -> None:
    ones = np.ones((6, 4), np.float32)
    scores = best_threshold(ones, ones, list("aabbcc"), list("aabbcc"), metric=metric, exact_pairs=exact_pairs)
    assert scores.balanced_accuracy == pytest.approx(0.5)
    assert scores.equal_error_rate == pytest.approx(0.5)
    assert scores.histogram.genuine.sum() == 12


@given(
    query=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    gallery=st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), min_size=2, max_size=12),
    chunk_rows=st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_no_threshold_is_better(
    query: list[int], gallery: list[tuple[int, str]], chunk_rows: int, reference: ModuleType
) -> None:
    query_ids, gallery_ids = ["a", "b", "c", "a", "b"][: len(query)], [identity for _, identity in gallery]
    pairs = [
        (abs(q - g), query_id == gallery_id)
        for q, query_id in zip(query, query_ids, strict=True)
        for g, gallery_id in gallery
    ]
    genuine, impostor = [d for d, same in pairs if same], [d for d, same in pairs if not same]
    scores = best_threshold(
        line(*query), line(*(g for g, _ in gallery)), query_ids, gallery_ids, metric="euclidean", chunk_rows=chunk_rows
    )
    assert (scores.num_genuine, scores.num_impostor) == (len(genuine), len(impostor))
    if genuine and impostor:
        tried = {t: reference.balanced_accuracy(genuine, impostor, t) for t in sorted(set(genuine))}
        assert scores.balanced_accuracy == pytest.approx(max(tried.values()))
        assert scores.threshold == min(t for t, value in tried.items() if value > max(tried.values()) - 1e-9)


@pytest.fixture
def people() -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 20, 360)
    vectors = (rng.normal(size=(20, 24))[ids] + 1.2 * rng.normal(size=(360, 24))).astype(np.float32)
    names = [str(identity) for identity in ids]
    return vectors[:60], vectors[60:], names[:60], names[60:]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_binned_distances_give_nearly_the_exact_scores(people: tuple, metric: str) -> None:
    exact = best_threshold(*people, metric=metric)
    binned = best_threshold(*people, metric=metric, exact_pairs=0, chunk_rows=7)
    width = 2 / 65536 if metric == "cosine" else 40 / 65536
    assert 0.6 < exact.balanced_accuracy < 1
    assert binned.threshold == pytest.approx(exact.threshold, abs=2 * width)
    assert binned.balanced_accuracy == pytest.approx(exact.balanced_accuracy, abs=1e-3)
    assert binned.equal_error_rate == pytest.approx(exact.equal_error_rate, abs=1e-3)
    assert binned.true_positive_rate_at_fpr == pytest.approx(exact.true_positive_rate_at_fpr, abs=5e-3)
    assert (binned.num_genuine, binned.num_impostor) == (exact.num_genuine, exact.num_impostor)
    np.testing.assert_allclose(binned.histogram.edges, exact.histogram.edges, atol=2 * width)


@pytest.mark.parametrize("exact_pairs", [0, 2**24])
def test_the_histogram_counts_every_pair_where_it_lies(people: tuple, exact_pairs: int) -> None:
    query, gallery, query_ids, gallery_ids = people
    scores = best_threshold(*people, num_bins=17, exact_pairs=exact_pairs)
    distances = np.concatenate([rows for _, rows in chunked_distances(query, gallery, "cosine")])
    same = np.array(query_ids)[:, None] == np.array(gallery_ids)
    edges = scores.histogram.edges
    for counts, values in ((scores.histogram.genuine, distances[same]), (scores.histogram.impostor, distances[~same])):
        inside = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
        # Fine bins go to one side of a border as a whole: distances that near to it may be counted on either side.
        fine = 0 if exact_pairs else 2 / 65536
        near_border = (np.abs(values - edges[:, None]) < fine).sum(axis=1)
        assert (np.abs(counts - inside) <= near_border[:-1] + near_border[1:]).all()
        assert counts.sum() == values.size


def test_the_error_rate_is_where_both_errors_meet(people: tuple) -> None:
    scores = best_threshold(*people)
    query, gallery, query_ids, gallery_ids = people
    distances = np.concatenate([rows for _, rows in chunked_distances(query, gallery, "cosine")])
    same = np.array(query_ids)[:, None] == np.array(gallery_ids)
    tried = np.unique(distances)
    misses = np.array([(distances[same] > t).mean() for t in tried[::7]])
    false_alarms = np.array([(distances[~same] <= t).mean() for t in tried[::7]])
    meeting = np.argmin(np.abs(misses - false_alarms))
    assert scores.equal_error_rate == pytest.approx((misses[meeting] + false_alarms[meeting]) / 2, abs=2e-3)


def test_inputs_that_do_not_fit_are_explained() -> None:
    with pytest.raises(DataError, match="The gallery has 2 embeddings but 1 identities"):
        best_threshold(line(0), line(1, 2), ["a"], ["a"])
    with pytest.raises(ValueError, match="num_bins"):
        best_threshold(line(0), line(1), ["a"], ["a"], num_bins=0)
