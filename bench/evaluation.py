"""Retrieval scores against the least that they can cost: the matrix product of query and gallery embeddings alone.

All rows run in turn, round by round, in one process; ratios are medians of the per-round ratios. The product is done
in the same chunks of query rows, in float32, on embeddings that are normalised already. Peak memory is that of the
whole process so far, so a row that needs much is run after all others.

Rows of what others do: torchreid's own evaluator with its distance matrix where it can be imported, and always a
stand-in in NumPy, that makes the matrix in one piece and sorts each row as a whole; both run once, on a part of the
queries, and count as if on all.

Cases: ``trained`` has an mAP of about 0.33; ``untrained`` has embeddings without any meaning, so that a query's
farthest match stands at the gallery's end and every image is looked at.

Usage: python bench/evaluation.py [--rounds 5] [--small | --msmt]
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reidfw_core.metrics import best_threshold, evaluate_retrieval

FULL, SMALL, MSMT = (3368, 19732, 512), (400, 2000, 128), (1166, 82161, 512)  # MSMT17: a tenth of 11659 queries
IMAGES_PER_IDENTITY = 13
CHUNK_ROWS = 256
PEER_QUERIES = 400
BARS = {"numpy": 1.6, "numba": 1.4}
BAR_SECONDS, BAR_MIB, BAR_MSMT_MIB, BAR_TORCHREID = 3.0, 400, 1024, 9.0


@dataclass(frozen=True)
class Sets:
    """Query and gallery: embeddings, identities and cameras."""

    query: NDArray[np.float32]
    gallery: NDArray[np.float32]
    identities: tuple[NDArray[np.int64], NDArray[np.int64]]
    cameras: tuple[NDArray[np.int64], NDArray[np.int64]]
    names: tuple[list[str], list[str]]
    camera_names: tuple[list[str], list[str]]


def embeddings(identities: NDArray[np.int64], dim: int, seed: int, *, trained: bool) -> NDArray[np.float32]:
    """(N, dim) float32 of length one: a centre for each identity plus noise, or noise alone."""
    noise = np.random.default_rng(seed).standard_normal((len(identities), dim), dtype=np.float32)
    if trained:
        centres = np.random.default_rng(0).standard_normal((int(identities.max()) + 1, dim), dtype=np.float32)
        noise *= 2.6 * (dim / 512) ** 0.5
        for start in range(0, len(noise), 4096):  # all centres[identities] at once would be the peak
            noise[start : start + 4096] += centres[identities[start : start + 4096]]
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return noise


def make_sets(shape: tuple[int, int, int], *, trained: bool) -> Sets:
    num_queries, num_gallery, dim = shape
    rng = np.random.default_rng(1)
    gallery_identities = rng.integers(0, num_gallery // IMAGES_PER_IDENTITY, num_gallery)
    query_identities = rng.choice(gallery_identities[: num_gallery // 2], num_queries)
    identities = query_identities, gallery_identities
    cameras = rng.integers(0, 6, num_queries), rng.integers(0, 6, num_gallery)
    return Sets(
        embeddings(query_identities, dim, 2, trained=trained),
        embeddings(gallery_identities, dim, 3, trained=trained),
        identities,
        cameras,
        ([str(i) for i in identities[0]], [str(i) for i in identities[1]]),
        ([str(i) for i in cameras[0]], [str(i) for i in cameras[1]]),
    )


def product_alone(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> None:
    """The matrix product in chunks, into one buffer."""
    buffer = np.empty((CHUNK_ROWS, len(gallery)), dtype=np.float32)
    for start in range(0, len(query), CHUNK_ROWS):
        rows = query[start : start + CHUNK_ROWS]
        np.matmul(rows, gallery.T, out=buffer[: len(rows)])


def sort_whole_rows(sets: Sets, count: int) -> float:
    """What evaluators commonly do, for the first queries: all distances at once, and each row sorted as a whole."""
    query, gallery = sets.query[:count], sets.gallery
    squares = [np.square(vectors).sum(axis=1) for vectors in (query, gallery)]
    distances = squares[0][:, None] + squares[1][None, :] - 2 * (query @ gallery.T)
    order = np.argsort(distances, axis=1)
    precisions = []
    for number, ranked in enumerate(order):
        same = sets.identities[1][ranked] == sets.identities[0][number]
        kept = ~(same & (sets.cameras[1][ranked] == sets.cameras[0][number]))
        found = np.flatnonzero(same[kept])
        if found.size:
            precisions.append(np.mean(np.arange(1, found.size + 1) / (found + 1)))
    return float(np.mean(precisions))


def torchreid_evaluator() -> Callable[[Sets, int], object] | None:
    """torchreid's distance matrix and evaluator (compiled where it was built), None where it is not installed."""
    if importlib.util.find_spec("torchreid") is None or importlib.util.find_spec("torch") is None:
        return None
    import torch
    from torchreid import metrics

    def run(sets: Sets, count: int) -> object:
        matrix = metrics.compute_distance_matrix(
            torch.from_numpy(sets.query[:count]), torch.from_numpy(sets.gallery), "cosine"
        ).numpy()
        people, cameras = sets.identities, sets.cameras
        return metrics.evaluate_rank(
            matrix, people[0][:count], people[1], cameras[0][:count], cameras[1], use_cython=True
        )

    return run


