"""Retrieval scores: rank-k accuracy (CMC), mAP and mINP, in one pass over the distances.

What is counted:

- The rank of a positive (a gallery image of the query's identity) is 1 + the number of gallery images that stand
  before it: all nearer ones, and those exactly as near with a smaller index. This is the order of a stable sort.
  "Exactly as near" means equal similarities in the floating type of the embeddings.
- Average precision is the mean, over a query's positives, of the precision at their ranks (not interpolated).
- A query without positives has no scores. It is left out of *all* means, and reported. (ST's services leave it out of
  mAP but let it count as a failure in rank-k, so that their two scores speak of different queries.)

Protocols: see :mod:`reidfw_core.metrics.protocols`. ``all`` compares every query with every gallery image, as ST's
services do. ``cuhk03`` repeats a lottery: of each gallery identity one image is drawn, so that a query has one match.
Its scores are means over the draws. The paper reports CMC only; as precision is then 1 / rank of the match, mAP and
mINP are both the mean of that.

Sources: L. Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015 (protocol, CMC, mAP; its
reference code integrates precision by trapezes, which gives slightly lower values); W. Li et al., "DeepReID", CVPR
2014 (single gallery shot, mean of repeated draws); M. Ye et al., "Deep Learning for Person Re-identification: A Survey
and Outlook", TPAMI 2021, equations 12 and 13 (mINP).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.errors import DataError
from reidfw_core.metrics.distances import EmbeddingPairs, FloatArray
from reidfw_core.metrics.protocols import JUNK_IDENTITY, PROTOCOLS, PairRules
from reidfw_core.metrics.ranking import RankRows, rank_engine

__all__ = [
    "JUNK_IDENTITY",
    "PROTOCOLS",
    "RetrievalScores",
    "average_precision",
    "evaluate_distances",
    "evaluate_retrieval",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RetrievalScores:
    """How well queries find their identity in a gallery.

    With ``cuhk03`` the values of a query are means over the draws, elsewhere there is one draw: the whole gallery.

    Attributes:
        cmc: (max_rank,) float64 in [0, 1]; entry k - 1 is the rank-k accuracy: the share of the queries with a match
            that have one among the k nearest gallery images. NaN where no query has a match.
        mean_average_precision: mAP in [0, 1] over the queries with a match, NaN where there is none.
        mean_inverse_negative_penalty: mINP in [0, 1], likewise: mean of (number of matches / rank of the last one).
        average_precisions: (Q,) float64, NaN for a query without match.
        inverse_penalties: (Q,) float64, number of matches / rank of the last one; NaN for a query without match.
        first_match_ranks: (Q,) int64, rank of the nearest match counted from 1; 0 for a query without match. The
            lower median over the draws.
        match_ranks: (Q, draws) int64, rank of the nearest match in each draw; 0 for a query without match.
        queries_without_match: indices of the queries whose identity is not in the gallery (as the protocol sees it).
        num_queries: Q, those without match included.
        num_gallery: G, images that the protocol takes out included.
        metric: ``cosine`` or ``euclidean``, or what :func:`evaluate_distances` was told.
        protocol: one of :data:`~reidfw_core.metrics.protocols.PROTOCOLS`.
        leave_one_out: query and gallery were the same list.
    """

    cmc: NDArray[np.float64]
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    average_precisions: NDArray[np.float64]
    inverse_penalties: NDArray[np.float64]
    first_match_ranks: NDArray[np.int64]
    match_ranks: NDArray[np.int64]
    queries_without_match: tuple[int, ...]
    num_queries: int
    num_gallery: int
    metric: str
    protocol: str
    leave_one_out: bool

    def rank(self, k: int) -> float:
        """Rank-k accuracy in [0, 1] for any k >= 1, also beyond the curve and beyond the gallery.

        Raises:
            ValueError: k below 1.
        """
        _check_rank(k)
        return float(_rank_accuracies(self.match_ranks, np.array([k]))[0])

    def rank_hits(self, k: int) -> NDArray[np.float64]:
        """(Q,) float64: the share of the draws in which a query has a match among its k nearest; NaN without match.

        Raises:
            ValueError: k below 1.
        """
        _check_rank(k)
        hits: NDArray[np.float64] = (self.match_ranks <= k).mean(axis=1)
        hits[self.first_match_ranks == 0] = np.nan
        return hits


class _Similarities(Protocol):
    """Where rows of similarities come from: embeddings, or a matrix of distances."""

    def keep_gallery(self, indices: NDArray[np.int64]) -> _Similarities: ...

    def similarities(self, chunk_rows: int) -> Iterator[tuple[int, FloatArray]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _DistanceMatrix:
    """A given (Q, G) matrix of distances, of which the gallery images ``kept`` (None: all) are looked at."""

    distances: FloatArray
    kept: NDArray[np.int64] | None = None

    def keep_gallery(self, indices: NDArray[np.int64]) -> _DistanceMatrix:
        return _DistanceMatrix(self.distances, indices)

    def similarities(self, chunk_rows: int) -> Iterator[tuple[int, FloatArray]]:
        if chunk_rows < 1:
            raise ValueError(f"chunk_rows must be at least 1, got {chunk_rows}")
        for start in range(0, len(self.distances), chunk_rows):
            rows = self.distances[start : start + chunk_rows]
            yield start, np.negative(rows if self.kept is None else rows[:, self.kept])


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
    leave_one_out: bool = False,
    repeats: int = 10,
    seed: int = 0,
    max_rank: int = 100,
    chunk_rows: int = 256,
    engine: str = "auto",
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
        query_cameras: one a query; needed by ``market1501`` and ``veri``, optional for ``cuhk03``, not looked at by
            ``all``.
        gallery_cameras: one a gallery image, likewise.
        protocol: one of :data:`~reidfw_core.metrics.protocols.PROTOCOLS`.
        leave_one_out: query and gallery are the same list; an image is never compared with itself.
        repeats: draws of ``cuhk03``; other protocols do not look at it.
        seed: of these draws. A draw is made for each identity and serves all queries; of the identity of a query,
            the same random number picks among the images that the query may see. So a query's scores do not depend
            on the other queries.
        max_rank: length of the CMC curve.
        chunk_rows: queries a step.
        engine: what counts: ``numpy``, ``numba`` (an optional package; the ranks are the same) or ``auto``: Numba
            for large sets where it is installed. ``cuhk03`` looks at few images and always counts with NumPy.
        progress: told, after each step, how many queries are done.

    Raises:
        DataError: embeddings of unusable shape or with values that are not finite, lists of other lengths, cameras
            missing where the protocol needs them, two different lists with ``leave_one_out``.
        ToolNotFound: the engine ``numba`` is not installed.
        ValueError: unknown metric, protocol or engine, ``max_rank``, ``chunk_rows`` or ``repeats`` below 1.
    """
    pairs = EmbeddingPairs.prepare(query_embeddings, gallery_embeddings, metric)
    sizes = len(pairs.query), len(pairs.gallery)
    rules = PairRules.of(
        protocol,
        query_identities,
        gallery_identities,
        query_cameras,
        gallery_cameras,
        sizes=sizes,
        leave_one_out=leave_one_out,
    )
    options = _Options(metric, protocol, sizes, leave_one_out, repeats, seed, max_rank, chunk_rows, engine)
    return _score(pairs, rules, options, progress)


