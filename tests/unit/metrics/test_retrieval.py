"""Rank-k, mAP and mINP: examples by hand, and any set against a stable sort in plain Python."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidfw_core.errors import DataError, ToolNotFound
from reidfw_core.metrics import RetrievalScores, average_precision, evaluate_distances, evaluate_retrieval, ranking
from reidfw_core.metrics.ranking import positive_ranks


def on_a_line(*positions: float) -> np.ndarray:
    """One-dimensional embeddings, so that euclidean distances can be read off."""
    return np.array(positions, dtype=np.float32)[:, None]


def line_scores(query: np.ndarray, gallery: np.ndarray, query_ids: str, gallery_ids: str, **more) -> RetrievalScores:
    return evaluate_retrieval(query, gallery, query_ids.split(), gallery_ids.split(), metric="euclidean", **more)


def test_an_example_by_hand() -> None:
    # From 0 the gallery is seen as a b a c a: a's positives stand at ranks 1, 3 and 5; c's from 10 as a c ...: rank 2.
    scores = line_scores(on_a_line(0, 10), on_a_line(1, 2, 3, 4, 20), "a c", "a b a c a")
    assert scores.first_match_ranks.tolist() == [1, 1]
    scores = line_scores(on_a_line(0, 10), on_a_line(1, 2, 3, 4, 15), "a c", "a b a c a")
    assert scores.first_match_ranks.tolist() == [1, 2]
    assert scores.average_precisions.tolist() == pytest.approx([(1 / 1 + 2 / 3 + 3 / 5) / 3, 1 / 2])
    assert scores.mean_average_precision == pytest.approx(((1 + 2 / 3 + 3 / 5) / 3 + 0.5) / 2)
    assert scores.mean_inverse_negative_penalty == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert scores.cmc[:3].tolist() == [0.5, 1, 1]
    assert (scores.num_queries, scores.num_gallery, scores.queries_without_match) == (2, 5, ())


def test_market1501_takes_out_own_camera_and_junk() -> None:
    gallery = on_a_line(1, 2, 3, 4, 5, 6)
    identities, cameras = "7 -1 8 7 0 7", "1 2 1 2 3 1"
    # Query 7 from camera 1 sees 8, 7 (camera 2), 0: its match stands at rank 2. Query -1 has nothing but junk.
    scores = line_scores(
        on_a_line(0, 0, 0),
        gallery,
        "7 8 -1",
        identities,
        query_cameras=["1", "2", "9"],
        gallery_cameras=cameras.split(),
        protocol="market1501",
    )
    assert scores.first_match_ranks.tolist() == [2, 2, 0]
    assert scores.average_precisions[0] == pytest.approx(1 / 2)
    # Query 8 from camera 2: the junk image is gone for it too, 7 (camera 1) is not its identity and stays.
    assert scores.average_precisions[1] == pytest.approx(1 / 2)
    assert scores.queries_without_match == (2,)
    assert scores.num_gallery == 6
    everything = line_scores(on_a_line(0, 0, 0), gallery, "7 8 -1", identities)
    assert everything.first_match_ranks.tolist() == [1, 3, 2]


def test_each_image_with_a_camera_of_its_own_gives_leave_one_out() -> None:
    images, own = on_a_line(0, 1, 3, 7), ["a", "b", "c", "d"]
    scores = line_scores(
        images, images, "x x y y", "x x y y", query_cameras=own, gallery_cameras=own, protocol="market1501"
    )
    # Without itself: x sees x y y; x sees x ...; y(3) sees x x y; y(7) sees y ...
    assert scores.first_match_ranks.tolist() == [1, 1, 3, 1]


def test_ties_stand_in_the_order_of_the_gallery() -> None:
    query, gallery = on_a_line(0), on_a_line(1, -1, 1, 1, -1)
    ranks = [line_scores(query, gallery, "a", " ".join("a" if k == i else "b" for k in range(5))) for i in range(5)]
    assert [int(scores.first_match_ranks[0]) for scores in ranks] == [1, 2, 3, 4, 5]
    two = line_scores(query, gallery, "a", "b a b a b")
    assert two.average_precisions[0] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_queries_without_match_count_in_no_mean_and_are_named() -> None:
    scores = line_scores(on_a_line(0, 0, 0), on_a_line(1, 2), "z a y", "b a")
    assert scores.queries_without_match == (0, 2)
    assert np.isnan(scores.average_precisions[[0, 2]]).all()
    assert (scores.rank(1), scores.rank(2), scores.mean_average_precision) == (0, 1, 0.5)


def test_no_match_at_all_gives_nan_everywhere_and_no_warning() -> None:
    with np.errstate(all="raise"):
        scores = line_scores(on_a_line(0), on_a_line(1), "a", "b")
    assert np.isnan(scores.mean_average_precision)
    assert np.isnan(scores.mean_inverse_negative_penalty)
    assert np.isnan(scores.cmc).all()
    assert np.isnan(scores.rank(1))
    assert scores.queries_without_match == (0,)


def test_a_gallery_of_junk_only_has_no_match() -> None:
    scores = line_scores(
        on_a_line(0), on_a_line(1, 2), "a", "-1 -1", query_cameras="1", gallery_cameras="22", protocol="market1501"
    )
    assert scores.queries_without_match == (0,)
    assert scores.num_gallery == 2


def test_a_gallery_smaller_than_k_is_no_problem() -> None:
    scores = line_scores(on_a_line(0), on_a_line(5), "a", "a", max_rank=3)
    assert scores.cmc.tolist() == [1, 1, 1]
    assert [scores.rank(k) for k in (1, 5, 10, 1000)] == [1, 1, 1, 1]


def test_rank_k_beyond_the_curve_is_still_right() -> None:
    scores = line_scores(on_a_line(0), on_a_line(1, 2, 3, 4), "a", "b b b a", max_rank=2)
    assert scores.cmc.tolist() == [0, 0]
    assert (scores.rank(3), scores.rank(4)) == (0, 1)
    with pytest.raises(ValueError, match="counted from 1"):
        scores.rank(0)


def test_average_precision_by_hand() -> None:
    assert average_precision(np.array([1, 2, 3])) == 1
    assert average_precision(np.array([4])) == 0.25
    assert average_precision(np.array([2, 3, 6])) == pytest.approx((1 / 2 + 2 / 3 + 3 / 6) / 3)


def test_average_precision_is_the_step_area_under_the_precision_recall_curve() -> None:
    rng = np.random.default_rng(5)
    relevant = rng.random(200) < 0.1
    precision = np.cumsum(relevant) / np.arange(1, 201)
    recall = np.cumsum(relevant) / relevant.sum()
    area = np.sum(np.diff(recall, prepend=0) * precision)
    assert average_precision(np.flatnonzero(relevant) + 1) == pytest.approx(area, abs=1e-12)


@given(
    st.integers(1, 5).flatmap(
        lambda spread: st.lists(st.tuples(st.integers(0, spread), st.booleans()), min_size=1, max_size=60)
    )
)
@settings(max_examples=200, deadline=None)
def test_ranks_are_those_of_a_stable_sort(row: list[tuple[int, bool]]) -> None:
    similarities = np.array([value for value, _ in row], dtype=np.float32)
    positives = np.flatnonzero([chosen for _, chosen in row])
    if positives.size:
        order = sorted(range(len(row)), key=lambda index: -row[index][0])
        assert positive_ranks(similarities, positives).tolist() == [order.index(index) + 1 for index in positives]


@pytest.mark.parametrize("distinct", [3, 50, 10**6])
def test_many_positives_take_the_sorting_way_to_the_same_ranks(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    similarities = rng.integers(0, distinct, 1500).astype(np.float32)
    positives = np.sort(rng.choice(1500, 700, replace=False))
    places = np.empty(1500, dtype=int)
    places[np.argsort(-similarities, kind="stable")] = np.arange(1, 1501)
    assert positive_ranks(similarities, positives).tolist() == places[positives].tolist()
    for index in positives[:40]:
        assert positive_ranks(similarities, np.array([index])) == places[index]


@st.composite
def retrieval_sets(draw: st.DrawFn) -> dict:
    """Small sets with many ties. The vectors make both metrics exact in float32: entries of +-1/2 have length one."""
    dim, num_query, num_gallery = 4, draw(st.integers(1, 6)), draw(st.integers(1, 14))
    leave_one_out = draw(st.booleans())
    total = num_query + num_gallery
    signs = draw(
        st.lists(st.lists(st.sampled_from([-0.5, 0.5]), min_size=dim, max_size=dim), min_size=total, max_size=total)
    )
    identities = draw(st.lists(st.sampled_from(["a", "b", "c", "-1"]), min_size=total, max_size=total))
    cameras = draw(st.lists(st.sampled_from(["1", "2"]), min_size=total, max_size=total))
    split = slice(0 if leave_one_out else num_gallery, num_gallery if leave_one_out else None), slice(0, num_gallery)
    return {
        "vectors": [np.array(signs[part], dtype=np.float32) for part in split],
        "identities": [identities[part] for part in split],
        "cameras": [cameras[part] for part in split],
        "metric": draw(st.sampled_from(["cosine", "euclidean"])),
        "leave_one_out": leave_one_out,
        "chunk_rows": draw(st.integers(1, 7)),
    }


def scores_of(data: dict, protocol: str, **more) -> list[RetrievalScores]:
    """Scores from the embeddings and from the matrix of their distances."""
    options = {
        "query_cameras": data["cameras"][0],
        "gallery_cameras": data["cameras"][1],
        "protocol": protocol,
        "leave_one_out": data["leave_one_out"],
        "chunk_rows": data["chunk_rows"],
    } | more
    matrix = reference_distances(data)
    return [
        evaluate_retrieval(*data["vectors"], *data["identities"], metric=data["metric"], **options),
        evaluate_distances(matrix, *data["identities"], **options),
        evaluate_distances(matrix.astype(np.float32), *data["identities"], **options),
    ]


def reference_distances(data: dict) -> np.ndarray:
    power = 2 if data["metric"] == "euclidean" else 1
    query, gallery = (vectors.astype(np.float64) for vectors in data["vectors"])
    return (1 - query @ gallery.T) * power  # exact: entries of +-1/2


@given(data=retrieval_sets(), protocol=st.sampled_from(["all", "market1501", "veri"]))
@settings(max_examples=250, deadline=None)
def test_any_set_scores_as_the_slow_reference(data: dict, protocol: str, reference: ModuleType) -> None:
    expected = reference.retrieval(
        reference_distances(data), data["identities"], data["cameras"], protocol, data["leave_one_out"]
    )
    matched = [rank for rank in expected.first_ranks if rank]
    for scores in scores_of(data, protocol):
        assert scores.first_match_ranks.tolist() == expected.first_ranks
        assert scores.match_ranks.tolist() == [[rank] for rank in expected.first_ranks]
        np.testing.assert_allclose(scores.average_precisions, expected.average_precisions, atol=1e-12)
        np.testing.assert_allclose(scores.inverse_penalties, expected.inverse_penalties, atol=1e-12)
        assert scores.queries_without_match == tuple(i for i, rank in enumerate(expected.first_ranks) if not rank)
        if matched:
            assert scores.cmc.tolist() == pytest.approx(
                [sum(rank <= k for rank in matched) / len(matched) for k in range(1, 101)]
            )
            assert scores.mean_average_precision == pytest.approx(np.nanmean(expected.average_precisions))
            assert scores.mean_inverse_negative_penalty == pytest.approx(np.nanmean(expected.inverse_penalties))
        else:
            assert np.isnan(scores.mean_average_precision)
            assert np.isnan(scores.cmc).all()


@given(data=retrieval_sets(), with_cameras=st.booleans(), seed=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_cuhk03_makes_only_draws_that_are_allowed(
    data: dict, with_cameras: bool, seed: int, reference: ModuleType
) -> None:
    none = {} if with_cameras else {"query_cameras": None, "gallery_cameras": None}
    cameras = data["cameras"] if with_cameras else None
    possible = reference.single_shot_ranks(
        reference_distances(data), data["identities"], cameras, data["leave_one_out"]
    )
    for scores in scores_of(data, "cuhk03", repeats=3, seed=seed, **none):
        assert scores.match_ranks.shape == (len(possible), 3)
        for ranks, allowed, precision in zip(
            scores.match_ranks.tolist(), possible, scores.average_precisions, strict=True
        ):
            if allowed:
                assert set(ranks) <= set(allowed)
                assert precision == pytest.approx(np.mean([1 / rank for rank in ranks]))
            else:
                assert ranks == [0, 0, 0]
                assert np.isnan(precision)
        found = scores.match_ranks[scores.first_match_ranks > 0]
        if found.size:
            # The mean over draws of the curves, each over all queries with a match.
            assert scores.cmc[1] == pytest.approx(np.mean([(draw <= 2).mean() for draw in found.T]))
            assert scores.rank(2) == scores.cmc[1] == pytest.approx(np.nanmean(scores.rank_hits(2)))


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_many_draws_of_cuhk03_come_near_to_the_mean_of_all_possible_ones(
    leave_one_out: bool, reference: ModuleType
) -> None:
    rng = np.random.default_rng(4)
    gallery = rng.normal(size=(12, 3))
    names, cameras = list("aaabbbbccdda"), list("121212121212")
    query = gallery if leave_one_out else rng.normal(size=(12, 3))
    distances = np.array([[reference.distance(q, g, "cosine") for g in gallery] for q in query])
    possible = reference.single_shot_ranks(distances, [names, names], [cameras, cameras], leave_one_out)
    scores = evaluate_retrieval(
        query,
        gallery,
        names,
        names,
        query_cameras=cameras,
        gallery_cameras=cameras,
        protocol="cuhk03",
        leave_one_out=leave_one_out,
        repeats=4000,
        seed=1,
    )
    assert all(possible)
    for query_number, ranks in enumerate(possible):
        expected = np.mean([1 / rank for rank in ranks])
        assert scores.average_precisions[query_number] == pytest.approx(expected, abs=0.03)
        assert scores.rank_hits(1)[query_number] == pytest.approx(np.mean([rank == 1 for rank in ranks]), abs=0.04)
        assert set(ranks) == set(scores.match_ranks[query_number].tolist())


def test_cuhk03_with_one_image_an_identity_has_nothing_to_draw() -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(8, 4)), rng.normal(size=(8, 4))
    names = list("abcdefgh")
    everything = evaluate_retrieval(query, gallery, names, names)
    drawn = evaluate_retrieval(query, gallery, names, names, protocol="cuhk03", repeats=5)
    assert np.array_equal(drawn.cmc, everything.cmc)
    np.testing.assert_allclose(drawn.average_precisions, everything.average_precisions)
    assert (drawn.match_ranks == everything.match_ranks).all()


def test_draws_depend_on_the_seed_only_not_on_other_queries_or_chunks(people: tuple) -> None:
    query, gallery, query_ids, gallery_ids = people
    options = {"protocol": "cuhk03", "repeats": 4}
    whole = evaluate_retrieval(*people, **options)
    again = evaluate_retrieval(*people, **options, chunk_rows=7)
    part = evaluate_retrieval(query[9:20], gallery, query_ids[9:20], gallery_ids, **options)
    other = evaluate_retrieval(*people, **options, seed=1)
    assert np.array_equal(whole.match_ranks, again.match_ranks)
    assert np.array_equal(whole.match_ranks[9:20], part.match_ranks)
    assert not np.array_equal(whole.match_ranks, other.match_ranks)
    assert (whole.first_match_ranks == np.sort(whole.match_ranks, axis=1)[:, 1]).all()


def test_veri_keeps_junk_and_takes_out_the_own_camera() -> None:
    scores = line_scores(
        on_a_line(0, 0),
        on_a_line(1, 2, 3, 4),
        "7 -1",
        "7 -1 7 -1",
        query_cameras=["1", "1"],
        gallery_cameras=["1", "1", "2", "2"],
        protocol="veri",
    )
    # 7 sees -1, 7, -1. The query -1 sees 7, 7 and the -1 of camera 2.
    assert scores.first_match_ranks.tolist() == [2, 3]


def test_leave_one_out_still_looks_at_cameras_and_junk() -> None:
    images, names, cameras = on_a_line(0, 1, 2, 3, 10), ["x", "-1", "x", "x", "y"], ["1", "1", "1", "2", "1"]
    options = {"metric": "euclidean", "query_cameras": cameras, "gallery_cameras": cameras, "leave_one_out": True}
    everything = evaluate_retrieval(images, images, names, names, **options)
    # The image at 2 has junk and x at the same distance: the one with the smaller index comes first.
    assert everything.first_match_ranks.tolist() == [2, 0, 2, 1, 0]
    market = evaluate_retrieval(images, images, names, names, protocol="market1501", **options)
    assert market.first_match_ranks.tolist() == [1, 0, 1, 1, 0]
    assert market.average_precisions[3] == 1  # sees x at 2 and x at 0, then y
    assert market.leave_one_out


@pytest.mark.parametrize("protocol", ["all", "market1501", "veri", "cuhk03"])
def test_numba_finds_the_same_ranks(people: tuple, protocol: str) -> None:
    pytest.importorskip("numba")
    query, gallery, query_ids, gallery_ids = people
    query, gallery = np.round(query), np.round(gallery)  # ties
    rng = np.random.default_rng(3)
    cameras = {"query_cameras": rng.choice(["1", "2"], 40), "gallery_cameras": rng.choice(["1", "2"], 400)}
    for metric, dtype in (("cosine", np.float32), ("euclidean", np.float64)):
        numpy, numba = (
            evaluate_retrieval(
                query.astype(dtype),
                gallery.astype(dtype),
                query_ids,
                gallery_ids,
                metric=metric,
                **cameras,
                protocol=protocol,
                engine=engine,
                chunk_rows=13,
            )
            for engine in ("numpy", "numba")
        )
        assert np.array_equal(numpy.match_ranks, numba.match_ranks)
        assert np.array_equal(numpy.average_precisions, numba.average_precisions)


def test_a_chunk_without_any_positive_is_fine_for_numba() -> None:
    pytest.importorskip("numba")
    scores = line_scores(on_a_line(0, 0), on_a_line(1, 2), "z a", "b a", chunk_rows=1, engine="numba")
    assert scores.first_match_ranks.tolist() == [0, 2]


def test_a_missing_numba_is_named_with_what_to_install(people: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    ranking._kernel.cache_clear()
    with pytest.raises(ToolNotFound, match="needs the package numba") as raised:
        evaluate_retrieval(*people, engine="numba")
    assert "reidfw-core[fast]" in str(raised.value.hint)
    assert evaluate_retrieval(*people, engine="numpy").num_queries == 40


def test_auto_takes_numba_only_for_large_sets_and_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking.importlib.util, "find_spec", lambda name: name)
    assert ranking.rank_engine("auto", ranking.AUTO_NUMBA_PAIRS) is ranking.rank_engine("numpy", 1)
    assert ranking.rank_engine("auto", ranking.AUTO_NUMBA_PAIRS + 1) is ranking.rank_engine("numba", 1)
    monkeypatch.setattr(ranking.importlib.util, "find_spec", lambda name: None)
    assert ranking.rank_engine("auto", ranking.AUTO_NUMBA_PAIRS + 1) is ranking.rank_engine("numpy", 1)


def test_a_matrix_is_not_written_to_and_may_hold_whole_numbers() -> None:
    matrix = np.array([[3, 1, 2], [1, 1, 1]])
    before = matrix.copy()
    cameras = {"query_cameras": ["1", "1"], "gallery_cameras": ["2", "1", "2"], "protocol": "veri"}
    scores = evaluate_distances(matrix, ["a", "a"], ["a", "a", "b"], **cameras, metric="steps")
    assert scores.first_match_ranks.tolist() == [2, 1]
    assert scores.metric == "steps"
    assert np.array_equal(matrix, before)
    single = matrix.astype(np.float32)
    evaluate_distances(single, ["a", "a"], ["a", "a", "b"], **cameras)
    assert np.array_equal(single, before)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), r"distances of shape \(3,\)"),
        (np.ones((2, 0)), r"distances of shape \(2, 0\)"),
        (np.array([[0, 1], [2, np.nan]]), "NaN or infinite values, first for query 1 and gallery image 1"),
        (np.array([[0, -np.inf], [2, 1]]), "first for query 0 and gallery image 1"),
        (np.ones((3, 2)), "The query has 3 embeddings but 2 identities"),
    ],
)
def test_unusable_matrices_are_explained(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate_distances(matrix, ["a", "b"], ["a", "b"])


@pytest.fixture
def people() -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """A set with an mAP between chance and perfect: 40 queries, 400 gallery images, 30 identities."""
    rng = np.random.default_rng(7)
    ids = rng.integers(0, 30, 440)
    vectors = rng.normal(size=(30, 32))[ids] + 1.4 * rng.normal(size=(440, 32))
    names = [f"p{identity}" for identity in ids]
    return vectors[:40].astype(np.float32), vectors[40:].astype(np.float32), names[:40], names[40:]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_single_and_double_precision_agree_with_the_reference(
    people: tuple, metric: str, reference: ModuleType
) -> None:
    query, gallery, *identities = people
    distances = np.array([[reference.distance(q, g, metric) for g in gallery] for q in query])
    expected = reference.retrieval(distances, identities)
    assert 0.2 < np.mean(expected.average_precisions) < 0.8
    for dtype in (np.float32, np.float64):
        scores = evaluate_retrieval(query.astype(dtype), gallery.astype(dtype), *identities, metric=metric)
        np.testing.assert_allclose(scores.average_precisions, expected.average_precisions, atol=1e-9)


@pytest.mark.parametrize("chunk_rows", [1, 7, 39, 40, 1000])
def test_scores_do_not_depend_on_the_chunk_size(people: tuple, chunk_rows: int) -> None:
    whole = evaluate_retrieval(*people)
    scores = evaluate_retrieval(*people, chunk_rows=chunk_rows)
    assert np.array_equal(scores.average_precisions, whole.average_precisions)
    assert np.array_equal(scores.cmc, whole.cmc)


def test_cosine_ignores_the_length_of_embeddings_and_euclidean_does_not(people: tuple) -> None:
    query, gallery, *identities = people
    longer = gallery * np.linspace(0.2, 5, len(gallery), dtype=np.float32)[:, None]
    assert np.array_equal(
        evaluate_retrieval(query, longer, *identities).first_match_ranks,
        evaluate_retrieval(query, gallery, *identities).first_match_ranks,
    )
    assert not np.array_equal(
        evaluate_retrieval(query, longer, *identities, metric="euclidean").average_precisions,
        evaluate_retrieval(query, gallery, *identities, metric="euclidean").average_precisions,
    )


def test_identities_may_be_numbers_and_inputs_stay_untouched(people: tuple) -> None:
    query, gallery, query_ids, gallery_ids = people
    before = query.copy(), gallery.copy()
    as_text = evaluate_retrieval(query, gallery, query_ids, gallery_ids)
    numbers = evaluate_retrieval(
        query, gallery, [int(name[1:]) for name in query_ids], np.array([name[1:] for name in gallery_ids])
    )
    assert np.array_equal(as_text.average_precisions, numbers.average_precisions)
    assert np.array_equal(query, before[0])
    assert np.array_equal(gallery, before[1])


def test_progress_tells_the_queries_done(people: tuple) -> None:
    told: list[int] = []
    evaluate_retrieval(*people, chunk_rows=15, progress=told.append)
    assert told == [15, 30, 40]


def test_memory_is_bounded_by_a_chunk_not_by_query_times_gallery() -> None:
    import tracemalloc

    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(1500, 8)).astype(np.float32), rng.normal(size=(4000, 8)).astype(np.float32)
    identities = [str(i % 400) for i in range(1500)], [str(i % 400) for i in range(4000)]
    tracemalloc.start()
    evaluate_retrieval(query, gallery, *identities, chunk_rows=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2**20  # all pairs are 24 MB in float32 and 6 MB as booleans


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_identities": ["a"]}, "The query has 2 embeddings but 1 identities"),
        ({"gallery_identities": []}, "The gallery has 1 embeddings but 0 identities"),
        ({"protocol": "market1501"}, "needs the camera of each image; unknown for: query and gallery"),
        ({"protocol": "market1501", "query_cameras": ["1", "1"]}, "unknown for: gallery"),
        (
            {"protocol": "market1501", "query_cameras": ["1", "1"], "gallery_cameras": ["1", "2"]},
            "The gallery has 1 embeddings but 2 cameras",
        ),
        ({"protocol": "veri"}, "The protocol 'veri' needs the camera of each image"),
        ({"protocol": "cuhk03", "gallery_cameras": ["1"]}, "unknown for: query"),
        ({"leave_one_out": True}, "2 queries and 1 gallery images"),
        ({"query_embeddings": np.full((2, 2), np.nan)}, "2 of 2 query embeddings"),
    ],
)
def test_inputs_that_do_not_fit_are_explained(changes: dict, message: str) -> None:
    arguments = {
        "query_embeddings": np.ones((2, 2)),
        "gallery_embeddings": np.ones((1, 2)),
        "query_identities": ["a", "b"],
        "gallery_identities": ["a"],
    }
    with pytest.raises(DataError, match=message):
        evaluate_retrieval(**(arguments | changes))


def test_wrong_choices_are_refused() -> None:
    ones = np.ones((1, 1)), np.ones((1, 1)), ["a"], ["a"]
    with pytest.raises(ValueError, match=r"unknown protocol 'market' .*did you mean 'market1501'"):
        evaluate_retrieval(*ones, protocol="market")
    with pytest.raises(ValueError, match="max_rank"):
        evaluate_retrieval(*ones, max_rank=0)
    with pytest.raises(ValueError, match="repeats"):
        evaluate_retrieval(*ones, protocol="cuhk03", repeats=0)
    with pytest.raises(ValueError, match=r"unknown engine 'nunba' .*did you mean 'numba'"):
        evaluate_retrieval(*ones, engine="nunba")