def peak_mib() -> float:
    """Largest memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def our_rows(sets: Sets, engines: list[str]) -> dict[str, Callable[[], object]]:
    market = {"query_cameras": sets.camera_names[0], "gallery_cameras": sets.camera_names[1], "protocol": "market1501"}

    def row(engine: str, options: dict) -> Callable[[], object]:
        return lambda: evaluate_retrieval(
            sets.query, sets.gallery, *sets.names, chunk_rows=CHUNK_ROWS, engine=engine, **options
        )

    rows: dict[str, Callable[[], object]] = {"product alone": lambda: product_alone(sets.query, sets.gallery)}
    for engine in engines:
        rows[f"evaluate_retrieval, {engine}"] = row(engine, {})
        rows[f"  market1501, {engine}"] = row(engine, market)
    rows["  cuhk03, 10 draws"] = row("numpy", market | {"protocol": "cuhk03"})
    return rows


def measure(title: str, rows: dict[str, Callable[[], object]], rounds: int) -> tuple[float, dict[str, float]]:
    """Runs and prints rows; the median seconds of the product alone, and the ratios to it."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    peaks: dict[str, float] = {}
    for _ in range(rounds):
        for name, work in rows.items():
            times[name].append(seconds(work))
            peaks.setdefault(name, peak_mib())
    print(f"\n{title}")
    print(f"{'':30}{'s min':>8}{'median':>10}{'ratio':>8}{'peak MiB so far':>17}")
    ratios = {}
    for name, values in times.items():
        pairs = zip(values, times["product alone"], strict=True)
        ratios[name] = statistics.median(value / base for value, base in pairs)
        print(f"{name:30}{min(values):8.3f}{statistics.median(values):10.3f}{ratios[name]:8.2f}{peaks[name]:17.0f}")
    return statistics.median(times["product alone"]), ratios


def measure_peers(sets: Sets, product_seconds: float, our_ratio: float) -> None:
    """Prints what others take, scaled to all queries."""
    count = min(PEER_QUERIES, len(sets.query))
    peers: dict[str, Callable[[Sets, int], object]] = {"sort of whole rows": sort_whole_rows}
    torchreid = torchreid_evaluator()
    if torchreid is None:
        print("torchreid: skipped, not installed")
    else:
        peers["torchreid"] = torchreid
    for name, work in peers.items():
        taken = seconds(lambda work=work: work(sets, count)) * len(sets.query) / count
        ratio = taken / product_seconds
        print(
            f"{name:30}{taken:8.3f}{'':10}{ratio:8.2f}{peak_mib():17.0f}   {ratio / our_ratio:.1f}x ours "
            f"({count} of {len(sets.query)} queries run, the time scaled)"
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="a size that takes a moment; no bars")
    size.add_argument("--msmt", action="store_true", help="the shape of MSMT17 with a tenth of its queries; no peers")
    arguments = parser.parse_args()
    shape = SMALL if arguments.small else MSMT if arguments.msmt else FULL
    engines = ["numpy"]
    if importlib.util.find_spec("numba") is None:
        print("numba: skipped, not installed")
    else:
        engines.append("numba")

    sets = make_sets(shape, trained=True)
    print(f"imports and inputs: {peak_mib():.0f} MiB")
    for engine in engines:  # warm up, which for Numba compiles
        scores = evaluate_retrieval(sets.query[:CHUNK_ROWS], sets.gallery, sets.names[0][:CHUNK_ROWS], sets.names[1])
        evaluate_retrieval(
            sets.query[:1], sets.gallery[:50], sets.names[0][:1], sets.names[1][:50], chunk_rows=1, engine=engine
        )
    described = f"{shape[0]} queries x {shape[1]} gallery images x {shape[2]}"
    title = f"trained: {described}, mAP {scores.mean_average_precision:.3f} (first queries)"
    base, ratios = measure(title, our_rows(sets, engines), arguments.rounds)
    if not arguments.small:
        bars = ", ".join(f"{engine} {BARS[engine]}" for engine in engines)
        memory = BAR_MSMT_MIB if arguments.msmt else BAR_MIB
        print(f"bars for evaluate_retrieval: ratio {bars}; {memory} MiB", end="")
        print("" if arguments.msmt else f"; {BAR_SECONDS} s on 2 cores; torchreid at least {BAR_TORCHREID}x ours")
    if not arguments.msmt:
        threshold = {"best_threshold": lambda: best_threshold(sets.query, sets.gallery, *sets.names)}
        measure(f"verification: {described}", {"product alone": our_rows(sets, [])["product alone"], **threshold}, 1)
        untrained = make_sets(shape, trained=False)
        measure(f"untrained: {described}", our_rows(untrained, engines), arguments.rounds)
        del untrained
        print("\nothers, on the trained case, market1501")
        measure_peers(sets, base, ratios["  market1501, numpy"])


if __name__ == "__main__":
    main()
