"""Pooling, projection, BN-neck, unit length and cosine classifier: what they compute, and that files keep them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from reidfw_core._keras.complexity import complexity
from reidfw_core._keras.files import load_embedding_model
from reidfw_core._keras.head import COSINE_SCALE, Head
from reidfw_core._keras.network import assemble_network, augmented_model, network_of_augmented_model
from reidfw_core._keras.precision import in_precision
from reidfw_core._keras.trainer import LossTerm, ReidTrainer
from reidfw_core.errors import DataError

HEADS = {
    "plain": Head(),
    "max": Head(pooling="max"),
    "gem": Head(pooling="gem"),
    "gem of five": Head(pooling="gem", gem_power=5),
    "projection": Head(embedding_size=6),
    "neck": Head(bn_neck=True),
    "unit length": Head(l2_normalized=True),
    "cosine": Head(classifier="cosine", dropout=0.2),
    "everything": Head(
        pooling="gem", embedding_size=6, bn_neck=True, l2_normalized=True, dropout=0.3, classifier="cosine"
    ),
}
every_head = pytest.mark.parametrize("name", HEADS)


def features() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(10, 3, strides=2, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    return keras.Model(image, keras.layers.ReLU(name="relu")(x), name="features")


def images(count: int = 16) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 8, 8, 3)).astype(np.float32)


def network(name: str):
    made = assemble_network(features(), 4, HEADS[name], seed=1)
    for layer in made.training.layers:
        if layer.name == "bn_neck":
            layer.moving_mean.assign(tf.random.stateless_normal(layer.moving_mean.shape, [1, 2]))
            layer.moving_variance.assign(tf.random.stateless_uniform(layer.moving_variance.shape, [3, 4], 0.5, 2))
            layer.gamma.assign(tf.random.stateless_uniform(layer.gamma.shape, [5, 6], 0.5, 2))
    return made


@pytest.mark.parametrize(("name", "power"), [("gem", 3), ("gem of five", 5)])
def test_generalised_mean_is_the_papers(name: str, power: int) -> None:
    maps = features()(images(), training=False).numpy().astype(np.float64)
    expected = np.mean(np.maximum(maps, 1e-3) ** power, axis=(1, 2)) ** (1 / power)
    np.testing.assert_allclose(network(name).embedding(images()), expected, rtol=1e-4)


def test_pooling_by_the_maximum() -> None:
    maps = features()(images(), training=False).numpy()
    np.testing.assert_allclose(network("max").embedding(images()), maps.max((1, 2)), rtol=1e-5)


def test_the_neck_stands_between_metric_losses_and_classifier() -> None:
    made = network("neck")
    metric, logits = made.training(images(), training=False)
    maps = features()(images(), training=False).numpy()
    np.testing.assert_allclose(metric, maps.mean((1, 2)), rtol=1e-4, atol=1e-6)
    neck, classifier = made.training.get_layer("bn_neck"), made.training.get_layer("logits")
    embedding = made.embedding(images()).numpy()
    np.testing.assert_allclose(embedding, neck(metric, training=False), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, classifier(embedding), rtol=1e-4, atol=1e-5)
    assert neck.beta is None


def test_unit_length_concerns_the_embedding_only() -> None:
    made = network("unit length")
    np.testing.assert_allclose(np.linalg.norm(made.embedding(images()), axis=1), 1, rtol=1e-5)
    metric, logits = made.training(images(), training=False)
    np.testing.assert_allclose(logits, made.training.get_layer("logits")(metric), rtol=1e-4, atol=1e-5)
    assert not np.allclose(np.linalg.norm(metric, axis=1), 1)


def test_the_cosine_classifier_gives_cosines() -> None:
    made = network("cosine")
    metric, logits = made.training(images(), training=False)
    kernel = made.training.get_layer("logits").kernel.numpy()
    rows = np.asarray(metric)
    cosines = (rows @ kernel) / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(kernel, axis=0)
    assert made.cosine_scale == COSINE_SCALE
    np.testing.assert_allclose(np.asarray(logits) / COSINE_SCALE, cosines, rtol=1e-4, atol=1e-5)
    term = LossTerm("x", 1.0, "cosines", lambda _, given: tf.reduce_sum(given), COSINE_SCALE)
    assert float(term.value(None, metric, logits)) == pytest.approx(cosines.sum(), rel=1e-4)


def test_a_vector_is_not_pooled() -> None:
    image = keras.Input((8, 8, 3))
    flat = keras.Model(image, keras.layers.Flatten()(image), name="flat")
    assert assemble_network(flat, 4, Head(embedding_size=5), seed=0).embedding_dim == 5
    with pytest.raises(DataError, match=r"model\.pooling is gem"):
        assemble_network(flat, 4, Head(pooling="gem"), seed=0)


@every_head
def test_files_hold_the_whole_network(name: str, tmp_path: Path) -> None:
    made = network(name)
    augmented_model(made, 1 / 127.5, -1, []).save(tmp_path / "last.keras")
    again = network_of_augmented_model(keras.saving.load_model(tmp_path / "last.keras"))
    assert again.cosine_scale == made.cosine_scale
    for one, same in zip(made.training(images()), again.training(images()), strict=True):
        np.testing.assert_allclose(one, same, atol=1e-5)
    np.testing.assert_allclose(made.embedding(images()), again.embedding(images()), atol=1e-5)
    made.embedding.save(tmp_path / "best.keras")
    np.testing.assert_allclose(
        load_embedding_model(tmp_path / "best.keras")(images()), made.embedding(images()), atol=1e-5
    )
    made.classification.save(tmp_path / "classes.keras")
    cut = load_embedding_model(tmp_path / "classes.keras")(images()).numpy()
    expected = made.embedding(images()).numpy()
    if HEADS[name].l2_normalized:  # a classifier works on the embedding of any length
        cut = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-5)


@pytest.mark.slow
@every_head
def test_heads_survive_int8(name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    made, given = network(name), images(64)
    converter = tf.lite.TFLiteConverter.from_keras_model(made.embedding)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in given)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    place, got = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    embeddings = []
    for image in given:
        interpreter.set_tensor(place, image[None])
        interpreter.invoke()
        embeddings.append(interpreter.get_tensor(got)[0])
    expected = made.embedding(given).numpy()
    cosines = np.sum(embeddings * expected, 1) / (np.linalg.norm(embeddings, axis=1) * np.linalg.norm(expected, axis=1))
    assert cosines.mean() > 0.97
    assert cosines.min() > 0.85  # high powers of the generalised mean cost most


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_computes_nearly_the_same_and_keeps_float32_weights(policy: str) -> None:
    made = network("everything")
    twin = in_precision(made.training, policy)
    assert twin.get_layer("conv").compute_dtype == policy.removeprefix("mixed_")
    assert twin.get_layer("logits").compute_dtype == "float32"
    assert all(variable.dtype in ("float32", "uint32", "int64") for variable in twin.variables)
    for one, other in zip(made.training(images(), training=False), twin(images(), training=False), strict=True):
        np.testing.assert_allclose(one, other, atol=0.03 * float(np.abs(one).max()))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_training_in_half_precision_moves_the_float32_network(policy: str) -> None:
    made = network("neck")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer = ReidTrainer(made, [LossTerm("ce", 1.0, "logits", loss)], 0.5, None, policy)
    optimizer = keras.optimizers.Adam(0.01)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    trainer.compile(optimizer=optimizer, jit_compile=False)
    before = made.training.get_layer("conv").kernel.numpy().copy()
    trainer.fit(images(), np.arange(16) % 4, batch_size=16, epochs=3, verbose=0)
    np.testing.assert_array_equal(made.training.get_layer("conv").kernel, before)
    with trainer.averaged_weights():
        assert not np.array_equal(made.training.get_layer("conv").kernel, before)


def test_operations_are_counted_by_hand() -> None:
    image = keras.Input((8, 6, 3))
    conv = keras.layers.Conv2D(10, 3, strides=2, padding="same")
    x = keras.layers.DepthwiseConv2D(3, padding="same")(conv(image))
    x = keras.layers.Add()([conv(image), x])
    x = keras.layers.Dense(7)(keras.layers.GlobalAveragePooling2D()(x))
    found = complexity(keras.Model(image, x))
    assert found.macs == 2 * (4 * 3 * 10 * 27) + 4 * 3 * 10 * 9 + 10 * 7
    assert found.largest_tensor == 8 * 6 * 3
