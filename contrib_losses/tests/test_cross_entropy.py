"""Cross-entropy over identities against references, by hand, and at the edge of the floating point range."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from reidfw_losses._keras.cross_entropy import IdentityCrossEntropyLoss


def reference(identities: list[int], logits: list[list[float]], smoothing: float) -> float:
    """Mean over images of -sum q log p, with q and p written out."""
    total = 0.0
    for identity, row in zip(identities, logits, strict=True):
        partition = math.fsum(math.exp(z) for z in row)
        for i, z in enumerate(row):
            q = (1.0 - smoothing) * (i == identity) + smoothing / len(row)
            total -= q * math.log(math.exp(z) / partition)
    return total / len(identities)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 9), st.floats(0.0, 0.99), st.integers(0, 2**32 - 1))
def test_equals_the_plain_python_reference(batch: int, num_identities: int, smoothing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    identities, logits = rng.integers(0, num_identities, batch), 3.0 * rng.normal(size=(batch, num_identities))
    loss = IdentityCrossEntropyLoss(smoothing, dtype="float64")
    assert float(loss(identities, logits)) == pytest.approx(
        reference(identities.tolist(), logits.tolist(), smoothing), abs=1e-9
    )


def test_two_identities_worked_out_by_hand() -> None:
    # softmax(0, ln 3) = (1/4, 3/4); targets (0.05, 0.95): 0.05 ln 4 + 0.95 ln(4/3) = 0.0693147 + 0.2732980
    value = IdentityCrossEntropyLoss(0.1)(np.array([1]), np.array([[0.0, math.log(3.0)]]))
    assert float(value) == pytest.approx(0.3426127, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_gradient_is_the_probabilities_less_the_targets(smoothing: float) -> None:
    rng = np.random.default_rng(0)
    identities, logits = np.array([2, 0, 4]), tf.constant(rng.normal(size=(3, 5)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = IdentityCrossEntropyLoss(smoothing)(identities, logits)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True)
    q = (1.0 - smoothing) * np.eye(5)[identities] + smoothing / 5
    np.testing.assert_allclose(tape.gradient(value, logits).numpy(), (p - q) / 3, atol=1e-6)


def test_logits_of_any_size_stay_finite() -> None:
    identities, logits = np.array([0, 1]), tf.constant([[1e4, -1e4], [1e4, -1e4]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = IdentityCrossEntropyLoss(0.0)(identities, logits)
    assert float(value) == pytest.approx(1e4)
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


def test_an_identity_ruled_out_costs_nothing_without_smoothing() -> None:
    value = IdentityCrossEntropyLoss(0.0)(np.array([0]), np.array([[0.0, -np.inf]]))
    assert float(value) == 0.0


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits = tf.constant(np.random.default_rng(1).normal(size=(4, 3000)), tf.float16)
    identities = np.array([0, 2047, 2049, 2999])
    value = IdentityCrossEntropyLoss(0.1)(identities, logits)
    assert value.dtype == tf.float32
    expected = reference(identities.tolist(), logits.numpy().astype(float).tolist(), 0.1)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_an_identity_outside_the_classifier_is_an_error() -> None:
    # two kernels read the identities; which one complains first is up to TensorFlow
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"label value of 2|= 2 is not in \[0, 2\)"):
        IdentityCrossEntropyLoss()(np.array([2]), np.array([[0.0, 1.0]]))


def test_sample_weights_weigh_images() -> None:
    identities, logits = np.array([0, 1]), np.array([[0.0, 1.0], [0.5, 0.5]])
    loss = IdentityCrossEntropyLoss(0.1)
    weighted = loss(identities, logits, sample_weight=np.array([1.0, 0.0]))
    assert float(weighted) == pytest.approx(float(loss(identities[:1], logits[:1])) / 2, abs=1e-6)


def test_survives_saving() -> None:
    loss = IdentityCrossEntropyLoss(0.25)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, IdentityCrossEntropyLoss)
    assert again.get_config() == loss.get_config()
    assert again.label_smoothing == 0.25
