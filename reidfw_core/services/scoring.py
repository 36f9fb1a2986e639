"""From the embeddings of query and gallery to scores, as the ``evaluation`` section asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import QueryResult, RetrievalData
from reidfw_core.errors import DataError
from reidfw_core.metrics import (
    JUNK_IDENTITY,
    RetrievalScores,
    ThresholdScores,
    best_threshold,
    bootstrap_intervals,
    evaluate_distances,
    evaluate_retrieval,
    nearest_gallery,
    pool_queries,
    rerank,
)
from reidfw_core.metrics.identities import shared_codes

if TYPE_CHECKING:
    from reidfw_core.config.sections import EvaluationSection

Embeddings = NDArray[np.float32]

SHOWN_NEIGHBOURS = 10
"""Nearest gallery images that are kept for the retrieval sheet."""

FEWEST_IDENTITIES = 3
"""Matched identities from which a confidence interval is given: resampling one or two says nothing."""

_RERANK_PAIRS = 5e8
"""Largest number of image pairs that re-ranking holds in memory at once: 2 GB of distances."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Queries:
    """The queries that are scored: images, or pools of images.

    Attributes:
        embeddings: (Q, D) float32.
        identities, cameras: one a query; no cameras where the reader knows none.
        paths: the image of each query, the first one of a pool.
    """

    embeddings: Embeddings
    identities: tuple[str, ...]
    cameras: tuple[str, ...] | None
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """All that is computed from the embeddings of an evaluation.

    Attributes:
        queries: what was scored.
        scores: CMC, mAP, mINP.
        verification: threshold and error rates.
        intervals: confidence intervals by score.
        nearest: (Q, 10) int64 gallery indices, nearest first; -1 where there are fewer.
        nearest_distances: (Q, 10) float32.
    """

    queries: Queries
    scores: RetrievalScores
    verification: ThresholdScores
    intervals: Mapping[str, tuple[float, float]]
    nearest: NDArray[np.int64]
    nearest_distances: NDArray[np.float32]

    def ranked_queries(self) -> list[int]:
        """Queries with a match from the worst average precision to the best; ties by the rank of the first match."""
        precisions, ranks = self.scores.average_precisions, self.scores.first_match_ranks
        matched = np.flatnonzero(ranks > 0)
        order = np.lexsort((matched, -ranks[matched], precisions[matched]))
        return [int(query) for query in matched[order]]

    def query_result(self, query: int) -> QueryResult:
        """How one query went."""
        return QueryResult(
            image=self.queries.paths[query],
            identity=self.queries.identities[query],
            camera=None if self.queries.cameras is None else self.queries.cameras[query],
            average_precision=float(self.scores.average_precisions[query]),
            first_match_rank=int(self.scores.first_match_ranks[query]),
        )


def score_retrieval(
    data: RetrievalData, query: Embeddings, gallery: Embeddings, section: EvaluationSection, seed: int
) -> Scored:
    """Scores two sets of embeddings; an image is never compared with itself.

    Args:
        data: the images.
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        section: protocol, distance and options.
        seed: of the random parts (bootstrap, single-shot draws).

    Raises:
        DataError: no query identity has an image in the gallery, a protocol without the cameras that it needs,
            embeddings that are not finite, or more images than re-ranking can hold.
    """
    if data.leave_one_out and section.rerank is not None:
        raise DataError(
            "evaluation.rerank needs query images apart from the gallery; here each image is compared with all others",
            hint="Give dataset.test_query_path and dataset.test_gallery_path.",
        )
    queries = _queries(data, query, section)
    protocol = chosen_protocol(data, section)
    # Verification takes pairs out by the same rules as retrieval, so that both speak of the same pairs.
    pairs: dict[str, Any] = {
        "query_cameras": None if protocol == "all" else queries.cameras,
        "gallery_cameras": None if protocol == "all" else data.gallery.cameras,
        "protocol": protocol,
        "leave_one_out": data.leave_one_out,
    }
    identities = (queries.identities, data.gallery.identities)
    options: dict[str, Any] = {**pairs, "max_rank": section.max_rank, "seed": seed}
    metric = section.reid_distance_metric
    excluded = _exclusion(data, queries, protocol)
    if section.rerank is None:
        scores = evaluate_retrieval(queries.embeddings, gallery, *identities, metric=metric, **options)
        _require_match(data, scores)
        nearest, distances = nearest_gallery(queries.embeddings, gallery, metric, SHOWN_NEIGHBOURS, exclude=excluded)
    else:
        matrix = _reranked(queries.embeddings, gallery, metric, section)
        scores = evaluate_distances(matrix, *identities, metric=metric, **options)
        _require_match(data, scores)
        nearest, distances = _nearest_of(matrix, excluded)
    verification = best_threshold(queries.embeddings, gallery, *identities, metric=metric, **pairs)
    intervals: Mapping[str, tuple[float, float]] = {}
    missing = set(scores.queries_without_match)
    matched = {identity for query, identity in enumerate(queries.identities) if query not in missing}
    if section.bootstrap_samples and len(matched) >= FEWEST_IDENTITIES:
        found = bootstrap_intervals(
            scores,
            queries.identities,
            samples=section.bootstrap_samples,
            confidence=section.confidence,
            seed=seed,
        )
        intervals = {name: (interval.low, interval.high) for name, interval in found.items()}
    return Scored(
        queries=queries,
        scores=scores,
        verification=verification,
        intervals=intervals,
        nearest=nearest,
        nearest_distances=distances,
    )