def evaluate_distances(
    distances: ArrayLike,
    query_identities: Sequence[str],
    gallery_identities: Sequence[str],
    *,
    metric: str = "given",
    query_cameras: Sequence[str] | None = None,
    gallery_cameras: Sequence[str] | None = None,
    protocol: str = "all",
    leave_one_out: bool = False,
    repeats: int = 10,
    seed: int = 0,
    max_rank: int = 100,
    chunk_rows: int = 256,
    engine: str = "auto",
    progress: Callable[[int], None] | None = None,
) -> RetrievalScores:
    """Scores a retrieval whose distances are known, for example re-ranked ones.

    Args:
        distances: (Q, G), smaller is nearer; not written to. Integers count as float64.
        query_identities: one a query; compared by their texts.
        gallery_identities: one a gallery image.
        metric: what the distances are; only noted in the scores.
        query_cameras: see :func:`evaluate_retrieval`, like all that follows.
        gallery_cameras: likewise.
        protocol: likewise.
        leave_one_out: likewise; the matrix must be square.
        repeats: likewise.
        seed: likewise.
        max_rank: likewise.
        chunk_rows: likewise.
        engine: likewise.
        progress: likewise.

    Raises:
        DataError: a matrix of unusable shape or with values that are not finite, else as
            :func:`evaluate_retrieval`.
        ToolNotFound: the engine ``numba`` is not installed.
        ValueError: as :func:`evaluate_retrieval`.
    """
    matrix = np.asarray(distances)
    if matrix.ndim != 2 or not matrix.size:
        raise DataError(f"distances of shape {matrix.shape}; they must be (queries, gallery), at least (1, 1)")
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if not (math.isfinite(matrix.min()) and math.isfinite(matrix.max())):  # NaN comes through both
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise DataError(f"distances hold NaN or infinite values, first for query {row} and gallery image {column}")
    sizes = matrix.shape[0], matrix.shape[1]
    rules = PairRules.of(
        protocol,
        query_identities,
        gallery_identities,
        query_cameras,
        gallery_cameras,
        sizes=sizes,
        leave_one_out=leave_one_out,
    )
    options = _Options(metric, protocol, sizes, leave_one_out, repeats, seed, max_rank, chunk_rows, engine)
    return _score(_DistanceMatrix(matrix), rules, options, progress)


