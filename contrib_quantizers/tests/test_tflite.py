"""TFlite_converter: what its files hold, and how near they are to the float model."""

import dataclasses
import errno
import itertools
import logging
import os
import pathlib

import numpy as np
import pytest
from pydantic import ValidationError
from reidfw_quantizers.tflite import TfliteConverter

from reidfw_core.api import DataError, ModelFormat, StorageError

from .conftest import calibration_of, convolutional, cosine, save

IO_TYPES = ("int8", "uint8", "float")


def quantize(model_file, calibration, folder, **params):
    converter = TfliteConverter(TfliteConverter.Params(**params))
    return converter.quantize_model(model=model_file, calibration=calibration, workdir=folder, export_dir=folder)


def open_file(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter, interpreter.get_input_details()[0], interpreter.get_output_details()[0]


def run(path, images):
    """De-quantized outputs, with quantization written out by hand: real = scale * (integer - zero point)."""
    interpreter, source, sink = open_file(path)
    embeddings = []
    for image in images:
        value = image[np.newaxis]
        if source["dtype"] != np.float32:
            scale, zero = source["quantization"]
            limits = np.iinfo(source["dtype"])
            value = np.clip(np.round(value / scale + zero), limits.min, limits.max).astype(source["dtype"])
        interpreter.set_tensor(source["index"], value)
        interpreter.invoke()
        result = interpreter.get_tensor(sink["index"]).astype(np.float32)
        if sink["dtype"] != np.float32:
            scale, zero = sink["quantization"]
            result = (result - zero) * scale
        embeddings.append(result[0])
    return np.array(embeddings, np.float32)


@pytest.mark.parametrize(("input_type", "output_type"), list(itertools.product(IO_TYPES, IO_TYPES)))
def test_input_and_output_have_the_types_asked_for(
    tiny_model, tiny_file, calibration, images, tmp_path, input_type, output_type
):
    """Each of the nine combinations, checked in the file itself, with embeddings close to the float model's."""
    result = quantize(
        tiny_file, calibration, tmp_path, quantization_input_type=input_type, quantization_output_type=output_type
    )
    _, source, sink = open_file(result.path)
    dtypes = {"int8": np.int8, "uint8": np.uint8, "float": np.float32}
    assert source["dtype"] == dtypes[input_type]
    assert sink["dtype"] == dtypes[output_type]
    assert tuple(source["shape"]) == (1, 32, 16, 3)
    assert result.details["input"]["dtype"] == input_type
    assert result.details["output"]["dtype"] == output_type
    if input_type != "float":
        assert result.details["input"]["scale"] == pytest.approx(source["quantization"][0])
        assert result.details["input"]["zero_point"] == source["quantization"][1]
    assert cosine(run(result.path, images), tiny_model(images).numpy()).min() > 0.995


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_granularity_decides_the_number_of_weight_scales(
    mobilenet_model, mobilenet_file, calibration, images, tmp_path, granularity
):
    result = quantize(mobilenet_file, calibration, tmp_path, granularity=granularity)
    interpreter, _, _ = open_file(result.path)
    most_scales = max(len(tensor["quantization_parameters"]["scales"]) for tensor in interpreter.get_tensor_details())
    assert most_scales == (48 if granularity == "per_channel" else 1)
    assert cosine(run(result.path, images), mobilenet_model(images).numpy()).min() > 0.99


def test_the_result_describes_itself(tiny_file, calibration, tmp_path):
    result = quantize(tiny_file, calibration, tmp_path)
    assert result.path == tmp_path / "quantized_model.tflite"
    assert result.format == TfliteConverter.produces == ModelFormat.parse("tflite/int8")
    assert (result.name, result.input_shape, result.embedding_dim) == ("tiny", (32, 16, 3), 24)
    assert result.details["calibration_images"] == 12
    assert result.details["granularity"] == "per_channel"
    assert result.details["operators"] == {
        "CONV_2D": 2,
        "DEPTHWISE_CONV_2D": 2,
        "DEQUANTIZE": 1,
        "MEAN": 1,
        "QUANTIZE": 1,
    }
    assert result.details["num_operators"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["quantized_model.tflite"]  # nothing else is left behind


def test_a_model_of_the_user_is_inspected_first(tiny_file):
    seen = TfliteConverter().inspect_model(model=dataclasses.replace(tiny_file, format=ModelFormat("keras")))
    assert seen == dataclasses.replace(tiny_file, input_shape=(32, 16, 3), embedding_dim=24)


def test_all_weights_are_integers(tiny_file, calibration, tmp_path):
    """Between the conversions at both ends no tensor is float."""
    result = quantize(tiny_file, calibration, tmp_path, quantization_input_type="int8", quantization_output_type="int8")
    interpreter, _, _ = open_file(result.path)
    assert {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()} <= {"int8", "int32"}


def test_equal_input_gives_equal_bytes(tiny_file, calibration, tmp_path):
    first = quantize(tiny_file, calibration, tmp_path).path.read_bytes()
    assert quantize(tiny_file, calibration, tmp_path).path.read_bytes() == first


@pytest.mark.parametrize("operation", ["sin", "floor"])
def test_an_operator_left_in_float_is_an_error_that_names_it(calibration, tmp_path, operation):
    """The converter itself wraps such an operator in conversions without a word."""
    import keras

    class Elementwise(keras.layers.Layer):
        def call(self, x):
            return getattr(keras.ops, operation)(x)

    with keras.saving.custom_object_scope({"Elementwise": Elementwise}):
        model_file = save(convolutional(Elementwise()), tmp_path / "island.keras")
        with pytest.raises(DataError, match=f"stay in float.*{operation.upper()}"):
            quantize(model_file, calibration, tmp_path)
    assert not (tmp_path / "quantized_model.tflite").exists()


def test_an_operator_unknown_to_tensorflow_lite_is_named(calibration, tmp_path):
    import keras

    class ErrorFunction(keras.layers.Layer):
        def call(self, x):
            return keras.ops.erf(x)

    with keras.saving.custom_object_scope({"ErrorFunction": ErrorFunction}):
        model_file = save(convolutional(ErrorFunction()), tmp_path / "erf.keras")
        with pytest.raises(DataError, match="no operator for Erf"):
            quantize(model_file, calibration, tmp_path)


def test_no_calibration_images(tiny_file, images, tmp_path):
    with pytest.raises(DataError, match="no calibration images"):
        quantize(tiny_file, calibration_of(images[:0]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_calibration_images_of_another_size(tiny_file, images, tmp_path):
    with pytest.raises(DataError, match=r"image 1 .* has shape \(1, 16, 16, 3\)"):
        quantize(tiny_file, calibration_of(images[:, :16]), tmp_path)


def test_a_damaged_calibration_image_is_named_although_it_is_not_the_first(tiny_file, images, tmp_path):
    damaged = images.copy()
    damaged[4, 3, 2, 1] = np.nan
    with pytest.raises(DataError, match=r"Calibration image 5 .* NaN"):
        quantize(tiny_file, calibration_of(damaged), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_is_quantized_up_to_its_embedding(tiny_model, calibration, images, tmp_path, caplog):
    """Float evaluation cuts the head too, so both models of a chain give embeddings."""
    import keras

    features = keras.layers.Dropout(0.2, name="drop")(tiny_model.output)
    classifier = keras.Model(
        tiny_model.input, keras.layers.Dense(7, activation="softmax", name="who")(features), name="classifier"
    )
    with caplog.at_level(logging.INFO):
        result = quantize(save(classifier, tmp_path / "classifier.keras"), calibration, tmp_path)
    assert "embedding taken before drop, who" in caplog.text
    assert result.embedding_dim == 24
    assert cosine(run(result.path, images), tiny_model(images).numpy()).min() > 0.995


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.keras", b"not a model"), ("photo.h5", b"\xff\xd8\xff\xe0 JFIF"), ("empty.keras", b"")],
)
def test_a_file_of_another_kind(tmp_path, tiny_file, calibration, name, content):
    (tmp_path / name).write_bytes(content)
    wrong = dataclasses.replace(tiny_file, path=tmp_path / name)
    with pytest.raises(DataError, match=f"{name} cannot be read as a Keras model"):
        quantize(wrong, calibration, tmp_path)


def test_a_truncated_file(tmp_path, tiny_file, calibration):
    cut = tmp_path / "cut.keras"
    cut.write_bytes(tiny_file.path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"cut.keras cannot be read"):
        quantize(dataclasses.replace(tiny_file, path=cut), calibration, tmp_path)


def test_a_missing_file(tmp_path, tiny_file, calibration):
    with pytest.raises(DataError, match="There is no model file"):
        quantize(dataclasses.replace(tiny_file, path=tmp_path / "gone.keras"), calibration, tmp_path)


def test_a_feature_map_is_no_embedding(tmp_path, tiny_model, calibration):
    import keras

    feature_map = keras.Model(tiny_model.input, tiny_model.layers[-2].output, name="map")
    with pytest.raises(DataError, match=r"gives \(None, 8, 4, 24\)") as caught:
        quantize(save(feature_map, tmp_path / "map.keras"), calibration, tmp_path)
    assert "GlobalAveragePooling2D" in caught.value.hint


def test_optimize_says_where_it_has_no_effect(tiny_file, calibration, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        quantize(tiny_file, calibration, tmp_path, optimize=True)
    assert "optimize has no effect with granularity per_channel" in caplog.text
    assert not (tmp_path / "optimized_model.keras").exists()


def test_unused_attributes_are_told_once(tiny_file, calibration, tmp_path, caplog):
    options = {"target_opset": 13, "onnx_extra_options": {"CalibMovingAverage": True}, "operating_mode": "default"}
    with caplog.at_level(logging.INFO):
        quantize(tiny_file, calibration, tmp_path, **options)
    [line] = [record.getMessage() for record in caplog.records if "have no effect" in record.getMessage()]
    assert line == (
        "These attributes of quantization have no effect: operating_mode (accepted for compatibility), "
        "target_opset (for onnx_quantizer), onnx_extra_options (for onnx_quantizer)"
    )
    assert TfliteConverter.Params.model_validate({"granularity": "per_tensor", "target_opset": None}).unused() == {}


def test_the_converter_writes_nothing_to_the_terminal(tiny_file, calibration, tmp_path, capfd):
    quantize(tiny_file, calibration, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_section_of_the_users_document_is_accepted():
    """Attributes for the other quantizer may stand in the section; words may be in any case."""
    params = TfliteConverter.Params.model_validate(
        {
            "quantization_type": "ptq",
            "quantization_input_type": "Float",
            "quantization_output_type": "uint8",
            "granularity": "per_tensor",
            "optimize": True,
            "target_opset": 17,
            "onnx_extra_options": {"CalibMovingAverage": True},
            "onnx_quant_parameters": {"nodes_to_exclude": None},
            "operating_mode": None,
        }
    )
    assert params.quantization_input_type == "float"
    assert params.onnx_extra_options.CalibMovingAverage is True


def test_an_empty_attribute_has_its_default():
    assert TfliteConverter.Params.model_validate(dict.fromkeys(TfliteConverter.Params.model_fields)) == (
        TfliteConverter.Params()
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"granularity": "per_layer"},
        {"activation_clipping": "percent"},
        {"quantization_type": "QTA"},
        {"quantization_input_type": "int16"},
        {"target_opset": 7},
        {"onnx_quant_parameters": {"calibrate_method": "Median"}},
        {"onnx_extra_options": {"SmoothQuantAlpha": 2}},
        {"number_of_bits": 8},
    ],
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        TfliteConverter.Params.model_validate(wrong)


def test_a_full_disk_leaves_nothing_behind(tiny_file, calibration, tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        quantize(tiny_file, calibration, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_image_is_enough(tiny_file, images, tmp_path):
    options = {"activation_clipping": "entropy", "bias_correction": True}
    result = quantize(tiny_file, calibration_of(images[:1]), tmp_path, **options)
    assert result.details["calibration_images"] == 1


def test_a_model_with_two_outputs(tiny_model, tiny_file, calibration, tmp_path):
    import keras

    two = keras.Model(tiny_model.input, [tiny_model.output, keras.layers.ReLU()(tiny_model.output)], name="two")
    with pytest.raises(DataError, match="1 inputs and 2 outputs; a ReID model has one each"):
        quantize(save(two, tmp_path / "two.keras"), calibration, tmp_path)


def test_a_lambda_layer_is_refused(tiny_model, calibration, tmp_path):
    """It would run any Python code that somebody has put into the file."""
    import keras

    doubled = keras.layers.Lambda(lambda values: values * 2, output_shape=(24,))(tiny_model.output)
    with pytest.raises(DataError, match="Lambda"):
        quantize(save(keras.Model(tiny_model.input, doubled), tmp_path / "lambda.keras"), calibration, tmp_path)
