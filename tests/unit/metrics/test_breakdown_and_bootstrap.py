"""Scores of groups, and how far scores can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from reidfw_core.errors import DataError
from reidfw_core.metrics import (
    Interval,
    RetrievalScores,
    bootstrap_intervals,
    breakdown,
    evaluate_distances,
    rank_resolution,
)


def scores_with_ranks(*ranks: int) -> RetrievalScores:
    """Each query has one match, at the given rank of ten; rank 0: none."""
    distances = np.tile(np.arange(1.0, 12.0), (len(ranks), 1))
    names = [f"g{place}" for place in range(1, 11)] + ["last"]
    return evaluate_distances(distances, [f"g{rank}" if rank else "nobody" for rank in ranks], names)


def test_groups_come_worst_first_and_those_without_match_last() -> None:
    scores = scores_with_ranks(1, 4, 0, 2, 1, 0, 2)
    groups = breakdown(scores, ["b", "a", "a", "c", "b", "none", "d"])
    assert [group.name for group in groups] == ["a", "c", "d", "b", "none"]
    worst, _, _, best, none = groups
    assert (worst.num_queries, worst.num_matched, worst.mean_average_precision, worst.rank1) == (2, 1, 0.25, 0)
    assert (best.num_queries, best.mean_average_precision, best.rank1) == (2, 1, 1)
    assert (none.num_queries, none.num_matched) == (1, 0)
    assert np.isnan(none.mean_average_precision)
    assert np.isnan(none.rank1)


def test_groups_weighted_by_their_queries_make_the_whole() -> None:
    rng = np.random.default_rng(0)
    scores = scores_with_ranks(*rng.integers(0, 11, 80))
    groups = [group for group in breakdown(scores, rng.choice(list("abcde"), 80)) if group.num_matched]
    total = sum(group.num_matched for group in groups)
    assert total == 80 - len(scores.queries_without_match)
    assert sum(g.mean_average_precision * g.num_matched for g in groups) / total == pytest.approx(
        scores.mean_average_precision
    )
    assert sum(g.rank1 * g.num_matched for g in groups) / total == pytest.approx(scores.rank(1))


def test_labels_must_be_one_a_query() -> None:
    with pytest.raises(DataError, match="The query has 2 embeddings but 1 labels"):
        breakdown(scores_with_ranks(1, 1), ["a"])


def test_intervals_hold_the_scores_and_grow_with_confidence() -> None:
    rng = np.random.default_rng(1)
    scores = scores_with_ranks(*rng.integers(0, 11, 300))
    identities = [str(i) for i in rng.integers(0, 60, 300)]
    wide = bootstrap_intervals(scores, identities, confidence=0.99)
    narrow = bootstrap_intervals(scores, identities, confidence=0.5)
    values = {
        "mAP": scores.mean_average_precision,
        "mINP": scores.mean_inverse_negative_penalty,
        "rank1": scores.rank(1),
        "rank5": scores.rank(5),
        "rank10": scores.rank(10),
    }
    assert set(wide) == set(values)
    for name, value in values.items():
        assert wide[name].low <= narrow[name].low <= value <= narrow[name].high <= wide[name].high
    assert wide["rank10"] == (1, 1)


def test_the_width_is_that_of_the_normal_approximation_over_identities() -> None:
    # All three queries of an identity fare alike: 100 independent coins, not 300.
    wins = np.random.default_rng(2).random(100) < 0.4
    scores = scores_with_ranks(*np.repeat(np.where(wins, 1, 3), 3))
    identities = [str(i) for i in np.repeat(np.arange(100), 3)]
    low, high = bootstrap_intervals(scores, identities, samples=4000)["rank1"]
    share = wins.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 100)
    assert (low, high) == pytest.approx((share - half, share + half), abs=0.02)
    single = bootstrap_intervals(scores, [str(i) for i in range(300)], samples=4000)["rank1"]
    assert single.high - single.low == pytest.approx((high - low) / np.sqrt(3), rel=0.15)


def test_every_resample_is_a_mean_over_whole_identities() -> None:
    # Two identities of 1 and 3 queries: a sample holds a twice, b twice, or both.
    scores = scores_with_ranks(1, 2, 2, 2)
    low, high = bootstrap_intervals(scores, list("abbb"), samples=200, confidence=0.999)["mAP"]
    assert (low, high) == (0.5, 1)
    middle = bootstrap_intervals(scores, list("abbb"), samples=2001, confidence=0.01)["mAP"]
    assert middle == pytest.approx(((1 + 3 * 0.5) / 4,) * 2)


def test_the_seed_decides_and_many_identities_need_no_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores, identities = scores_with_ranks(*rng.integers(1, 11, 50)), [str(i) for i in range(50)]
    first = bootstrap_intervals(scores, identities, seed=3)
    assert bootstrap_intervals(scores, identities, seed=3) == first
    assert bootstrap_intervals(scores, identities, seed=4) != first
    monkeypatch.setattr("reidfw_core.metrics.bootstrap._COUNTS_AT_ONCE", 120)
    assert bootstrap_intervals(scores, identities, seed=3) == first


def test_nothing_to_measure_gives_nan_and_queries_without_match_do_not_count() -> None:
    nothing = bootstrap_intervals(scores_with_ranks(0, 0), ["a", "b"], ranks=(1,))
    assert set(nothing) == {"mAP", "mINP", "rank1"}
    assert all(np.isnan(end) for interval in nothing.values() for end in interval)
    assert bootstrap_intervals(scores_with_ranks(2, 0), ["a", "b"])["mAP"] == Interval(0.5, 0.5)


def test_wrong_settings_are_refused() -> None:
    scores = scores_with_ranks(1, 2)
    with pytest.raises(ValueError, match="samples"):
        bootstrap_intervals(scores, ["a", "b"], samples=0)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_intervals(scores, ["a", "b"], confidence=95)
    with pytest.raises(DataError, match="2 embeddings but 1 identities"):
        bootstrap_intervals(scores, ["a"])
    with pytest.raises(ValueError, match="counted from 1"):
        bootstrap_intervals(scores, ["a", "b"], ranks=(0,))


def test_one_of_fifty_queries_is_two_points() -> None:
    assert rank_resolution(50) == 0.02
    with pytest.raises(ValueError, match="num_matched"):
        rank_resolution(0)
