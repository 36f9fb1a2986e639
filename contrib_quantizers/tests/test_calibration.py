"""Calibration and bias correction of TensorFlow Lite files."""

import dataclasses
import logging
import os

import numpy as np
import pytest
from reidfw_quantizers.tflite import TfliteConverter

from reidfw_core.api import CalibrationSet, DataError

from .conftest import calibration_of, cosine, save
from .test_tflite import quantize, run


@pytest.fixture(scope="module")
def sums_model():
    """Gated streams that are summed up, as in OSNet: TensorFlow Lite writes the sums over their summands."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    image = x = keras.Input((32, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    streams = []
    for _ in range(3):
        # no bias, and so the same zeros in all three, which the converter stores once
        y = layers.Conv2D(8, 1, use_bias=False)(x)
        y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(y)
        shares = layers.Conv2D(8, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
        streams.append(layers.Multiply()([y, shares]))
    x = layers.Conv2D(12, 3, groups=4, activation="relu")(layers.Add()(streams))
    return keras.Model(image, layers.Dense(6, use_bias=False)(layers.GlobalAveragePooling2D()(x)), name="sums")


@pytest.fixture(scope="module")
def sums_file(sums_model, tmp_path_factory):
    return save(sums_model, tmp_path_factory.mktemp("sums") / "sums.keras")


def calibrated(model, images, clipping="none"):
    """Opened float file with ranges, and the float file that it was made from."""
    from reidfw_quantizers._tflite.calibration import calibrate
    from reidfw_quantizers._tflite.conversion import convert_to_float
    from tensorflow.lite.tools import flatbuffer_utils

    content = convert_to_float(model)
    return flatbuffer_utils.convert_bytearray_to_object(calibrate(content, images[:, np.newaxis], clipping)), content


def test_the_range_of_a_summand_is_not_that_of_the_sum(sums_model, images):
    """TensorFlow's own calibrator reads a summand after the sum was written over it."""
    import keras

    products = [layer.output for layer in sums_model.layers if isinstance(layer, keras.layers.Multiply)]
    truth = sorted(float(values.max()) for values in keras.Model(sums_model.input, products).predict(images, verbose=0))
    model, _ = calibrated(sums_model, images)
    graph = model.subgraphs[0]
    found = sorted(
        float(graph.tensors[operator.outputs[0]].quantization.max[0])
        for operator in graph.operators
        if b"/multiply" in graph.tensors[operator.outputs[0]].name.split(b";")[0]
    )
    np.testing.assert_allclose(found, truth, rtol=1e-4)


@pytest.mark.parametrize("clipping", ["mse", "entropy"])
def test_clipping_narrows_ranges_but_not_the_images(mobilenet_model, images, clipping):
    def limits(clipping):
        model, _ = calibrated(mobilenet_model, images, clipping)
        graph = model.subgraphs[0]
        made = [graph.tensors[operator.outputs[0]].quantization for operator in graph.operators]
        source = graph.tensors[graph.inputs[0]].quantization
        return np.array([one.max[0] - one.min[0] for one in made]), (source.min[0], source.max[0])

    (before, _), (after, image) = limits("none"), limits(clipping)
    assert image == (-1, 1)
    assert np.all(after <= before + 1e-5)
    assert np.any(after < 0.995 * before)


def test_the_input_takes_a_cameras_bytes_though_no_image_is_black_or_white(
    mobilenet_file, images, calibration, tmp_path
):
    from ai_edge_litert.interpreter import Interpreter

    dull = dataclasses.replace(calibration_of(images * 0.7), pixel_range=(-1.0, 1.0))
    result = quantize(mobilenet_file, dull, tmp_path, quantization_input_type="uint8")
    scale, zero_point = Interpreter(str(result.path)).get_input_details()[0]["quantization"]
    assert scale == pytest.approx(2 / 255)
    assert zero_point in (127, 128)


@pytest.mark.parametrize("clipping", ["percentile", "mse", "entropy"])
def test_clipped_models_stay_near(mobilenet_model, mobilenet_file, calibration, images, tmp_path, clipping):
    result = quantize(mobilenet_file, calibration, tmp_path, activation_clipping=clipping, bias_correction=True)
    assert cosine(run(result.path, images), mobilenet_model(images).numpy()).min() > 0.98


def test_images_are_gone_through_once(tiny_file, images, tmp_path):
    """Whatever is derived from them: ranges, clipping, biases. (The very first one is looked at before.)"""
    given = []

    def one_by_one():
        for number, image in enumerate(images):
            given.append(number)
            yield image[np.newaxis]

    calibration = CalibrationSet(num_images=len(images), images=one_by_one, origin="counted")
    result = quantize(tiny_file, calibration, tmp_path, activation_clipping="mse", bias_correction=True)
    assert given == [0, *range(len(images))]
    assert result.details["calibration_images"] == len(images)


