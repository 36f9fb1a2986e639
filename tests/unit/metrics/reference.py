"""Slow, obvious definitions of the scores in float64 and plain Python, independent of the code under test."""

from __future__ import annotations

import itertools
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


def compared(
    query: int,
    index: int,
    identities: Sequence[Sequence[str]],
    cameras: Sequence[Sequence[str]] | None,
    protocol: str,
    leave_one_out: bool,
) -> bool:
    """Whether a protocol lets a query see a gallery image; ``identities`` and ``cameras`` are (query's, gallery's)."""
    if leave_one_out and query == index:
        return False
    if protocol == "market1501" and identities[1][index] == "-1":
        return False
    same_camera = protocol != "all" and cameras is not None and cameras[0][query] == cameras[1][index]
    return not (same_camera and identities[0][query] == identities[1][index])


def retrieval(
    distances: np.ndarray,
    identities: Sequence[Sequence[str]],
    cameras: Sequence[Sequence[str]] | None = None,
    protocol: str = "all",
    leave_one_out: bool = False,
) -> ReferenceScores:
    """Scores by a stable sort of each whole row; not for cuhk03."""
    scores = ReferenceScores([], [], [])
    for query, row in enumerate(distances):
        ranked = [
            identities[1][index] == identities[0][query]
            for index in sorted(range(len(row)), key=lambda index: row[index])
            if compared(query, index, identities, cameras, protocol, leave_one_out)
        ]
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


def single_shot_ranks(
    distances: np.ndarray,
    identities: Sequence[Sequence[str]],
    cameras: Sequence[Sequence[str]] | None,
    leave_one_out: bool,
) -> list[list[int]]:
    """For each query the rank of its match in every draw that cuhk03 can make, each equally likely."""
    result = []
    for query, row in enumerate(distances):
        images: dict[str, list[int]] = {}
        for index in range(len(row)):
            if compared(query, index, identities, cameras, "cuhk03", leave_one_out):
                images.setdefault(identities[1][index], []).append(index)
        ranks: list[int] = []
        if identities[0][query] in images:
            for drawn in itertools.product(*images.values()):
                names = [identities[1][index] for index in sorted(drawn, key=lambda index: (row[index], index))]
                ranks.append(1 + names.index(identities[0][query]))
        result.append(ranks)
    return result


def rerank(query: np.ndarray, gallery: np.ndarray, metric: str, k1: int, k2: int, lambda_value: float) -> np.ndarray:
    """k-reciprocal re-ranking with full matrices, step by step."""
    images = [*query.tolist(), *gallery.tolist()]
    total = len(images)
    d = np.array([[distance(a, b, metric) for b in images] for a in images]) ** (2 if metric == "euclidean" else 1)
    order = [[p, *sorted((g for g in range(total) if g != p), key=lambda g: d[p][g])] for p in range(total)]
    d = d / d.max(axis=1, keepdims=True)

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in order[p][: k + 1] if p in order[g][: k + 1]}

    v = np.zeros((total, total))
    for p in range(total):
        base = reciprocal(p, k1)
        members = set(base)
        for q in base:
            candidates = reciprocal(q, round(k1 / 2))
            if len(base & candidates) >= 2 / 3 * len(candidates) - 1e-9:
                members |= candidates
        for g in members:
            v[p, g] = math.exp(-d[p, g])
        v[p] /= v[p].sum()
    v = np.array([np.mean([v[q] for q in order[p][:k2]], axis=0) for p in range(total)])
    result = np.empty((len(query), len(gallery)))
    for p in range(len(query)):
        for g in range(len(gallery)):
            other = v[len(query) + g]
            jaccard = 1 - np.minimum(v[p], other).sum() / np.maximum(v[p], other).sum()
            result[p, g] = (1 - lambda_value) * jaccard + lambda_value * d[p, len(query) + g]
    return result


def balanced_accuracy(genuine: Sequence[float], impostor: Sequence[float], threshold: float) -> float:
    called_same = sum(value <= threshold for value in genuine) / len(genuine)
    kept_apart = sum(value > threshold for value in impostor) / len(impostor)
    return (called_same + kept_apart) / 2
