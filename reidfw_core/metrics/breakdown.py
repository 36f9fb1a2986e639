"""Retrieval scores of groups of queries: which identities and which cameras are hard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reidfw_core.metrics.identities import check_one_each
from reidfw_core.metrics.retrieval import RetrievalScores


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScores:
    """Scores of the queries that share a label.

    Attributes:
        name: the label: an identity, a camera.
        num_queries: queries of the group.
        num_matched: those with a match; only they count in the means.
        mean_average_precision: in [0, 1]; NaN where no query of the group has a match.
        rank1: rank-1 accuracy in [0, 1], likewise.
    """

    name: str
    num_queries: int
    num_matched: int
    mean_average_precision: float
    rank1: float


def breakdown(scores: RetrievalScores, labels: Sequence[str]) -> tuple[GroupScores, ...]:
    """Scores of each group of queries, the worst mAP first, groups without any match last; equal ones by name.

    Args:
        scores: of Q queries.
        labels: Q labels, for example the queries' identities or cameras; compared by their texts.

    Raises:
        DataError: not one label a query.
    """
    check_one_each("labels", labels, "query", scores.num_queries)
    names = [str(label) for label in labels]
    members: dict[str, list[int]] = {}
    for query, name in enumerate(names):
        members.setdefault(name, []).append(query)
    hits = scores.rank_hits(1)
    groups = []
    for name, queries in members.items():
        matched = np.array([query for query in queries if scores.first_match_ranks[query]], dtype=np.int64)
        groups.append(
            GroupScores(
                name=name,
                num_queries=len(queries),
                num_matched=matched.size,
                mean_average_precision=float(scores.average_precisions[matched].mean()) if matched.size else math.nan,
                rank1=float(hits[matched].mean()) if matched.size else math.nan,
            )
        )

    def place(group: GroupScores) -> tuple[float, str]:  # NaN has no order, so it becomes more than any mAP
        return (group.mean_average_precision if group.num_matched else math.inf, group.name)

    return tuple(sorted(groups, key=place))
