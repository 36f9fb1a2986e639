"""Triplet losses against plain-Python references, by hand, by finite differences, and by what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from reidfw_losses._keras.triplet import TripletLoss

STRATEGIES = ("hard", "semi_hard", "simple")
METRICS = ("cosine", "euclidean")


# ---------------------------------------------------------------------------------------------------------------
# References: the definitions in the papers, one triplet at a time, with nothing but Python's floats.


def distance(a: Sequence[float], b: Sequence[float], metric: str) -> float:
    norms = math.sqrt(sum(x * x for x in a)), math.sqrt(sum(x * x for x in b))
    product = 0.0 if min(norms) < 1e-6 else sum(x * y for x, y in zip(a, b, strict=True)) / (norms[0] * norms[1])
    cosine = min(max(1.0 - product, 0.0), 2.0)
    return cosine if metric == "cosine" else math.sqrt(2.0 * cosine)


def partners(identities: Sequence[int], anchor: int) -> tuple[list[int], list[int]]:
    others = [j for j in range(len(identities)) if j != anchor]
    positives = [j for j in others if identities[j] == identities[anchor]]
    return positives, [j for j in others if identities[j] != identities[anchor]]


def reference_hard(identities: Sequence[int], rows: Sequence[Sequence[float]], margin: float, metric: str) -> float:
    terms = []
    for a in range(len(rows)):
        positives, negatives = partners(identities, a)
        if positives and negatives:
            farthest = max(distance(rows[a], rows[p], metric) for p in positives)
            closest = min(distance(rows[a], rows[n], metric) for n in negatives)
            terms.append(max(farthest - closest + margin, 0.0))
    return sum(terms) / len(terms) if terms else 0.0


def reference_semi_hard(
    identities: Sequence[int], rows: Sequence[Sequence[float]], margin: float, metric: str
) -> float:
    terms = []
    for a in range(len(rows)):
        positives, negatives = partners(identities, a)
        for p in positives if negatives else []:
            d_ap = distance(rows[a], rows[p], metric)
            d_an = [distance(rows[a], rows[n], metric) for n in negatives]
            beyond = [d for d in d_an if d > d_ap]
            terms.append(d_ap - (min(beyond) if beyond else max(d_an)) + margin)
    violating = [term for term in terms if term > 0.0]
    return sum(violating) / len(violating) if violating else 0.0


def reference_simple(identities: Sequence[int], rows: Sequence[Sequence[float]], margin: float, metric: str) -> float:
    terms = []
    for a in range(len(rows)):
        positives, negatives = partners(identities, a)
        d_an = [distance(rows[a], rows[n], metric) for n in negatives]
        for p in positives:
            d_ap = distance(rows[a], rows[p], metric)
            terms.extend(d_ap - d + margin for d in d_an)
    violating = [term for term in terms if term > 0.0]
    return sum(violating) / len(violating) if violating else 0.0


REFERENCES: dict[str, Callable[..., float]] = {
    "hard": reference_hard,
    "semi_hard": reference_semi_hard,
    "simple": reference_simple,
}


# ---------------------------------------------------------------------------------------------------------------
# Batches


def cluster(identities: Sequence[int], dim: int, seed: int, spread: float = 1.0) -> np.ndarray:
    """Embeddings around one centre an identity, of lengths between a tenth and ten."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(identities) + 1, dim))
    rows = centres[list(identities)] + spread * rng.normal(size=(len(identities), dim))
    return rows * 10.0 ** rng.uniform(-1.0, 1.0, size=(len(identities), 1))


def repeated(identities: Sequence[int], dim: int, seed: int) -> np.ndarray:
    """As `cluster`, but the first two images of each identity are the same image."""
    rows = cluster(identities, dim, seed)
    for identity in set(identities):
        places = [i for i, other in enumerate(identities) if other == identity]
        rows[places[1:2]] = rows[places[0]]
    return rows


