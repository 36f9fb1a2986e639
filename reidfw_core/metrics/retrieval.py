"""Retrieval scores: rank-k accuracy (CMC), mAP and mINP, in one pass over the distances.

What is counted:

- The rank of a positive (a gallery image of the query's identity) is 1 + the number of gallery images that stand
  before it: all nearer ones, and those exactly as near with a smaller index. This is the order of a stable sort.
  "Exactly as near" means equal similarities in the floating type of the embeddings.
- Average precision is the mean, over a query's positives, of the precision at their ranks (not interpolated).
- A query without positives has no scores. It is left out of *all* means, and reported. (ST's services leave it out of
  mAP but let it count as a failure in rank-k, so that their two scores speak of different queries.)

Protocols: ``all`` compares every query with every gallery image, as ST's services do. ``market1501`` takes out, for
each query, the gallery images of its own identity and camera, and for all queries the junk images (identity ``-1``).

Sources: L. Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015 (protocol, CMC, mAP; its
reference code integrates precision by trapezes, which gives slightly lower values); M. Ye et al., "Deep Learning for
Person Re-identification: A Survey and Outlook", TPAMI 2021, equations 12 and 13 (mINP).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.errors import DataError
from reidfw_core.metrics.distances import EmbeddingPairs, FloatArray, check_choice
from reidfw_core.metrics.identities import IdentityGroups, check_one_each, shared_codes

PROTOCOLS = ("all", "market1501")

JUNK_IDENTITY = "-1"
"""The identity of images that the ``market1501`` protocol takes out: detections that show nobody in particular."""

_SORT_FROM = 256
# Counting costs a pass over the candidates for each positive, sorting one costly pass: from here on sorting is cheaper.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RetrievalScores:
    """How well queries find their identity in a gallery.

    Attributes:
        cmc: (max_rank,) float64 in [0, 1]; entry k - 1 is the rank-k accuracy: the share of the queries with a match
            that have one among the k nearest gallery images. NaN where no query has a match.
        mean_average_precision: mAP in [0, 1] over the queries with a match, NaN where there is none.
        mean_inverse_negative_penalty: mINP in [0, 1], likewise: mean of (number of matches / rank of the last one).
        average_precisions: (Q,) float64, NaN for a query without match.
        first_match_ranks: (Q,) int64, rank of the nearest match counted from 1; 0 for a query without match.
        queries_without_match: indices of the queries whose identity is not in the gallery (as the protocol sees it).
        num_queries: Q, those without match included.
        num_gallery: G, images that the protocol takes out included.
        metric: ``cosine`` or ``euclidean``.
        protocol: ``all`` or ``market1501``.
    """

    cmc: NDArray[np.float64]
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    average_precisions: NDArray[np.float64]
    first_match_ranks: NDArray[np.int64]
    queries_without_match: tuple[int, ...]
    num_queries: int
    num_gallery: int
    metric: str
    protocol: str

    def rank(self, k: int) -> float:
        """Rank-k accuracy in [0, 1] for any k >= 1, also beyond the curve and beyond the gallery.

        Raises:
            ValueError: k below 1.
        """
        if k < 1:
            raise ValueError(f"ranks are counted from 1, got {k}")
        return float(_rank_accuracies(self.first_match_ranks, np.array([k]))[0])


def evaluate_retrieval(
    query_embeddings: ArrayLike,
    gallery_embeddings: ArrayLike,
    query_identities: Sequence[str],
    gallery_identities: Sequence[str],
    *,
    metric: str = "cosine",
    query_cameras: Sequence[str] | None = None,
    gallery_cameras: Sequence[str] | None = None,
    protocol: str = "all",
    max_rank: int = 100,
    chunk_rows: int = 256,
    progress: Callable[[int], None] | None = None,
) -> RetrievalScores:
    """Scores the retrieval of each query's identity from a gallery; definitions in the module's text.

    Beside the embeddings (and, for cosine, their normalised copies) memory holds one chunk of ``chunk_rows * G``
    similarities. Ranks are found by counting; the gallery images near a query are sorted only where it has hundreds
    of positives.

    Args:
        query_embeddings: (Q, D), any numbers; computed in float64 where one side is, else in float32.
        gallery_embeddings: (G, D).
        query_identities: one a query; compared by their texts.
        gallery_identities: one a gallery image.
        metric: ``cosine`` or ``euclidean``, see :mod:`reidfw_core.metrics.distances`.
        query_cameras: one a query; needed by ``market1501``, not looked at by ``all``.
        gallery_cameras: one a gallery image, likewise.
        protocol: ``all`` or ``market1501``.
        max_rank: length of the CMC curve.
        chunk_rows: queries a step.
        progress: told, after each step, how many queries are done.

    Raises:
        DataError: embeddings of unusable shape or with values that are not finite, lists of other lengths, cameras
            missing where the protocol needs them.
        ValueError: unknown metric or protocol, ``max_rank`` or ``chunk_rows`` below 1.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, got {max_rank}")
    pairs = EmbeddingPairs.prepare(query_embeddings, gallery_embeddings, metric)
    num_queries, num_gallery = len(pairs.query), len(pairs.gallery)
    check_one_each("identities", query_identities, "query", num_queries)
    check_one_each("identities", gallery_identities, "gallery", num_gallery)
    cameras = None
    if protocol == "market1501":
        cameras = _camera_codes(query_cameras, gallery_cameras, num_queries, num_gallery)
        kept = [index for index, identity in enumerate(gallery_identities) if str(identity) != JUNK_IDENTITY]
        if len(kept) < num_gallery:
            pairs = pairs.keep_gallery(kept)
            gallery_identities = [gallery_identities[index] for index in kept]
            cameras = cameras[0], cameras[1][kept]
    groups = IdentityGroups.of(query_identities, gallery_identities)

    average_precisions = np.full(num_queries, np.nan)
    inverse_penalties = np.full(num_queries, np.nan)
    first_ranks = np.zeros(num_queries, dtype=np.int64)
    for start, similarities in pairs.similarities(chunk_rows):
        for query, row in enumerate(similarities, start):
            positives = groups.positives(query)
            if cameras is not None:
                same_camera = cameras[1][positives] == cameras[0][query]
                row[positives[same_camera]] = -np.inf  # behind every positive, hence never counted
                positives = positives[~same_camera]
            if positives.size:
                ranks = np.sort(positive_ranks(row, positives))
                first_ranks[query] = ranks[0]
                average_precisions[query] = average_precision(ranks)
                inverse_penalties[query] = ranks.size / ranks[-1]
        if progress is not None:
            progress(start + len(similarities))

    matched = first_ranks > 0
    return RetrievalScores(
        cmc=_rank_accuracies(first_ranks, np.arange(1, max_rank + 1)),
        mean_average_precision=float(np.mean(average_precisions[matched])) if matched.any() else math.nan,
        mean_inverse_negative_penalty=float(np.mean(inverse_penalties[matched])) if matched.any() else math.nan,
        average_precisions=average_precisions,
        first_match_ranks=first_ranks,
        queries_without_match=tuple(np.flatnonzero(~matched).tolist()),
        num_queries=num_queries,
        num_gallery=num_gallery,
        metric=metric,
        protocol=protocol,
    )