def mean_errors(path, model, images):
    """Absolute error of the mean embedding over the images, for each dimension."""
    return np.abs(run(path, images).mean(0) - model(images).numpy().mean(0))


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_bias_correction_keeps_the_mean(mobilenet_model, mobilenet_file, calibration, images, tmp_path, granularity):
    model, file = mobilenet_model, mobilenet_file
    errors, cosines = [], []
    for correct in (False, True):
        options = {"granularity": granularity, "quantization_output_type": "float", "bias_correction": correct}
        result = quantize(file, calibration, tmp_path, **options)
        errors.append(mean_errors(result.path, model, images).mean())
        cosines.append(cosine(run(result.path, images), model(images).numpy()).mean())
    assert errors[1] < 0.7 * errors[0]
    assert cosines[1] > cosines[0]


def test_every_layer_gets_its_own_correction(sums_model, images):
    """Also with a shared bias, without one, and in groups: their mean sums are the float model's up to rounding."""
    from functools import partial

    from reidfw_quantizers._tflite import bias_correction
    from reidfw_quantizers._tflite.calibration import make_integer, packed
    from tensorflow.lite.tools import flatbuffer_utils

    few = list(images[:, np.newaxis])
    model, _ = calibrated(sums_model, images)
    before = packed(model)
    quantized = partial(make_integer, input_type="int8", output_type="int8", granularity="per_tensor")
    after = quantized(bias_correction.correct_biases(before, quantized, few))

    def sums(content, with_bias):
        opened = flatbuffer_utils.convert_bytearray_to_object(content)
        layers = bias_correction._layers(opened)
        means = bias_correction._mean_windows(content, layers, few)
        result = []
        for layer, windows in zip(layers, means, strict=True):
            bias = 0.0
            if with_bias(layer):
                tensor = opened.subgraphs[0].tensors[layer.operator.inputs[2]]
                scale = (
                    1.0
                    if tensor.quantization is None or tensor.quantization.scale is None
                    else np.asarray(tensor.quantization.scale)
                )
                bias = bias_correction._bias(opened, layer) * scale
            result.append(layer.response(windows) + bias)
        return result

    def has_bias(layer):
        return len(layer.operator.inputs) > 2 and layer.operator.inputs[2] >= 0

    for wanted, found in zip(sums(before, has_bias), sums(after, has_bias), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-3 * max(1, np.abs(wanted).max()))


def test_the_screen_is_not_taken_away(sums_file, images, tmp_path, capfd):
    """A progress bar moves while calibration reads its images, and what is logged is seen; only chatter is not."""

    def one_by_one():
        for image in images:
            os.write(2, b"|")
            yield image[np.newaxis]

    screen = logging.StreamHandler()
    logging.getLogger("reidfw_quantizers").addHandler(screen)
    logging.getLogger("reidfw_quantizers").setLevel(logging.INFO)
    try:
        calibration = CalibrationSet(num_images=len(images), images=one_by_one, origin="counted")
        quantize(sums_file, calibration, tmp_path, bias_correction=True)
    finally:
        logging.getLogger("reidfw_quantizers").removeHandler(screen)
        logging.getLogger("reidfw_quantizers").setLevel(logging.NOTSET)
    seen = capfd.readouterr().err
    assert seen.count("|") == 1 + len(images)
    assert "Biases of 12 layers corrected with 12 images" in seen
    assert len(seen.replace("|", "").splitlines()) == 2, "the second line is the summary"


def test_mistakes_of_reidfw_are_not_blamed_on_the_converter(sums_file, calibration, tmp_path, monkeypatch):
    from reidfw_quantizers._tflite import conversion

    monkeypatch.setattr(conversion, "correct_biases", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quantize(sums_file, calibration, tmp_path, bias_correction=True)


def test_a_model_that_gives_nan_is_named(images, tmp_path, sums_model):
    import keras

    broken = keras.models.clone_model(sums_model)
    broken.set_weights([np.full_like(weight, np.nan) for weight in sums_model.get_weights()])
    with pytest.raises(DataError, match="float model gives NaN or infinity"):
        quantize(save(broken, tmp_path / "broken.keras"), calibration_of(images), tmp_path)
    assert not (tmp_path / "quantized_model.tflite").exists()


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match="activation_clipping"):
        TfliteConverter.Params.model_validate({"activation_clipping": "percent"})
