"""Quantization-aware training: what is trained computes as the integer model does, and passes its gradients on."""

import dataclasses
import logging

import numpy as np
import pytest
from pydantic import ValidationError
from reidfw_quantizers.onnx_qdq import OnnxQuantizer
from reidfw_quantizers.tflite import TfliteConverter

from reidfw_core.api import DataError

from .conftest import calibration_of, save
from .test_onnx_qdq import run as run_onnx
from .test_tflite import open_file
from .test_tflite import run as run_tflite

pytestmark = pytest.mark.slow

QUANTIZERS = {"tflite": (TfliteConverter, run_tflite), "onnx": (OnnxQuantizer, run_onnx)}


def signal_to_noise_db(wanted, found):
    return 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - found) ** 2))


def prepared(model_file, calibration, quantizer=TfliteConverter, **params):
    return quantizer(quantizer.Params(quantization_type="QAT", **params)).prepare_training(model_file, calibration)


def narrowed(model):
    """The model with ranges of activations that calibration would never give: a quarter of every layer's."""
    for layer in model.layers:
        if getattr(layer, "source", "") and layer.follows:
            layer.high.assign(layer.high / 4)
    return model


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_integer_model_has_the_weights_and_ranges_that_were_trained(
    mobilenet_model, mobilenet_file, calibration, images, tmp_path, name, granularity
):
    """Ranges far from those of the float model: the integer model follows the trained one, not the float one."""
    if name == "onnx":
        pytest.importorskip("tf2onnx")
    quantizer, run = QUANTIZERS[name]
    trained = narrowed(prepared(mobilenet_file, calibration, quantizer, granularity=granularity))
    expected = trained.predict(images, verbose=0)
    assert signal_to_noise_db(mobilenet_model.predict(images, verbose=0), expected) < 10
    result = quantizer(quantizer.Params(quantization_type="QAT", granularity=granularity)).quantize_model(
        model=save(trained, tmp_path / "trained.keras"), calibration=calibration, workdir=tmp_path, export_dir=tmp_path
    )
    assert result.details["quantization_type"] == "QAT"
    assert result.format == quantizer.produces
    assert signal_to_noise_db(expected, run(result.path, images)) > 30


def test_every_trained_range_becomes_the_scale_of_a_tensor(mobilenet_file, calibration, tmp_path):
    from reidfw_quantizers._keras.fake_quantization import trained_ranges

    trained = narrowed(prepared(mobilenet_file, calibration))
    model_file = save(trained, tmp_path / "trained.keras")
    result = TfliteConverter(TfliteConverter.Params()).quantize_model(model_file, calibration, tmp_path, tmp_path)
    interpreter, _, _ = open_file(result.path)
    scales = {round(float(tensor["quantization"][0]), 7) for tensor in interpreter.get_tensor_details()}
    ranges = trained_ranges(trained)
    assert len(ranges.layers) == 8  # seven ReLUs and the sum; the embedding has its own
    for low, high in ranges.layers.values():
        assert round((high - low) / 255, 7) in scales


def test_without_rounding_it_is_the_given_model(mobilenet_model, mobilenet_file, calibration, images):
    from reidfw_quantizers._keras.fake_quantization import without_fake_quantization

    plain = without_fake_quantization(prepared(mobilenet_file, calibration))
    np.testing.assert_allclose(plain(images), mobilenet_model(images), rtol=1e-4, atol=1e-4)
    names = [layer.name for layer in plain.layers]
    assert len(set(names)) == len(names)


def test_a_saved_model_opens_as_it_was(tiny_file, calibration, images, tmp_path):
    from reidfw_core.api import load_embedding_model

    trained = narrowed(prepared(tiny_file, calibration))
    opened = load_embedding_model(save(trained, tmp_path / "trained.keras").path)
    np.testing.assert_array_equal(opened.predict(images, verbose=0), trained.predict(images, verbose=0))


