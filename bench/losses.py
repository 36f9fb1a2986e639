"""Cost of the triplet losses, forward and backward, as ratios to a plain Gram-matrix batch-hard loss.

The reference is what one writes down first: distances from one matrix product, masked maximum and minimum of each
row, and TensorFlow's own gradient of all that. In each round every candidate takes one step, and the ratios are medians
of per-round ratios, so that other work on the machine hits all of them alike.

    python bench/losses.py [--seconds 3]

Ends with status 1 where a ratio is above its bar.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from reidfw_losses._keras.triplet import TripletLoss

MARGIN = 0.3
INSTANCES = 4
REFERENCE = "Gram"
BARS = {"hard": 1.1, "semi_hard": 3.0, "simple": None}
SIZES = ((64, 256), (128, 256), (256, 256), (512, 256), (128, 1280), (512, 1280))
FEWEST_ROUNDS = 15

Step = Callable[[Any, Any], tuple[Any, Any]]


def gram_batch_hard(identities: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    """Batch-hard loss with cosine distances, differentiated by TensorFlow through the whole distance matrix."""
    units = tf.math.l2_normalize(embeddings, axis=1)
    distances = tf.clip_by_value(1.0 - tf.matmul(units, units, transpose_b=True), 0.0, 2.0)
    same = identities[:, None] == identities[None, :]
    positives = tf.linalg.set_diag(same, tf.zeros_like(identities, dtype=tf.bool))
    farthest = tf.reduce_max(tf.where(positives, distances, -1.0), axis=1)
    closest = tf.reduce_min(tf.where(same, 3.0, distances), axis=1)
    valid = tf.cast((farthest >= 0.0) & (closest <= 2.0), tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(valid * tf.nn.relu(farthest - closest + MARGIN)), tf.reduce_sum(valid))


def training_step(loss: Callable[[Any, Any], Any]) -> Step:
    """A compiled function to the value of a loss and its gradient, for any batch."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.float32)])
    def value_and_gradient(identities: tf.Tensor, embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(identities, embeddings)
        return value, tape.gradient(value, embeddings)

    return value_and_gradient


def pk_batch(size: int, dim: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Identities (B,) and half-learnt embeddings (B, D) of a PK batch."""
    rng = np.random.default_rng(0)
    identities = np.repeat(np.arange(size // INSTANCES, dtype=np.int32), INSTANCES)
    embeddings = rng.normal(size=(size, dim)) + 0.5 * rng.normal(size=(size // INSTANCES, dim))[identities]
    return tf.constant(identities), tf.constant(embeddings, tf.float32)


def measure(steps: dict[str, Step], batch: tuple[tf.Tensor, tf.Tensor], budget_s: float) -> dict[str, list[float]]:
    """Seconds of one step of each candidate in each round, for as many rounds as the budget holds."""
    for step in steps.values():
        for _ in range(3):
            step(*batch)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    end = time.perf_counter() + budget_s
    while time.perf_counter() < end or len(seconds[REFERENCE]) < FEWEST_ROUNDS:
        for name, step in steps.items():
            start = time.perf_counter()
            step(*batch)[1].numpy()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def check_equal(steps: dict[str, Step], batch: tuple[tf.Tensor, tf.Tensor]) -> None:
    """Makes sure that the reference computes the same batch-hard loss and gradient as ours."""
    (value, gradient), (expected, expected_gradient) = steps["hard"](*batch), steps[REFERENCE](*batch)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * np.abs(expected_gradient).max())


def main() -> int:
    """Prints one line a batch size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each batch size (default 3)")
    budget_s = parser.parse_args().seconds

    steps = {REFERENCE: training_step(gram_batch_hard)}
    steps |= {strategy: training_step(TripletLoss(strategy, MARGIN)) for strategy in BARS}
    print(f"{INSTANCES} images of each identity, cosine distance, median (quartiles) of per-round ratios")
    titles = [name if bar is None else f"{name} (bar {bar})" for name, bar in BARS.items()]
    print(f"{'batch x dim':>12} {REFERENCE + ' ms':>9}" + "".join(f"{title:>22}" for title in titles))
    above = []
    for size, dim in SIZES:
        batch = pk_batch(size, dim)
        check_equal(steps, batch)
        seconds = measure(steps, batch, budget_s)
        line = f"{f'{size} x {dim}':>12} {1e3 * statistics.median(seconds[REFERENCE]):>9.2f}"
        for name, bar in BARS.items():
            ratios = [ours / theirs for ours, theirs in zip(seconds[name], seconds[REFERENCE], strict=True)]
            lower, median, upper = statistics.quantiles(ratios, n=4)
            line += f"{f'{median:.2f} ({lower:.2f}-{upper:.2f})':>22}"
            if bar is not None and median > bar:
                above.append(f"{name} at {size} x {dim}: {median:.2f} > {bar}")
        print(line, flush=True)
    for problem in above:
        print(f"above the bar: {problem}", file=sys.stderr)
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