def corners(identities: Sequence[int], seed: int) -> np.ndarray:
    """Corners of a cube in four dimensions: few, exactly representable distances, thus many ties."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(identities), 4))


PK = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
SHUFFLED = (3, 1, 0, 2, 0, 1, 1, 3, 2, 0, 3, 2)
UNEVEN = (0, 1, 1, 2, 2, 2, 3, 4, 4, 4, 4, 4, 5)

BATCHES = {
    "PK": (PK, cluster(PK, 8, 0)),
    "PK, nearly learnt": (PK, cluster(PK, 8, 1, spread=0.3)),
    "PK, one group": (PK, cluster(PK, 8, 2, spread=20.0)),
    "shuffled": (SHUFFLED, cluster(SHUFFLED, 3, 3)),
    "uneven, with singletons": (UNEVEN, cluster(UNEVEN, 6, 4)),
    "repeated images": (UNEVEN, repeated(UNEVEN, 6, 5)),
    "ties": (PK, corners(PK, 6)),
    "ties, uneven": (UNEVEN, corners(UNEVEN, 7)),
    "zero vectors": (SHUFFLED, cluster(SHUFFLED, 5, 8) * (np.arange(12) % 4 != 0)[:, None]),
    "ids far apart": (tuple(2**31 - 1 - i for i in SHUFFLED), cluster(SHUFFLED, 3, 9)),
    "no positive": (tuple(range(6)), cluster(tuple(range(6)), 4, 10)),
    "no negative": ((7,) * 6, cluster((0,) * 6, 4, 11)),
    "one image": ((0,), cluster((0,), 4, 12)),
}


def value_and_gradient(
    loss: TripletLoss, identities: Sequence[int] | np.ndarray, rows: np.ndarray
) -> tuple[float, np.ndarray]:
    embeddings = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(tf.constant(identities), embeddings)
    assert value.shape == ()
    return float(value), tape.gradient(value, embeddings).numpy()


every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
every_metric = pytest.mark.parametrize("metric", METRICS)


# ---------------------------------------------------------------------------------------------------------------
# Values


@every_strategy
@every_metric
@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("batch", BATCHES)
def test_equals_the_plain_python_reference(batch: str, margin: float, metric: str, strategy: str) -> None:
    identities, rows = BATCHES[batch]
    value, gradient = value_and_gradient(TripletLoss(strategy, margin, metric, dtype="float64"), identities, rows)
    # A repeated image has distance sqrt(rounding error), about 1e-8, in the euclidean metric.
    assert value == pytest.approx(REFERENCES[strategy](identities, rows.tolist(), margin, metric), abs=3e-8)
    assert np.isfinite(gradient).all()


@every_strategy
@every_metric
@pytest.mark.parametrize("batch", ["PK", "uneven, with singletons", "shuffled", "ties"])
def test_float32_is_as_good_as_its_precision(batch: str, metric: str, strategy: str) -> None:
    identities, rows = BATCHES[batch]
    value, _ = value_and_gradient(TripletLoss(strategy, 0.3, metric), identities, rows.astype(np.float32))
    assert value == pytest.approx(REFERENCES[strategy](identities, rows.tolist(), 0.3, metric), abs=1e-5)


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        # Images of identity 0 at 0 and 60 degrees, of 1 at 30, of 2 at 80; margin 0.4. Cosine distances:
        # from 0 degrees: positive 0.5, negatives 0.1339746 and 0.8263518;
        # from 60 degrees: positive 0.5, negatives 0.1339746 and 0.0603074. The other two have no positive.
        ("hard", ((0.5 - 0.1339746 + 0.4) + (0.5 - 0.0603074 + 0.4)) / 2),
        ("semi_hard", ((0.5 - 0.8263518 + 0.4) + (0.5 - 0.1339746 + 0.4)) / 2),
        ("simple", (0.7660254 + 0.0736482 + 0.7660254 + 0.8396926) / 4),
    ],
)
def test_four_images_worked_out_by_hand(strategy: str, expected: float) -> None:
    value, _ = value_and_gradient(
        TripletLoss(strategy, 0.4, dtype="float64"), [0, 0, 1, 2], on_circle(0.0, 60.0, 30.0, 80.0)
    )
    assert value == pytest.approx(expected, abs=1e-7)


def test_euclidean_distance_of_a_right_angle_is_the_square_root_of_two() -> None:
    # Anchors: a positive straight across (2), a negative at a right angle (sqrt 2), whatever the lengths.
    rows = np.array([[3.0, 0.0], [-0.5, 0.0], [0.0, 10.0]])
    value, _ = value_and_gradient(TripletLoss("hard", 0.3, "euclidean", dtype="float64"), [0, 0, 1], rows)
    assert value == pytest.approx(2.0 - math.sqrt(2.0) + 0.3)


# ---------------------------------------------------------------------------------------------------------------
# Gradients


@every_strategy
@every_metric
@pytest.mark.parametrize("batch", ["PK", "PK, one group", "uneven, with singletons", "shuffled"])
def test_gradient_equals_finite_differences_of_the_reference(batch: str, metric: str, strategy: str) -> None:
    identities, rows = BATCHES[batch]
    _, gradient = value_and_gradient(TripletLoss(strategy, 0.3, metric, dtype="float64"), identities, rows)
    assert np.abs(gradient).max() > 1e-3
    rng = np.random.default_rng(0)
    for _ in range(12):
        # Along random directions: fewer evaluations than coordinate by coordinate, and each sees all of them.
        direction = rng.normal(size=rows.shape) * np.linalg.norm(rows, axis=1, keepdims=True)
        step = 1e-7
        plus, minus = (
            REFERENCES[strategy](identities, (rows + sign * step * direction).tolist(), 0.3, metric) for sign in (1, -1)
        )
        # Central differences: rounding gives about 1e-16 / 1e-7, curvature 1e-14.
        assert np.sum(gradient * direction) == pytest.approx((plus - minus) / (2 * step), abs=1e-6)


@every_strategy
@every_metric
@pytest.mark.parametrize(
    "rows",
    [np.ones((8, 5)), np.zeros((8, 5)), np.full((8, 5), 1e-7), np.repeat(np.eye(2, 5), 4, axis=0), -np.ones((8, 5))],
    ids=["equal", "zero", "tiny", "two points", "equal, negative"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_is_small_where_all_embeddings_are_alike(
    rows: np.ndarray, metric: str, strategy: str, dtype: str
) -> None:
    value, gradient = value_and_gradient(
        TripletLoss(strategy, 0.3, metric, dtype=dtype), [0, 0, 1, 1, 0, 0, 1, 1], rows.astype(dtype)
    )
    assert math.isfinite(value)
    assert np.abs(gradient).max() <= 1.0


@every_strategy
@every_metric
@pytest.mark.parametrize("length", [0.0, 1e-9])
def test_a_vector_without_direction_gets_no_gradient(length: float, metric: str, strategy: str) -> None:
    """Dividing by its length would give it a huge one."""
    rows = cluster(PK, 8, 13)
    rows[::3] *= length
    _, gradient = value_and_gradient(TripletLoss(strategy, 0.3, metric), PK, rows.astype(np.float32))
    np.testing.assert_array_equal(gradient[::3], 0.0)
    assert 1e-3 < np.abs(gradient).max() < 10.0


@every_strategy
@every_metric
@pytest.mark.parametrize("batch", ["no positive", "no negative", "one image"])
def test_a_batch_without_triplets_costs_nothing_and_moves_nothing(batch: str, metric: str, strategy: str) -> None:
    value, gradient = value_and_gradient(TripletLoss(strategy, 0.3, metric, dtype="float64"), *BATCHES[batch])
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


@every_strategy
@every_metric
def test_nan_embeddings_give_a_nan_loss(metric: str, strategy: str) -> None:
    """A diverged network must not look like one that learns."""
    identities, rows = BATCHES["uneven, with singletons"]
    for image in (0, 4):
        broken = rows.copy()
        broken[image, 1] = np.nan
        value, _ = value_and_gradient(TripletLoss(strategy, 0.3, metric), identities, broken.astype(np.float32))
        assert math.isnan(value)


@every_strategy
@every_metric
def test_descending_the_gradient_separates_the_identities(metric: str, strategy: str) -> None:
    loss = TripletLoss(strategy, 0.3, metric)
    embeddings = tf.Variable(cluster(PK, 8, 20, spread=1.5), dtype=tf.float32)
    optimizer = keras.optimizers.Adam(0.1)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(tf.constant(PK), embeddings)
        optimizer.apply_gradients([(tape.gradient(value, embeddings), embeddings)])
        return value

    first = float(step())
    for _ in range(150):
        last = float(step())
    assert first > 0.1
    assert last < 0.02 * first


# ---------------------------------------------------------------------------------------------------------------
# What each strategy promises


def test_an_anchor_without_positive_is_not_counted_in_batch_hard() -> None:
    identities, rows = [0, 0, 1, 1], on_circle(0.0, 40.0, 50.0, 100.0)
    alone, _ = value_and_gradient(TripletLoss("hard", dtype="float64"), identities, rows)
    # A singleton so far off that it is nobody's closest negative changes nothing.
    joined, gradient = value_and_gradient(
        TripletLoss("hard", dtype="float64"), [*identities, 2], np.concatenate([rows, on_circle(230.0)])
    )
    assert alone > 0.1
    assert joined == pytest.approx(alone, abs=1e-12)
    np.testing.assert_array_equal(gradient[4], 0.0)


def test_semi_hard_pulls_where_every_negative_is_closer_than_the_positive() -> None:
    identities, rows = [0, 0, 1, 2], on_circle(0.0, 120.0, 20.0, 100.0)
    value, gradient = value_and_gradient(TripletLoss("semi_hard", 0.3, dtype="float64"), identities, rows)
    assert value > 0.3
    clockwise = np.stack([rows[:, 1], -rows[:, 0]], axis=1)
    # Descent turns the first image counter-clockwise and the second clockwise: towards each other.
    turning = np.sum(-gradient * clockwise, axis=1)
    assert turning[0] < -0.1
    assert turning[1] > 0.1


def test_triplets_that_keep_the_margin_do_not_weaken_batch_all() -> None:
    identities, rows = [0, 0, 1, 1], on_circle(0.0, 40.0, 50.0, 100.0)
    crowded, gradient = value_and_gradient(TripletLoss("simple", dtype="float64"), identities, rows)
    far_away = on_circle(225.0, 226.0, 227.0)
    joined, joined_gradient = value_and_gradient(
        TripletLoss("simple", dtype="float64"), [*identities, 2, 2, 2], np.concatenate([rows, far_away])
    )
    assert crowded > 0.1
    assert joined == pytest.approx(crowded, abs=1e-12)
    np.testing.assert_allclose(joined_gradient[:4], gradient, atol=1e-12)


batches = st.tuples(st.integers(2, 16), st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**32 - 1))
"""Size, largest number of identities, length of an embedding, seed."""


def drawn(batch: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    size, most, dim, seed = batch
    rng = np.random.default_rng(seed)
    return rng.integers(0, most, size), rng.normal(size=(size, dim)), rng


@settings(max_examples=40, deadline=None)
@given(batches, st.sampled_from(STRATEGIES), st.sampled_from(METRICS), st.floats(0.0, 1.0))
def test_any_batch_equals_the_reference(
    batch: tuple[int, int, int, int], strategy: str, metric: str, margin: float
) -> None:
    identities, rows, _ = drawn(batch)
    value, _ = value_and_gradient(TripletLoss(strategy, margin, metric, dtype="float64"), identities, rows)
    assert value == pytest.approx(REFERENCES[strategy](identities.tolist(), rows.tolist(), margin, metric), abs=1e-9)
    assert 0.0 <= value <= 2.0 + margin + 1e-12


@settings(max_examples=40, deadline=None)
@given(batches, st.sampled_from(STRATEGIES), st.sampled_from(METRICS))
def test_the_order_of_the_images_does_not_matter(batch: tuple[int, int, int, int], strategy: str, metric: str) -> None:
    identities, rows, rng = drawn(batch)
    order = rng.permutation(len(rows))
    loss = TripletLoss(strategy, 0.3, metric, dtype="float64")
    value, gradient = value_and_gradient(loss, identities, rows)
    permuted, permuted_gradient = value_and_gradient(loss, identities[order], rows[order])
    assert permuted == pytest.approx(value, abs=1e-9)
    np.testing.assert_allclose(permuted_gradient, gradient[order], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(batches, st.sampled_from(STRATEGIES), st.sampled_from(METRICS))
def test_neither_names_of_identities_nor_lengths_of_embeddings_matter(
    batch: tuple[int, int, int, int], strategy: str, metric: str
) -> None:
    identities, rows, rng = drawn(batch)
    loss = TripletLoss(strategy, 0.3, metric, dtype="float64")
    value, gradient = value_and_gradient(loss, identities, rows)
    scales = 10.0 ** rng.uniform(-3, 3, size=(len(rows), 1))
    scaled, scaled_gradient = value_and_gradient(loss, 1000 - 7 * identities, scales * rows)
    assert scaled == pytest.approx(value, abs=1e-9)
    np.testing.assert_allclose(scaled_gradient * scales, gradient, atol=1e-7)
    # Nothing pulls along the vector itself.
    np.testing.assert_allclose(np.sum(gradient * rows, axis=1), 0.0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(batches, st.sampled_from(STRATEGIES), st.sampled_from(METRICS), st.floats(0.0, 0.9))
def test_zero_once_identities_lie_farther_apart_than_the_margin(
    batch: tuple[int, int, int, int], strategy: str, metric: str, margin: float
) -> None:
    identities, _, rng = drawn(batch)
    # Right angles between identities; images of one identity differ by at most a few hundredths.
    rows = np.eye(8)[identities] + rng.uniform(0.0, 0.005, size=(len(identities), 8))
    value, gradient = value_and_gradient(TripletLoss(strategy, margin, metric, dtype="float64"), identities, rows)
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