def average_precision(ranks: NDArray[np.int64]) -> float:
    """Mean of the precision at each rank of a positive.

    Args:
        ranks: (P,) ascending ranks of the positives, counted from 1, at least one.

    Returns:
        Average precision in (0, 1].
    """
    return float((np.arange(1, ranks.size + 1) / ranks).sum()) / ranks.size


@dataclass(frozen=True, slots=True)
class _Options:
    """The arguments that both ways of scoring share."""

    metric: str
    protocol: str
    sizes: tuple[int, int]
    leave_one_out: bool
    repeats: int
    seed: int
    max_rank: int
    chunk_rows: int
    engine: str

    def __post_init__(self) -> None:
        for name in ("max_rank", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def _score(
    source: _Similarities, rules: PairRules, options: _Options, progress: Callable[[int], None] | None
) -> RetrievalScores:
    num_queries = options.sizes[0]
    rank_rows = rank_engine(options.engine, options.sizes[0] * options.sizes[1])
    if options.protocol == "cuhk03":
        rank_rows = _SingleShot.draw(rules, options.repeats, options.seed).rank_rows
    if rules.kept is not None:
        source = source.keep_gallery(rules.kept)
    average_precisions = np.full(num_queries, np.nan)
    inverse_penalties = np.full(num_queries, np.nan)
    match_ranks = np.zeros((num_queries, options.repeats if options.protocol == "cuhk03" else 1), dtype=np.int64)
    for start, similarities in source.similarities(options.chunk_rows):
        ranked = _ranks_of_chunk(start, similarities, rules, rank_rows)
        for query, ranks in enumerate(ranked, start):
            if not ranks.size:
                continue
            if options.protocol == "cuhk03":  # one match a draw, so precision and penalty are 1 / rank
                match_ranks[query] = ranks
                average_precisions[query] = inverse_penalties[query] = np.mean(1 / ranks)
                continue
            ranks.sort()
            match_ranks[query] = ranks[0]
            average_precisions[query] = average_precision(ranks)
            inverse_penalties[query] = ranks.size / ranks[-1]
        if progress is not None:
            progress(start + len(similarities))
    matched = match_ranks[:, 0] > 0
    return RetrievalScores(
        cmc=_rank_accuracies(match_ranks, np.arange(1, options.max_rank + 1)),
        mean_average_precision=float(np.mean(average_precisions[matched])) if matched.any() else math.nan,
        mean_inverse_negative_penalty=float(np.mean(inverse_penalties[matched])) if matched.any() else math.nan,
        average_precisions=average_precisions,
        inverse_penalties=inverse_penalties,
        first_match_ranks=np.sort(match_ranks, axis=1)[:, (match_ranks.shape[1] - 1) // 2],
        match_ranks=match_ranks,
        queries_without_match=tuple(np.flatnonzero(~matched).tolist()),
        num_queries=num_queries,
        num_gallery=options.sizes[1],
        metric=options.metric,
        protocol=options.protocol,
        leave_one_out=options.leave_one_out,
    )


def _ranks_of_chunk(
    start: int, similarities: FloatArray, rules: PairRules, rank_rows: RankRows
) -> list[NDArray[np.int64]]:
    """Ranks of the positives of each query of a chunk, whose similarities are overwritten where excluded."""
    chosen = []
    for query, row in enumerate(similarities, start):
        positives, excluded = rules.split(query)
        if excluded.size:
            row[excluded] = -np.inf  # behind every positive, hence never counted
        chosen.append(positives)
    return rank_rows(similarities, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class _SingleShot:
    """The draws of ``cuhk03``.

    Attributes:
        numbers: (draws, identities) float64 in [0, 1), the place of the drawn image among those of its identity.
        drawn: (draws, identities in the gallery) int64, gallery indices, one an identity.
        columns: (identities,) int64, the column of each identity in ``drawn``.
        gallery_codes: (G,) int64, the identity of each gallery image.
    """

    numbers: NDArray[np.float64]
    drawn: NDArray[np.int64]
    columns: NDArray[np.int64]
    gallery_codes: NDArray[np.int64]

    @classmethod
    def draw(cls, rules: PairRules, repeats: int, seed: int) -> _SingleShot:
        """Draws one gallery image of each identity, ``repeats`` times."""
        groups = rules.groups
        counts = np.diff(groups.starts)
        shown = counts > 0
        # Identities in the order of the gallery, so that the draws are the same for any queries.
        in_order = np.flatnonzero(shown)
        in_order = in_order[np.argsort(groups.order[groups.starts[in_order]])]
        numbers = np.zeros((repeats, counts.size))
        numbers[:, in_order] = np.random.default_rng(seed).random((repeats, in_order.size))
        places = groups.starts[:-1] + (numbers * counts).astype(np.int64)
        codes = np.empty(groups.order.size, dtype=np.int64)
        codes[groups.order] = np.repeat(np.arange(counts.size), counts)
        return cls(numbers, groups.order[places[:, shown]], np.cumsum(shown) - 1, codes)

    def rank_rows(self, similarities: FloatArray, positives: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """(draws,) rank of the one drawn positive among the drawn images, for each query; empty without positive."""
        return [
            self._rank_row(row, chosen) if chosen.size else chosen
            for row, chosen in zip(similarities, positives, strict=True)
        ]

    def _rank_row(self, row: FloatArray, positives: NDArray[np.int64]) -> NDArray[np.int64]:
        code = self.gallery_codes[positives[0]]
        match = positives[(self.numbers[:, code] * positives.size).astype(np.int64)][:, None]
        near, level = row[self.drawn], row[match]
        before = (near > level) | ((near == level) & (self.drawn < match))
        before[:, self.columns[code]] = False  # the match itself stands for its identity
        ranks: NDArray[np.int64] = 1 + np.count_nonzero(before, axis=1).astype(np.int64)
        return ranks


def _check_rank(k: int) -> None:
    if k < 1:
        raise ValueError(f"ranks are counted from 1, got {k}")


def _rank_accuracies(match_ranks: NDArray[np.int64], ks: NDArray[np.int64]) -> NDArray[np.float64]:
    found = np.sort(match_ranks[match_ranks > 0])  # the draws of a query have all a match, or none has
    if not found.size:
        return np.full(len(ks), np.nan)
    return np.searchsorted(found, ks, side="right") / found.size
