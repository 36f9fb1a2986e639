"""Triplet losses inside Keras and `tf.function`: memory, precision, batch sizes, saving, misuse."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from reidfw_losses._keras.triplet import TripletLoss

every_strategy = pytest.mark.parametrize("strategy", ["hard", "semi_hard", "simple"])


def gradient_function(
    loss: TripletLoss, batch: int | None, dim: int | None
) -> tf.types.experimental.PolymorphicFunction:
    @tf.function(input_signature=[tf.TensorSpec([batch], tf.int32), tf.TensorSpec([batch, dim], tf.float32)])
    def value_and_gradient(identities: tf.Tensor, embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(identities, embeddings)
        return value, tape.gradient(value, embeddings)

    return value_and_gradient


def largest_tensor(function: tf.types.experimental.PolymorphicFunction) -> int:
    """Number of elements of the largest tensor that the graph of a function computes, loop bodies included."""
    graph = function.get_concrete_function().graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    shapes = [shape for node in nodes for shape in node.attr["_output_shapes"].list.shape]
    assert not any(shape.unknown_rank or any(dim.size < 0 for dim in shape.dim) for shape in shapes)
    return max(math.prod(dim.size for dim in shape.dim) for shape in shapes)


@every_strategy
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_no_tensor_is_larger_than_the_distance_matrix_or_the_embeddings(strategy: str, metric: str) -> None:
    loss = TripletLoss(strategy, distance_metric=metric)
    assert largest_tensor(gradient_function(loss, 512, 1280)) == 512 * 1280
    assert largest_tensor(gradient_function(loss, 512, 64)) == 512 * 512


def test_the_memory_check_sees_a_cube() -> None:
    def cube(identities: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(embeddings[:, None, :] - embeddings[None, :, :]))

    assert largest_tensor(gradient_function(cube, 32, 16)) == 32 * 32 * 16


@every_strategy
def test_one_traced_function_takes_any_batch_size(strategy: str) -> None:
    loss = TripletLoss(strategy)
    function = gradient_function(loss, None, None)
    rng = np.random.default_rng(0)
    for size, instances in ((2, 1), (2, 2), (12, 4), (30, 10), (64, 4)):
        identities = np.arange(size, dtype=np.int32) // instances
        embeddings = rng.normal(size=(size, 6)).astype(np.float32)
        value, gradient = function(identities, embeddings)
        assert gradient.shape == embeddings.shape
        assert float(value) == pytest.approx(float(loss(identities, embeddings)), abs=1e-6)
    assert function.experimental_get_tracing_count() == 1


@every_strategy
def test_half_precision_embeddings_are_compared_in_float32(strategy: str) -> None:
    rng = np.random.default_rng(1)
    # Long vectors: squares of their components overflow float16.
    halves = tf.constant(rng.normal(size=(16, 32)) * 1000.0, tf.float16)
    identities = np.arange(16) // 4
    loss = TripletLoss(strategy)
    with tf.GradientTape() as tape:
        tape.watch(halves)
        value = loss(identities, halves)
    gradient = tape.gradient(value, halves)
    assert value.dtype == tf.float32
    assert gradient.dtype == tf.float16
    assert np.isfinite(gradient.numpy()).all()
    assert float(value) == float(loss(identities, tf.cast(halves, tf.float32)))


@every_strategy
def test_a_global_half_precision_policy_does_not_mix_up_identities(strategy: str) -> None:
    """2049 is not a float16, and 2**24 + 1 is not a float32: as floats they would be their neighbours."""
    embeddings = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    small, large = np.array([0, 0, 1, 1, 2, 2]), 2**24 + np.array([0, 0, 1, 1, 2, 2])
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        loss = TripletLoss(strategy)
        assert float(loss(large, embeddings)) == float(loss(small, embeddings)) > 0.0
    finally:
        keras.config.set_dtype_policy(previous)


def test_keras_trains_with_it() -> None:
    rng = np.random.default_rng(3)
    identities = np.tile(np.repeat(np.arange(4), 4), 4)
    images = rng.normal(size=(4, 12))[identities] + 0.5 * rng.normal(size=(64, 12))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(8)])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=TripletLoss("semi_hard"), jit_compile=False)
    history = model.fit(images, identities, batch_size=16, epochs=8, shuffle=False, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


def test_survives_saving() -> None:
    loss = TripletLoss("semi_hard", margin=0.7, distance_metric="euclidean")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, TripletLoss)
    assert again.get_config() == loss.get_config()
    identities, embeddings = [0, 0, 1, 1], np.random.default_rng(4).normal(size=(4, 3))
    assert float(again(identities, embeddings)) == float(loss(identities, embeddings))


def test_identities_may_come_as_a_column() -> None:
    embeddings = np.random.default_rng(5).normal(size=(4, 3))
    loss = TripletLoss()
    assert float(loss(np.array([[0], [0], [1], [1]]), embeddings)) == float(loss(np.array([0, 0, 1, 1]), embeddings))


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="sample weights"):
        TripletLoss()(np.array([0, 1]), np.ones((2, 3)), sample_weight=np.ones(2))
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        TripletLoss()(np.array([0, 1]), np.ones((2, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"strategy.*hrad.*hard, semi_hard, simple"):
        TripletLoss("hrad")
    with pytest.raises(ValueError, match=r"distance_metric.*manhattan.*cosine, euclidean"):
        TripletLoss(distance_metric="manhattan")