def test_a_trained_model_can_be_trained_again_from_its_float_weights(tiny_file, calibration, images, tmp_path):
    once = narrowed(prepared(tiny_file, calibration))
    twice = prepared(save(once, tmp_path / "once.keras"), calibration)
    np.testing.assert_array_equal(
        twice.predict(images, verbose=0), prepared(tiny_file, calibration).predict(images, verbose=0)
    )


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D", "Dense"])
def test_weights_are_rounded_to_127_steps_and_gradients_pass_straight_through(kind, per_channel):
    """By hand: scale is the largest weight over 127, and the output is linear in the weights."""
    import keras
    import tensorflow as tf
    from reidfw_quantizers._keras.fake_quantization import RoundedWeights

    rng = np.random.default_rng(4)
    inner = (
        keras.layers.Dense(5)
        if kind == "Dense"
        else getattr(keras.layers, kind)(
            kernel_size=3, **({"filters": 5} if kind == "Conv2D" else {"depth_multiplier": 2})
        )
    )
    layer = RoundedWeights(inner, per_channel)
    values = rng.normal(size=(2, 4) if kind == "Dense" else (2, 6, 6, 4)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(values))
    gradient = tape.gradient(loss, layer.trainable_variables)
    kernel = np.asarray(inner.kernel)
    axes = {"Conv2D": (0, 1, 2), "DepthwiseConv2D": (0, 1), "Dense": (0,)}[kind] if per_channel else None
    scale = np.abs(kernel).max(axes, keepdims=True) / 127
    rounded = np.asarray(layer.rounded_kernel())
    np.testing.assert_allclose(rounded, np.round(kernel / scale) * scale, atol=1e-6)
    assert np.abs(rounded - kernel).max() > 0
    with tf.GradientTape() as tape:
        plain = tf.reduce_sum(inner(values))
    for one, other in zip(gradient, tape.gradient(plain, inner.trainable_variables), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_ranges_follow_the_batches_of_a_training_and_hold_zero(images):
    import tensorflow as tf
    from reidfw_quantizers._keras.fake_quantization import RANGE_MOMENTUM, RoundedValues

    layer, fixed = (RoundedValues("x", -1.0, 2.0, follows) for follows in (True, False))
    batch = tf.constant([[0.5, 4.0]])
    for one in (layer, fixed):
        one(batch, training=False)
    assert (float(layer.low), float(layer.high)) == (-1.0, 2.0)
    for one in (layer, fixed):
        one(batch, training=True)
    assert float(layer.low) == pytest.approx(-RANGE_MOMENTUM)  # towards zero, not towards 0.5
    assert float(layer.high) == pytest.approx(2 * RANGE_MOMENTUM + 4 * (1 - RANGE_MOMENTUM))
    assert (float(fixed.low), float(fixed.high)) == (-1.0, 2.0)


def test_gradients_reach_every_weight_and_nothing_else_is_trained(mobilenet_file, calibration, images):
    import tensorflow as tf

    model = prepared(mobilenet_file, calibration)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == 2 * 7  # kernel and bias of each convolution; batch normalisation is folded
    assert all(np.isfinite(gradient).all() and np.abs(gradient).max() > 0 for gradient in gradients)


def test_optimize_equalises_before_training(mobilenet_file, calibration, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        model = prepared(mobilenet_file, calibration, granularity="per_tensor", optimize=True)
        assert any(layer.name.endswith("_clip") for layer in model.layers)
        prepared(mobilenet_file, calibration, granularity="per_channel", optimize=True)
    assert "optimize has no effect with granularity per_channel" in caplog.text
    params = TfliteConverter.Params(quantization_type="QAT", granularity="per_tensor", optimize=True)
    result = TfliteConverter(params).quantize_model(
        save(model, tmp_path / "trained.keras"), calibration, tmp_path, tmp_path
    )
    assert not (tmp_path / "optimized_model.keras").exists()
    assert "optimized_model" not in result.details


def test_another_granularity_than_that_of_the_training_is_warned_of(tiny_file, calibration, tmp_path, caplog):
    trained = save(prepared(tiny_file, calibration, granularity="per_channel"), tmp_path / "trained.keras")
    converter = TfliteConverter(TfliteConverter.Params(granularity="per_tensor"))
    with caplog.at_level(logging.WARNING):
        converter.quantize_model(trained, calibration, tmp_path, tmp_path)
    assert "trained.keras was trained with per_channel weights; with per_tensor ones" in caplog.text


def test_errors_of_layers_are_those_against_the_trained_float_model(mobilenet_file, calibration, images, tmp_path):
    trained = save(prepared(mobilenet_file, calibration), tmp_path / "trained.keras")
    converter = TfliteConverter(TfliteConverter.Params(quantization_type="QAT"))
    result = converter.quantize_model(trained, calibration, tmp_path, tmp_path)
    layers = converter.layer_errors(trained, result, images[:2])
    assert len(layers) == result.details["num_operators"] - 2  # but for the conversions at both ends
    assert all(layer.signal_to_noise_db > 15 for layer in layers)


def test_a_network_without_weights_cannot_be_trained_so(calibration, tmp_path):
    import keras

    image = keras.Input((32, 16, 3))
    pooled = save(keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)), tmp_path / "pooled.keras")
    with pytest.raises(DataError, match="no convolution or dense layer"):
        prepared(pooled, calibration)


def test_no_calibration_images(tiny_file, images):
    with pytest.raises(DataError, match="no calibration images"):
        prepared(tiny_file, calibration_of(images[:0]))


@pytest.mark.parametrize(
    ("section", "option", "message"),
    [
        ("onnx_quant_parameters", {"activType": "Int16"}, "activType is Int16, .* trains for Int8 or UInt8"),
        ("onnx_quant_parameters", {"weightType": "Int4"}, "weightType is Int4, .* trains for Int8"),
        ("onnx_extra_options", {"ActivationSymmetric": True}, "ActivationSymmetric is True, .* trains for False"),
    ],
)
def test_number_formats_that_are_not_trained_for_are_refused(section, option, message):
    with pytest.raises(ValidationError, match=message):
        OnnxQuantizer.Params(quantization_type="QAT", **{section: option})
    OnnxQuantizer.Params(quantization_type="PTQ", **{section: option})


def test_ranges_of_an_image_are_its_extremes(tiny_file, images):
    from reidfw_quantizers._keras.fake_quantization import trained_ranges

    calibration = dataclasses.replace(calibration_of(images), num_images=len(images))
    ranges = trained_ranges(prepared(tiny_file, calibration))
    assert ranges.image == (pytest.approx(images.min()), pytest.approx(images.max()))
