"""Retrieval scores against the least that they can cost: the matrix product of query and gallery embeddings alone.

Both run in turn, round by round, in one process; ratios are medians of the per-round ratios. The product is done in
the same chunks of query rows, in float32, on embeddings that are normalised already. Peak memory is that of the whole
process, after the imports, the inputs and all rounds.

Usage: python bench/evaluation.py [--rounds 5] [--small]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reidfw_core.metrics import best_threshold, evaluate_retrieval

FULL, SMALL = (3368, 19732, 512), (400, 2000, 128)
IMAGES_PER_IDENTITY = 13
CHUNK_ROWS = 256
BAR_RATIO, BAR_SECONDS, BAR_MIB = 1.6, 3.0, 400


def embeddings(identities: NDArray[np.int64], dim: int, seed: int) -> NDArray[np.float32]:
    """(N, dim) float32: a centre for each identity plus noise, which gives an mAP of about 0.33 at full size."""
    centres = np.random.default_rng(0).standard_normal((int(identities.max()) + 1, dim), dtype=np.float32)
    noise = np.random.default_rng(seed).standard_normal((len(identities), dim), dtype=np.float32)
    noise *= 2.6 * (dim / 512) ** 0.5
    noise += centres[identities]
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return noise


def product_alone(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> None:
    """The matrix product in chunks, into one buffer."""
    buffer = np.empty((CHUNK_ROWS, len(gallery)), dtype=np.float32)
    for start in range(0, len(query), CHUNK_ROWS):
        rows = query[start : start + CHUNK_ROWS]
        np.matmul(rows, gallery.T, out=buffer[: len(rows)])


def peak_mib() -> float:
    """Largest memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a size that takes a moment; no bars")
    arguments = parser.parse_args()
    num_queries, num_gallery, dim = SMALL if arguments.small else FULL
    rng = np.random.default_rng(1)
    gallery_identities = rng.integers(0, num_gallery // IMAGES_PER_IDENTITY, num_gallery)
    query_identities = rng.choice(gallery_identities[: num_gallery // 2], num_queries)
    query, gallery = embeddings(query_identities, dim, seed=2), embeddings(gallery_identities, dim, seed=3)
    cameras = rng.integers(0, 6, num_queries), rng.integers(0, 6, num_gallery)
    names = [str(i) for i in query_identities], [str(i) for i in gallery_identities]
    texts = [str(i) for i in cameras[0]], [str(i) for i in cameras[1]]
    inputs_mib = peak_mib()

    cases: dict[str, Callable[[], object]] = {
        "product alone": lambda: product_alone(query, gallery),
        "evaluate_retrieval": lambda: evaluate_retrieval(query, gallery, *names, chunk_rows=CHUNK_ROWS),
        "  market1501": lambda: evaluate_retrieval(
            query,
            gallery,
            *names,
            query_cameras=texts[0],
            gallery_cameras=texts[1],
            protocol="market1501",
            chunk_rows=CHUNK_ROWS,
        ),
        "best_threshold": lambda: best_threshold(query, gallery, *names, chunk_rows=CHUNK_ROWS),
    }
    scores = evaluate_retrieval(query, gallery, *names, chunk_rows=CHUNK_ROWS)
    times: dict[str, list[float]] = {name: [] for name in cases}
    peaks: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, work in cases.items():
            times[name].append(seconds(work))
            peaks.setdefault(name, peak_mib())

    print(f"{num_queries} queries x {num_gallery} gallery images x {dim}, mAP {scores.mean_average_precision:.3f}")
    print(f"{'':22}{'s min':>8}{'s median':>10}{'ratio':>8}{'peak MiB so far':>17}")
    ratios = {}
    for name, values in times.items():
        pairs = zip(values, times["product alone"], strict=True)
        ratios[name] = statistics.median(value / base for value, base in pairs)
        print(f"{name:22}{min(values):8.3f}{statistics.median(values):10.3f}{ratios[name]:8.2f}{peaks[name]:17.0f}")
    print(f"{'imports and inputs':22}{'':26}{inputs_mib:17.0f}")
    if not arguments.small:
        print(f"bars for evaluate_retrieval: ratio {BAR_RATIO}, {BAR_SECONDS} s on 2 cores, {BAR_MIB} MiB")


if __name__ == "__main__":
    main()
