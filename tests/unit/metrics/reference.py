"""Slow, obvious definitions of the scores in float64 and plain Python, independent of the code under test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def distance(a: Sequence[float], b: Sequence[float], metric: str) -> float:
    if metric == "euclidean":
        return math.dist(a, b)
    lengths = math.hypot(*a) * math.hypot(*b)
    return 1.0 if lengths == 0 else min(max(1 - math.fsum(x * y for x, y in zip(a, b, strict=True)) / lengths, 0), 2)


@dataclass
class ReferenceScores:
    first_ranks: list[int]
    average_precisions: list[float]
    inverse_penalties: list[float]


def retrieval(
    distances: np.ndarray,
    query_identities: Sequence[str],
    gallery_identities: Sequence[str],
    query_cameras: Sequence[str] | None = None,
    gallery_cameras: Sequence[str] | None = None,
) -> ReferenceScores:
    """Scores by a stable sort of each whole row; with cameras by the Market-1501 rules."""
    scores = ReferenceScores([], [], [])
    for query, row in enumerate(distances):
        ranked = []
        for index in sorted(range(len(row)), key=lambda index: row[index]):
            same = gallery_identities[index] == query_identities[query]
            if query_cameras is not None and gallery_cameras is not None:
                if gallery_identities[index] == "-1":
                    continue
                if same and query_cameras[query] == gallery_cameras[index]:
                    continue
            ranked.append(same)
        positions = [position for position, same in enumerate(ranked, start=1) if same]
        if not positions:
            scores.first_ranks.append(0)
            scores.average_precisions.append(math.nan)
            scores.inverse_penalties.append(math.nan)
            continue
        precisions = [sum(ranked[:position]) / position for position in positions]
        scores.first_ranks.append(positions[0])
        scores.average_precisions.append(sum(precisions) / len(precisions))
        scores.inverse_penalties.append(len(positions) / positions[-1])
    return scores


def balanced_accuracy(genuine: Sequence[float], impostor: Sequence[float], threshold: float) -> float:
    called_same = sum(value <= threshold for value in genuine) / len(genuine)
    kept_apart = sum(value > threshold for value in impostor) / len(impostor)
    return (called_same + kept_apart) / 2
