"""Fused batch normalization: Keras's numbers, Keras's files."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from reidfw_core._keras.batch_norm import fuse_batch_norm

SHAPES = [(8, 12, 6, 16), (8, 2, 1, 64), (2, 16, 8, 4)]


def one_layer(shape, **options) -> keras.Model:
    image = keras.Input(shape[1:])
    layer = keras.layers.BatchNormalization(**{"epsilon": 1e-5, **options})
    model = keras.Model(image, layer(image))
    if layer.center and layer.scale:
        rng = np.random.default_rng(7)
        layer.gamma.assign(rng.uniform(0.5, 2, layer.gamma.shape))
        layer.beta.assign(rng.normal(size=layer.beta.shape))
    return model


def outcome(model: keras.Model, x: np.ndarray, g: np.ndarray):
    image = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(image)
        given = model(image, training=True)
    gradients = tape.gradient(given, [image, *model.trainable_variables], output_gradients=tf.constant(g))
    return [np.asarray(part) for part in (given, *gradients, *model.non_trainable_variables)]


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_gradients_and_statistics_are_those_of_keras(shape):
    rng = np.random.default_rng(0)
    x, g = (3 * rng.normal(size=shape) + 1).astype(np.float32), rng.normal(size=shape).astype(np.float32)
    plain, fused = one_layer(shape), one_layer(shape)
    assert fuse_batch_norm(fused) == 1
    for wanted, got in zip(outcome(plain, x, g), outcome(fused, x, g), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    statistics = fused.layers[-1].moving_variance.numpy()
    np.testing.assert_allclose(statistics, 0.99 + 0.01 * x.reshape(-1, shape[-1]).var(0), rtol=1e-5)


def test_inference_and_frozen_layers_do_not_change():
    shape = SHAPES[0]
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    plain, fused = one_layer(shape), one_layer(shape)
    fuse_batch_norm(fused)
    np.testing.assert_array_equal(fused(x, training=False), plain(x, training=False))
    fused.layers[-1].trainable = plain.layers[-1].trainable = False
    before = fused.get_weights()
    np.testing.assert_array_equal(fused(x, training=True), plain(x, training=True))
    for one, same in zip(before, fused.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


def test_files_and_copies_hold_keras_layers(tmp_path):
    model = one_layer(SHAPES[0])
    fuse_batch_norm(model)
    model.save(tmp_path / "model.keras")
    for copy in (keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert type(copy.layers[-1]) is keras.layers.BatchNormalization
        assert "call" not in vars(copy.layers[-1])


@pytest.mark.parametrize("options", [{"axis": 1}, {"scale": False}, {"center": False}, {"epsilon": 1e-6}])
def test_layers_that_the_kernel_cannot_serve_stay_as_they_are(options):
    assert fuse_batch_norm(one_layer(SHAPES[0], **options)) == 0


def test_half_precision_and_nested_models():
    policy = keras.mixed_precision.global_policy() if hasattr(keras.mixed_precision, "global_policy") else None
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        inner = one_layer(SHAPES[0])
    finally:
        keras.mixed_precision.set_global_policy(policy or "float32")
    image = keras.Input(SHAPES[0][1:])
    outer = keras.Model(image, inner(image))
    assert fuse_batch_norm(outer) == 1
    given = outer(np.random.default_rng(2).normal(size=SHAPES[0]).astype(np.float32), training=True)
    assert given.dtype == tf.bfloat16
    assert np.isfinite(tf.cast(given, tf.float32)).all()


def test_it_trains_inside_fit():
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, use_bias=False)(image))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))))
    fuse_batch_norm(model)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    rng = np.random.default_rng(3)
    labels = np.arange(32) % 2
    images = (rng.normal(size=(32, 8, 8, 3)) + labels[:, None, None, None]).astype(np.float32)
    losses = model.fit(images, labels, batch_size=8, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.layers[2].moving_mean.numpy().any()
