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


def area_by_counting(genuine: list[float], impostor: list[float]) -> float:
    return float(np.mean([(g < i) + 0.5 * (g == i) for g in genuine for i in impostor]))


def compared_pairs(sets: tuple, reference: ModuleType, protocol: str, leave_one_out: bool) -> tuple[list, list]:
    """Genuine and impostor distances of the pairs that the reference compares; on a line, from positions."""
    positions, identities, cameras = sets
    sorts: tuple[list, list] = ([], [])
    for query, q in enumerate(positions[0]):
        for index, g in enumerate(positions[1]):
            if reference.compared(query, index, identities, cameras, protocol, leave_one_out):
                sorts[identities[0][query] != identities[1][index]].append(abs(q - g))
    return sorts


@st.composite
def line_sets(draw: st.DrawFn) -> tuple:
    """Positions, identities and cameras of queries and gallery; one list twice, or two lists."""
    image = st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "-1"]), st.sampled_from("12"))
    gallery = draw(st.lists(image, min_size=1, max_size=10))
    query = draw(st.one_of(st.just(gallery), st.lists(image, min_size=1, max_size=4)))
    return tuple([[image[column] for image in images] for images in (query, gallery)] for column in range(3))


@given(
    sets=line_sets(),
    protocol=st.sampled_from(["all", "market1501", "veri", "cuhk03"]),
    exact_pairs=st.sampled_from([0, 2**24]),
    chunk_rows=st.integers(1, 4),
)
@settings(max_examples=250, deadline=None)
def test_the_pairs_are_those_that_the_retrieval_compares(
    sets: tuple, protocol: str, exact_pairs: int, chunk_rows: int, reference: ModuleType
) -> None:
    positions, identities, cameras = sets
    alone = positions[0] == positions[1] and identities[0] == identities[1]
    genuine, impostor = compared_pairs(sets, reference, protocol, alone)
    scores = best_threshold(
        line(*positions[0]),
        line(*positions[1]),
        *identities,
        metric="euclidean",
        query_cameras=cameras[0],
        gallery_cameras=cameras[1],
        protocol=protocol,
        leave_one_out=alone,
        exact_pairs=exact_pairs,
        chunk_rows=chunk_rows,
    )
    assert (scores.num_genuine, scores.num_impostor) == (len(genuine), len(impostor))
    assert (scores.histogram.genuine.sum(), scores.histogram.impostor.sum()) == (len(genuine), len(impostor))
    if not genuine or not impostor:
        assert scores.area_under_roc is None
        assert scores.roc_thresholds.size == scores.roc_false_positive_rates.size == 0
        return
    assert scores.area_under_roc == pytest.approx(area_by_counting(genuine, impostor), abs=1e-9)
    if exact_pairs:  # thresholds of bins are borders, on which a distance may lie
        points = scores.roc_false_positive_rates, scores.roc_true_positive_rates, scores.roc_thresholds
        for fpr, tpr, threshold in zip(*points, strict=True):
            assert fpr == pytest.approx(np.mean([value <= threshold for value in impostor]))
            assert tpr == pytest.approx(np.mean([value <= threshold for value in genuine]))
    best = np.max(scores.roc_true_positive_rates - scores.roc_false_positive_rates)
    assert scores.balanced_accuracy == pytest.approx((1 + best) / 2)
    assert np.trapezoid(scores.roc_true_positive_rates, scores.roc_false_positive_rates) == pytest.approx(
        scores.area_under_roc, abs=1e-9
    )


def test_a_roc_by_hand() -> None:
    # Distances from 0: a 1, b 2, a 3, b 3, a 4, b 6: corners before and at each distance of an a.
    scores = best_threshold(line(0), line(1, 2, 3, 3, 4, 6), ["a"], list("ababab"), metric="euclidean")
    assert scores.roc_false_positive_rates.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 2 / 3, 1])
    assert scores.roc_true_positive_rates.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 1, 1])
    assert scores.roc_thresholds.tolist() == [-np.inf, 1, 2, 3, 4, 6]
    assert scores.area_under_roc == pytest.approx((3 + 1.5 + 1) / 9)


def test_the_roc_is_that_of_scikit_learn(people: tuple) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    query, gallery, query_ids, gallery_ids = people
    query, gallery = query[:12], np.round(gallery[:60], 1)
    gallery[30:] = gallery[:30]  # ties
    query_ids, gallery_ids = query_ids[:12], gallery_ids[:60]
    scores = best_threshold(query, gallery, query_ids, gallery_ids)
    distances = np.concatenate([rows for _, rows in chunked_distances(query, gallery, "cosine")])
    same = (np.array(query_ids)[:, None] == np.array(gallery_ids)).ravel()
    fpr, tpr, thresholds = metrics.roc_curve(same, -distances.ravel(), drop_intermediate=False)
    assert scores.area_under_roc == pytest.approx(metrics.roc_auc_score(same, -distances.ravel()), abs=1e-12)
    curve = scores.roc_thresholds, scores.roc_false_positive_rates, scores.roc_true_positive_rates
    ours = list(zip(*(values[1:] for values in curve), strict=True))
    theirs = {float(-t): (f, p) for t, f, p in zip(thresholds, fpr, tpr, strict=True)}
    assert 8 < len(ours) <= 511
    for threshold, false, true in ours:
        assert theirs[float(threshold)] == pytest.approx((false, true))
    area = np.trapezoid(scores.roc_true_positive_rates, scores.roc_false_positive_rates)
    assert area == pytest.approx(metrics.auc(fpr, tpr), abs=1e-12)  # so no corner is missing


@pytest.mark.parametrize("exact_pairs", [0, 2**24])
def test_a_long_roc_is_thinned_but_keeps_what_is_read_from_it(people: tuple, exact_pairs: int) -> None:
    scores = best_threshold(*people, exact_pairs=exact_pairs)
    fpr, tpr = scores.roc_false_positive_rates, scores.roc_true_positive_rates
    assert scores.num_genuine > 600
    assert 256 < fpr.size <= 512
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    for rate, best in scores.true_positive_rate_at_fpr.items():
        assert tpr[fpr <= rate].max() == best
    assert scores.threshold in scores.roc_thresholds
    assert (1 + (tpr - fpr).max()) / 2 == pytest.approx(scores.balanced_accuracy)
    assert np.trapezoid(tpr, fpr) == pytest.approx(scores.area_under_roc, abs=1e-3)
    gaps = fpr - (1 - tpr)
    after = int(np.argmax(gaps >= 0))
    assert fpr[after - 1] <= scores.equal_error_rate <= fpr[after]
    assert fpr[after] - fpr[after - 1] < 0.01


def test_a_gallery_of_junk_only_has_no_pairs() -> None:
    for exact_pairs in (0, 2**24):
        scores = best_threshold(
            line(0),
            line(1, 2),
            ["a"],
            ["-1", "-1"],
            metric="euclidean",
            query_cameras=["1"],
            gallery_cameras=["1", "2"],
            protocol="market1501",
            exact_pairs=exact_pairs,
        )
        assert (scores.num_genuine, scores.num_impostor, scores.threshold) == (0, 0, None)
