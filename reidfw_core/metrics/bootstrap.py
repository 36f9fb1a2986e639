"""How far retrieval scores can be trusted, given how many identities they were measured on.

Images of one identity look alike, so their queries succeed or fail together. Hence whole identities are drawn with
replacement, each with all its queries (the cluster bootstrap); drawing single queries would give intervals too narrow.
The gallery stays as it is: the intervals speak of other queries, not of a larger or smaller gallery.

Sources: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, chapter 13 (percentile
intervals); C. Field and A. Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 69, 2007.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from reidfw_core.metrics.identities import check_one_each, shared_codes
from reidfw_core.metrics.retrieval import RetrievalScores

_COUNTS_AT_ONCE = 4_000_000  # numbers in the table of drawn identities: 32 MB


class Interval(NamedTuple):
    """A confidence interval; both ends NaN where nothing could be measured."""

    low: float
    high: float


def bootstrap_intervals(
    scores: RetrievalScores,
    identities: Sequence[str],
    *,
    ranks: Sequence[int] = (1, 5, 10),
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Mapping[str, Interval]:
    """Percentile bootstrap intervals of mAP, mINP and rank-k, over identities.

    With a single identity every sample is the same, and each interval is one point: that is no certainty.

    Args:
        scores: of Q queries; those without match do not count.
        identities: identity of each query; compared by their texts.
        ranks: the k of the rank-k accuracies.
        samples: how often as many identities as there are are drawn.
        confidence: the share of the samples within an interval, between 0 and 1.
        seed: of the draws; the same seed gives the same intervals.

    Returns:
        Interval of ``mAP``, ``mINP`` and, for each k, ``rank<k>``, in [0, 1].

    Raises:
        DataError: not one identity a query.
        ValueError: ``samples`` or a rank below 1, ``confidence`` not between 0 and 1.
    """
    check_one_each("identities", identities, "query", scores.num_queries)
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    of_queries = {"mAP": scores.average_precisions, "mINP": scores.inverse_penalties}
    of_queries |= {f"rank{k}": scores.rank_hits(k) for k in ranks}
    matched = np.flatnonzero(scores.first_match_ranks).tolist()
    if not matched:
        return dict.fromkeys(of_queries, Interval(math.nan, math.nan))

    codes = shared_codes([identities[query] for query in matched], ())[0]
    num_identities = int(codes.max()) + 1
    columns = [np.ones(len(matched)), *(values[matched] for values in of_queries.values())]
    sums = np.stack([np.bincount(codes, weights=column) for column in columns], axis=1)  # (identities, 1 + scores)
    rng = np.random.default_rng(seed)
    even = np.full(num_identities, 1 / num_identities)
    step = max(1, _COUNTS_AT_ONCE // num_identities)
    means = []
    for start in range(0, samples, step):
        drawn = rng.multinomial(num_identities, even, size=min(step, samples - start)) @ sums
        means.append(drawn[:, 1:] / drawn[:, :1])
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(np.concatenate(means), tails, axis=0)
    return {name: Interval(float(low[at]), float(high[at])) for at, name in enumerate(of_queries)}


def rank_resolution(num_matched: int) -> float:
    """The smallest step of a rank-k accuracy: with 50 queries that have a match, one query is 0.02.

    Args:
        num_matched: queries with a match.

    Raises:
        ValueError: below 1.
    """
    if num_matched < 1:
        raise ValueError(f"num_matched must be at least 1, got {num_matched}")
    return 1 / num_matched
