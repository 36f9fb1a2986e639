"""Margin softmax, circle, contrastive, centre and soft-margin losses against the papers' equations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from reidfw_losses._keras.center import CenterLoss
from reidfw_losses._keras.margins import MarginLoss
from reidfw_losses._keras.pairs import CircleLoss, SupervisedContrastiveLoss
from reidfw_losses._keras.triplet import TripletLoss

STRATEGIES = ("hard", "semi_hard", "simple")

# --- the papers' equations, with nothing but Python's floats --------------------------------------------------------


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms > 1e-12 else 0.0


def partners(identities: Sequence[int], anchor: int) -> tuple[list[int], list[int]]:
    others = [j for j in range(len(identities)) if j != anchor]
    positives = [j for j in others if identities[j] == identities[anchor]]
    return positives, [j for j in others if identities[j] != identities[anchor]]


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def log_sum_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def circle(identities: Sequence[int], rows: Sequence[Sequence[float]], m: float, gamma: float) -> float:
    losses = []
    for a in range(len(rows)):
        positives, negatives = partners(identities, a)
        if positives and negatives:
            s_p = [cosine(rows[a], rows[p]) for p in positives]
            s_n = [cosine(rows[a], rows[n]) for n in negatives]
            left = [gamma * max(s + m, 0.0) * (s - m) for s in s_n]
            right = [-gamma * max(1 + m - s, 0.0) * (s - (1 - m)) for s in s_p]
            losses.append(softplus(log_sum_exp(left) + log_sum_exp(right)))
    return mean(losses)


def contrastive(identities: Sequence[int], rows: Sequence[Sequence[float]], temperature: float) -> float:
    losses = []
    for a in range(len(rows)):
        positives, negatives = partners(identities, a)
        if positives:
            logits = {j: cosine(rows[a], rows[j]) / temperature for j in positives + negatives}
            everything = log_sum_exp(list(logits.values()))
            losses.append(-mean([logits[p] - everything for p in positives]))
    return mean(losses)


def margin_softmax(
    identities: Sequence[int], cosines: Sequence[Sequence[float]], kind: str, margin: float, scale: float
) -> float:
    losses = []
    for own, row in zip(identities, cosines, strict=True):
        logits = [scale * value for value in row]
        theta = math.acos(row[own])
        if kind == "cosine":
            logits[own] = scale * (row[own] - margin)
        elif theta + margin <= math.pi:
            logits[own] = scale * math.cos(theta + margin)
        else:
            logits[own] = scale * (row[own] - margin * math.sin(margin))
        losses.append(log_sum_exp(logits) - logits[own])
    return mean(losses)


def soft_triplet(identities: Sequence[int], rows: Sequence[Sequence[float]], strategy: str) -> float:
    losses = []
    for a in range(len(rows)):
        positives, negatives = partners(identities, a)
        d_ap = [1 - cosine(rows[a], rows[p]) for p in positives]
        d_an = [1 - cosine(rows[a], rows[n]) for n in negatives]
        if not d_ap or not d_an:
            continue
        if strategy == "hard":
            losses.append(softplus(max(d_ap) - min(d_an)))
        elif strategy == "simple":
            losses.extend(softplus(p - n) for p in d_ap for n in d_an)
        else:
            for p in d_ap:
                beyond = [n for n in d_an if n > p]
                losses.append(softplus(p - (min(beyond) if beyond else max(d_an))))
    return mean(losses)


# --- batches ---------------------------------------------------------------------------------------------------------


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[int], np.ndarray]:
    size = draw(st.integers(1, 10))
    identities = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return identities, rng.normal(size=(size, 5)) * rng.uniform(0.1, 10, size=(size, 1))


CASES = {
    "circle": (CircleLoss(0.25, 16.0, dtype="float64"), lambda i, r: circle(i, r, 0.25, 16.0)),
    "circle_128": (CircleLoss(dtype="float64"), lambda i, r: circle(i, r, 0.25, 128.0)),
    "contrastive": (SupervisedContrastiveLoss(dtype="float64"), lambda i, r: contrastive(i, r, 0.1)),
    **{
        f"soft_{name}": (
            TripletLoss(name, margin="soft", dtype="float64"),
            lambda i, r, name=name: soft_triplet(i, r, name),
        )
        for name in STRATEGIES
    },
}
every_case = pytest.mark.parametrize("case", CASES)


@every_case
@settings(deadline=None, max_examples=60)
@given(batch=batches())
def test_values_are_the_papers(case: str, batch: tuple[list[int], np.ndarray]) -> None:
    loss, reference = CASES[case]
    identities, rows = batch
    assert float(loss(np.array(identities), tf.constant(rows))) == pytest.approx(
        reference(identities, rows.tolist()), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("kind", ["angle", "cosine"])
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_margin_softmax_is_the_papers(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(-0.999, 0.999, size=(6, 4))
    identities = rng.integers(0, 4, 6)
    value = MarginLoss(kind, 0.5, 30.0, dtype="float64")(identities, tf.constant(cosines))
    expected = margin_softmax(identities.tolist(), cosines.tolist(), kind, 0.5, 30.0)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_more_similar_is_never_worse_under_arcface() -> None:
    cosines = np.linspace(-1, 1, 2001)
    rows = np.stack([cosines, np.zeros_like(cosines)], axis=1)
    losses = [float(MarginLoss(dtype="float64")(np.array([0]), tf.constant(row[None]))) for row in rows[::20]]
    assert all(np.diff(losses) <= 1e-9)


@every_case
def test_gradients_are_those_of_finite_differences(case: str) -> None:
    loss, _ = CASES[case]
    rng = np.random.default_rng(3)
    identities = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    rows = rng.normal(size=(8, 4))
    variable = tf.Variable(rows)
    with tf.GradientTape() as tape:
        value = loss(identities, variable)
    gradient = tape.gradient(value, variable).numpy()
    if case.startswith("circle"):
        # Its weights are no part of the derivative: compare with a copy of the loss whose weights are held.
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        similar = units @ units.T
        held_p, held_n = np.maximum(1.25 - similar, 0), np.maximum(similar + 0.25, 0)

        def at(moved: np.ndarray) -> float:
            losses = []
            for a in range(8):
                positives, negatives = partners(identities.tolist(), a)
                if positives:
                    s = [cosine(moved[a], moved[j]) for j in range(8)]
                    left = [loss.gamma * held_n[a, n] * (s[n] - 0.25) for n in negatives]
                    right = [-loss.gamma * held_p[a, p] * (s[p] - 0.75) for p in positives]
                    losses.append(softplus(log_sum_exp(left) + log_sum_exp(right)))
            return mean(losses)
    else:

        def at(moved: np.ndarray) -> float:
            return float(loss(identities, tf.constant(moved)))

    for place in np.ndindex(*rows.shape):
        step = np.zeros_like(rows)
        step[place] = 1e-6
        assert gradient[place] == pytest.approx((at(rows + step) - at(rows - step)) / 2e-6, rel=1e-4, abs=1e-6)


@every_case
def test_nothing_to_compare_is_no_loss_and_no_gradient(case: str) -> None:
    loss, _ = CASES[case]
    for identities, rows in (
        (np.arange(4), np.random.default_rng(0).normal(size=(4, 3))),  # each image alone
        (np.array([0]), np.ones((1, 3))),
    ):
        variable = tf.Variable(rows)
        with tf.GradientTape() as tape:
            value = loss(identities, variable)
        assert float(value) == 0.0
        assert np.all(tape.gradient(value, variable).numpy() == 0.0)


@every_case
def test_an_image_alone_with_its_identity_pulls_nothing_as_an_anchor(case: str) -> None:
    loss, reference = CASES[case]
    rows = np.random.default_rng(1).normal(size=(5, 4))
    identities = [0, 0, 1, 1, 2]
    assert float(loss(np.array(identities), tf.constant(rows))) == pytest.approx(reference(identities, rows.tolist()))


@every_case
def test_zero_and_equal_embeddings_have_finite_gradients(case: str) -> None:
    loss, _ = CASES[case]
    for rows in (np.zeros((6, 4)), np.ones((6, 4)), np.eye(6, 4)):
        variable = tf.Variable(rows)
        with tf.GradientTape() as tape:
            value = loss(np.arange(6) // 2, variable)
        assert np.isfinite(float(value))
        assert np.isfinite(tape.gradient(value, variable).numpy()).all()


@every_case
def test_the_length_of_embeddings_and_the_order_of_images_mean_nothing(case: str) -> None:
    loss, _ = CASES[case]
    rng = np.random.default_rng(5)
    rows, identities = rng.normal(size=(8, 4)), np.arange(8) // 2
    value = float(loss(identities, tf.constant(rows)))
    order = rng.permutation(8)
    assert float(loss(identities[order], tf.constant(rows[order]))) == pytest.approx(value, rel=1e-9)
    assert float(loss(identities, tf.constant(rows * 7))) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    "loss",
    [
        CircleLoss(0.3, 64.0),
        SupervisedContrastiveLoss(0.2),
        MarginLoss("cosine", 0.2, 20.0),
        TripletLoss("hard", "soft"),
    ],
)
def test_saved_and_made_again(loss: keras.losses.Loss) -> None:
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    rows = np.tanh(np.random.default_rng(0).normal(size=(6, 4))).astype(np.float32)
    assert float(again(np.arange(6) // 2, rows)) == float(loss(np.arange(6) // 2, rows))


def test_centres_move_as_in_the_paper_and_only_in_training() -> None:
    layer = CenterLoss(3, 2, center_rate=0.5)
    layer.centers.assign([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    rows = np.array([[3.0, 0.0], [5.0, 0.0], [0.0, 0.0]], np.float32)
    identities = np.array([0, 0, 1])
    expected = 0.5 * (4.0 + 16.0 + 1.0) / 3
    assert float(layer(identities, rows)) == pytest.approx(expected)
    np.testing.assert_array_equal(layer.centers.numpy(), [[1, 0], [0, 1], [5, 5]])

    @tf.function
    def step() -> tf.Tensor:
        return layer(identities, rows, training=True)

    assert float(step()) == pytest.approx(expected)
    # delta c_0 = ((1-3) + (1-5)) / (1 + 2) = -2; delta c_1 = (1 - 0) / (1 + 1); c_2 has no image.
    np.testing.assert_allclose(layer.centers.numpy(), [[1 + 0.5 * 2, 0], [0, 1 - 0.5 * 0.5], [5, 5]])


def test_embeddings_are_drawn_to_their_centre() -> None:
    layer = CenterLoss(2, 2)
    variable = tf.Variable([[2.0, 0.0], [0.0, 4.0]])
    with tf.GradientTape() as tape:
        value = layer(np.array([0, 1]), variable)
    np.testing.assert_allclose(tape.gradient(value, variable), variable.numpy() / 2)


def test_centres_are_kept_by_their_names() -> None:
    layer = CenterLoss(2, 3)
    assert [variable.name for variable in layer.variables] == ["centers"]
    assert not layer.trainable_variables
