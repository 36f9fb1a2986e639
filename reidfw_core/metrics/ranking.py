"""Ranks of positives, by counting the images that stand before them; in NumPy or compiled by Numba.

The rank of a positive at index ``p`` of a row of similarities is 1 + the number of images before it: those of a
smaller index that are at least as near, and those of a larger index that are nearer. This is the place that a stable
sort gives it. An image at minus infinity stands before nothing.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.metrics.distances import FloatArray, check_choice
from reidfw_core.metrics.optional import import_package

ENGINES = ("auto", "numpy", "numba")

AUTO_NUMBA_PAIRS = 200_000_000
"""Pairs of a query and a gallery image from which ``auto`` takes Numba, whose first use compiles for some seconds."""

RankRows = Callable[[FloatArray, Sequence[NDArray[np.int64]]], list[NDArray[np.int64]]]
"""(rows, G) similarities and the ascending positives of each row -> the ranks of those, in the same order."""

_SORT_FROM = 256
# Counting costs a pass over the candidates for each positive, sorting one costly pass: from here on sorting is cheaper.

_GATHER_BELOW = 8
# Where fewer than one image in so many is a candidate, gathering the candidates costs less than it saves.

_SORT_VALUES_UP_TO = 4096
# NumPy sorts so few values (not their indices) with vector instructions faster than it counts for each positive.

_BROADCAST_UP_TO = 2**20
# Comparisons done at once, a byte each: they should stay in the processor's cache.


def rank_engine(engine: str, num_pairs: int) -> RankRows:
    """What ranks the positives of a chunk.

    Args:
        engine: ``numpy``, ``numba``, or ``auto``: Numba where it is installed and ``num_pairs`` exceeds
            :data:`AUTO_NUMBA_PAIRS`, else NumPy. The ranks are the same.
        num_pairs: Q * G.

    Raises:
        ToolNotFound: ``numba`` was asked for and is not installed.
        ValueError: unknown engine.
    """
    check_choice("engine", engine, ENGINES)
    if engine == "auto":
        wanted = num_pairs > AUTO_NUMBA_PAIRS and importlib.util.find_spec("numba") is not None
        engine = "numba" if wanted else "numpy"
    return _rank_rows_numba if engine == "numba" else _rank_rows_numpy


def positive_ranks(similarities: FloatArray, positives: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks of a query's positives among the gallery, in the order of a stable sort, without sorting the gallery.

    Only the images at least as near as the farthest positive are looked at, where they are few.

    Args:
        similarities: (G,) of one query; larger is nearer, no NaN.
        positives: (P,) ascending gallery indices, at least one.

    Returns:
        (P,) ranks counted from 1, in the order of ``positives``.
    """
    levels = similarities[positives]
    is_candidate = similarities >= levels.min()
    near, places = similarities, positives
    if positives.size >= _SORT_FROM or np.count_nonzero(is_candidate) * _GATHER_BELOW < similarities.size:
        candidates = is_candidate.nonzero()[0]
        near, places = similarities[candidates], np.searchsorted(candidates, positives)
    if positives.size >= _SORT_FROM:
        ranks = np.empty(near.size, dtype=np.int64)
        ranks[np.argsort(-near, kind="stable")] = np.arange(1, near.size + 1)
        return ranks[places]
    return 1 + _count_before(near, places, levels)


def _count_before(near: FloatArray, places: NDArray[np.int64], levels: FloatArray) -> NDArray[np.int64]:
    """(P,) images before each of the positives, which stand at ``places`` and have the similarities ``levels``."""
    count = np.count_nonzero
    if near.size <= _SORT_VALUES_UP_TO:
        ordered = np.sort(near)
        end = ordered.searchsorted(levels, side="right")
        before = near.size - end
        as_near = int((end - ordered.searchsorted(levels)).sum())
    elif near.size * places.size <= _BROADCAST_UP_TO:
        column = levels[:, None]
        before = np.array([count(nearer) for nearer in near > column], dtype=np.int64)
        as_near = int(count(near == column))
    else:
        before, as_near = places, -1  # not looked at: the counts below are right in any case
    if as_near == places.size:  # each positive is as near as itself only
        return before
    return np.array(
        [
            count(near[:place] >= level) + count(near[place + 1 :] > level)
            for place, level in zip(places.tolist(), levels, strict=True)
        ],
        dtype=np.int64,
    )


def _rank_rows_numpy(similarities: FloatArray, positives: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    return [
        positive_ranks(row, chosen) if chosen.size else chosen
        for row, chosen in zip(similarities, positives, strict=True)
    ]


def _rank_rows_numba(similarities: FloatArray, positives: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    kernel, num_threads = _kernel()
    starts = np.cumsum([0, *(chosen.size for chosen in positives)], dtype=np.int64)
    flat = np.concatenate(positives)
    ranks = np.empty(flat.size, dtype=np.int64)
    borders = np.linspace(0, len(similarities), num_threads + 1).astype(int).tolist()
    # Python's threads sleep when they are done. Those of Numba's own loops go on spinning for a while, and so take the
    # processor from the matrix product of the next chunk.
    with ThreadPoolExecutor(num_threads) as threads:
        parts = [
            threads.submit(kernel, similarities[begin:end], flat, starts[begin : end + 1], ranks)
            for begin, end in itertools.pairwise(borders)
            if begin < end
        ]
    for part in parts:
        part.result()
    return [ranks[start:stop] for start, stop in itertools.pairwise(starts)]


@functools.cache
def _kernel() -> tuple[Callable[..., None], int]:
    """The compiled loop, and how many threads may run it at once.

    Compiling takes a second or more, so it is done once and, where the folder allows, kept on disk.
    """
    numba: Any = import_package("numba", purpose="The evaluation engine 'numba'", pip='"reidfw-core[fast]"')

    def rank_all(
        similarities: FloatArray, positives: NDArray[np.int64], starts: NDArray[np.int64], ranks: NDArray[np.int64]
    ) -> None:
        for row in range(similarities.shape[0]):
            line = similarities[row]
            for at in range(starts[row], starts[row + 1]):
                level = line[positives[at]]
                # Loops over slices from 0 are compiled to vector instructions, those from a to b are not.
                before, behind = line[: positives[at]], line[positives[at] + 1 :]
                count = 1
                for index in range(before.shape[0]):
                    count += before[index] >= level
                for index in range(behind.shape[0]):
                    count += behind[index] > level
                ranks[at] = count

    try:
        compiled: Callable[..., None] = numba.njit(nogil=True, cache=True)(rank_all)
    except RuntimeError:  # no folder to keep it in: a read-only installation of a user without a home
        compiled = numba.njit(nogil=True)(rank_all)
    return compiled, max(1, int(numba.get_num_threads()))