def chosen_protocol(data: RetrievalData, section: EvaluationSection) -> str:
    """``evaluation.protocol``; for ``auto`` that of Market-1501 where the cameras of both sides are known."""
    if section.protocol != "auto":
        return section.protocol
    known = data.query.cameras is not None and data.gallery.cameras is not None
    return "market1501" if known else "all"


def _queries(data: RetrievalData, embeddings: Embeddings, section: EvaluationSection) -> Queries:
    samples = data.query
    if not section.multi_query:
        return Queries(
            embeddings=embeddings, identities=samples.identities, cameras=samples.cameras, paths=samples.paths
        )
    if data.leave_one_out:
        raise DataError(
            "evaluation.multi_query needs query images apart from the gallery; here each image is compared with all "
            "others",
            hint="Give dataset.test_query_path and dataset.test_gallery_path.",
        )
    pooled = pool_queries(embeddings, samples.identities, samples.cameras)
    return Queries(
        embeddings=np.asarray(pooled.embeddings, np.float32),
        identities=tuple(pooled.identities),
        cameras=None if pooled.cameras is None else tuple(pooled.cameras),
        paths=tuple(samples.paths[int(members[0])] for members in pooled.members),
    )


def _require_match(data: RetrievalData, scores: RetrievalScores) -> None:
    if len(scores.queries_without_match) == scores.num_queries:
        raise DataError(
            f"None of the {scores.num_queries} queries has an image of its identity in the gallery "
            f"(protocol {scores.protocol})",
            hint=f"Query: {data.query.root}; gallery: {data.gallery.root}. Their file names must share identities"
            + (
                ", and the images must come from several cameras (evaluation.protocol: all does not look at cameras)."
                if scores.protocol != "all"
                else "."
            ),
        )


def _exclusion(
    data: RetrievalData, queries: Queries, protocol: str
) -> Callable[[int], NDArray[np.bool_] | None] | None:
    """Which gallery images the protocol takes out for a query, for the nearest images that are shown."""
    query_codes, gallery_codes = shared_codes(queries.identities, data.gallery.identities)
    cameras = None
    if protocol != "all" and queries.cameras is not None and data.gallery.cameras is not None:
        cameras = shared_codes(queries.cameras, data.gallery.cameras)
    junk = np.array([identity == JUNK_IDENTITY for identity in data.gallery.identities])
    with_junk = protocol != "market1501" or not junk.any()
    if cameras is None and with_junk and not data.leave_one_out:
        return None

    def excluded(query: int) -> NDArray[np.bool_]:
        out = np.zeros(len(gallery_codes), dtype=np.bool_) if with_junk else junk.copy()
        if cameras is not None:
            out |= (gallery_codes == query_codes[query]) & (cameras[1] == cameras[0][query])
        if data.leave_one_out:
            out[query] = True
        return out

    return excluded


def _reranked(query: Embeddings, gallery: Embeddings, metric: str, section: EvaluationSection) -> Embeddings:
    assert section.rerank is not None
    total = len(query) + len(gallery)
    if total * total > _RERANK_PAIRS:
        raise DataError(
            f"evaluation.rerank compares all {total} images with one another, which takes "
            f"{total * total * 4 / 2**30:.0f} GiB; at most {int(_RERANK_PAIRS**0.5)} images can be re-ranked",
            hint="Leave evaluation.rerank out, or evaluate a part of the data set.",
        )
    settings = section.rerank
    distances: Embeddings = rerank(
        query, gallery, metric, k1=settings.k1, k2=settings.k2, lambda_value=settings.lambda_value
    )
    return distances


def _nearest_of(
    distances: Embeddings, excluded: Callable[[int], NDArray[np.bool_] | None] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    count = min(SHOWN_NEIGHBOURS, distances.shape[1])
    indices = np.empty((len(distances), count), np.int64)
    found = np.empty((len(distances), count), np.float32)
    for query, row in enumerate(distances):
        mask = excluded(query) if excluded is not None else None
        allowed = row if mask is None else np.where(mask, np.inf, row)
        order = np.argsort(allowed, kind="stable")[:count]
        indices[query] = np.where(np.isfinite(allowed[order]), order, -1)
        found[query] = allowed[order]
    return indices, found