def positive_ranks(similarities: FloatArray, positives: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks of a query's positives among the gallery, in the order of a stable sort, without sorting the gallery.

    Only the images at least as near as the farthest positive are looked at. For each positive those nearer than
    itself are counted; indices matter only where some image is exactly as near as a positive.

    Args:
        similarities: (G,) of one query; larger is nearer, no NaN.
        positives: (P,) ascending gallery indices, at least one.

    Returns:
        (P,) ranks counted from 1, in the order of ``positives``.
    """
    levels = similarities[positives]
    candidates = (similarities >= levels.min()).nonzero()[0]
    near = similarities[candidates]
    if positives.size >= _SORT_FROM:
        ranks = np.empty(candidates.size, dtype=np.int64)
        ranks[np.argsort(-near, kind="stable")] = np.arange(1, candidates.size + 1)
        return ranks[np.searchsorted(candidates, positives)]
    levels = levels[:, None]
    before = np.array([np.count_nonzero(nearer) for nearer in near > levels], dtype=np.int64)
    as_near = near == levels
    if np.count_nonzero(as_near) > positives.size:  # more than each positive with itself
        before += np.count_nonzero(as_near & (candidates < positives[:, None]), axis=1)
    return before + 1


def average_precision(ranks: NDArray[np.int64]) -> float:
    """Mean of the precision at each rank of a positive.

    Args:
        ranks: (P,) ascending ranks of the positives, counted from 1, at least one.

    Returns:
        Average precision in (0, 1].
    """
    return float((np.arange(1, ranks.size + 1) / ranks).sum()) / ranks.size


def _rank_accuracies(first_match_ranks: NDArray[np.int64], ks: NDArray[np.int64]) -> NDArray[np.float64]:
    found = np.sort(first_match_ranks[first_match_ranks > 0])
    if not found.size:
        return np.full(len(ks), np.nan)
    return np.searchsorted(found, ks, side="right") / found.size


def _camera_codes(
    query_cameras: Sequence[str] | None, gallery_cameras: Sequence[str] | None, num_queries: int, num_gallery: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if query_cameras is None or gallery_cameras is None:
        missing = [name for name, of in (("query", query_cameras), ("gallery", gallery_cameras)) if of is None]
        raise DataError(
            f"The protocol 'market1501' needs the camera of each image; unknown for: {' and '.join(missing)}",
            hint="Take a dataset.reader that knows cameras, or the protocol 'all'.",
        )
    check_one_each("cameras", query_cameras, "query", num_queries)
    check_one_each("cameras", gallery_cameras, "gallery", num_gallery)
    return shared_codes(query_cameras, gallery_cameras)
