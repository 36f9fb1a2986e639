"""Single layers at a higher precision: the rest stays as it is, ranges too, and every subset runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reidfw_quantizers.onnx_qdq import OnnxQuantizer
from reidfw_quantizers.tflite import TfliteConverter

from reidfw_core.api import DataError, ModelFile, QuantizedLayer

pytestmark = pytest.mark.slow


def tflite_embeddings(path: Path, images: np.ndarray) -> np.ndarray:
    """What LiteRT computes; input and output of the file are float."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    found = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    return np.concatenate(found)


def onnx_embeddings(path: Path, images: np.ndarray) -> np.ndarray:
    import onnx
    import onnxruntime

    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"image": images.transpose(0, 3, 1, 2)})[0]
    return found


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@dataclasses.dataclass
class Opened:
    """A quantized network, opened, and how to run its variants."""

    model: ModelFile
    variants: object
    embed: object
    images: np.ndarray
    expected: np.ndarray

    def error(self, path: Path) -> float:
        return relative_error(self.embed(path, self.images), self.expected)

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.variants.layers]


def opened(component, float_file: ModelFile, keras_model, calibration, images, folder: Path) -> Opened:
    model = component.quantize_model(float_file, calibration, folder, folder)
    arguments = {"float_model": float_file, "quantized_model": model}
    if isinstance(component, OnnxQuantizer):
        return Opened(
            model,
            component.open_variants(**arguments, workdir=folder),
            onnx_embeddings,
            images,
            keras_model(images).numpy(),
        )
    return Opened(model, component.open_variants(**arguments), tflite_embeddings, images, keras_model(images).numpy())


@pytest.fixture(scope="module")
def tflite(mobilenet_model, mobilenet_file, calibration, images, tmp_path_factory) -> Opened:
    component = TfliteConverter(TfliteConverter.Params(quantization_input_type="float", granularity="per_tensor"))
    folder = tmp_path_factory.mktemp("tflite")
    return opened(component, mobilenet_file, mobilenet_model, calibration, images, folder)


@pytest.fixture(scope="module")
def onnx(mobilenet_model, mobilenet_file, calibration, images, tmp_path_factory) -> Opened:
    pytest.importorskip("onnxruntime")
    component = OnnxQuantizer(OnnxQuantizer.Params(granularity="per_tensor"))
    folder = tmp_path_factory.mktemp("onnx")
    return opened(component, mobilenet_file, mobilenet_model, calibration, images, folder)


@pytest.fixture(params=["tflite", "onnx"])
def either(request) -> Opened:
    return request.getfixturevalue(request.param)


def test_layers_are_told_in_order_with_their_sizes(either: Opened) -> None:
    layers = either.variants.layers
    assert len({layer.name for layer in layers}) == len(layers) >= 9
    assert all(isinstance(layer, QuantizedLayer) for layer in layers)
    assert either.variants.precisions[-1] == "float"
    assert all("float" in layer.precisions for layer in layers)
    assert layers[-1].name == "embedding"
    convolutions = [layer for layer in layers if "CONV" in layer.operator.upper()]
    assert len(convolutions) == 7
    assert all(layer.float_bytes > layer.quantized_bytes > 0 for layer in convolutions)
    assert convolutions[0].float_bytes == 4 * (3 * 3 * 3 * 8 + 8)


def test_nothing_kept_is_the_model_itself(either: Opened, tmp_path) -> None:
    for precision in either.variants.precisions:
        variant = either.variants.write_variant((), precision, tmp_path / either.model.path.name)
        np.testing.assert_array_equal(
            either.embed(variant.path, either.images), either.embed(either.model.path, either.images)
        )
        assert variant.format == either.model.format
        assert "kept_layers" not in variant.details


def test_everything_kept_is_the_float_model(either: Opened, tmp_path) -> None:
    variant = either.variants.write_variant(either.names, "float", tmp_path / either.model.path.name)
    # a TensorFlow Lite file still rounds its input
    assert either.error(variant.path) < 0.5 * either.error(either.model.path)
    assert either.error(variant.path) < (1e-5 if variant.format.container == "onnx" else 2e-3)
    assert str(variant.format).endswith("int8_float")
    assert variant.format.is_integer, "reports must not take it for the float model"
    assert variant.details["kept_layers"] == either.names
    assert variant.details["kept_at"] == "float"


def test_a_file_may_be_overwritten_by_its_variant(tflite: Opened, tmp_path) -> None:
    from reidfw_quantizers._tflite.variants import TfliteVariants

    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.model.path.read_bytes())
    again = TfliteVariants(dataclasses.replace(tflite.model, path=path), _reference(tflite))
    again.write_variant(tflite.names[:2], "float", path)
    before = tflite_embeddings(tflite.model.path, tflite.images)
    assert not np.array_equal(tflite_embeddings(path, tflite.images), before)
    again.write_variant((), "float", path)
    np.testing.assert_array_equal(tflite_embeddings(path, tflite.images), before)


def _reference(tflite: Opened) -> bytes:
    from reidfw_quantizers._tflite.variants import _packed

    return _packed(tflite.variants._reference)


def test_what_is_not_kept_stays_bit_for_bit(tflite: Opened, tmp_path) -> None:
    """A layer kept at the end leaves all tensors before it as they were, one at the beginning all weights behind it."""
    from reidfw_quantizers._tflite.inspection import read_graph

    before = read_graph(tflite.model.path.read_bytes())
    variant = tflite.variants.write_variant(tflite.names[3:5], "float", tmp_path / "v.tflite")
    after = read_graph(variant.path.read_bytes())
    kept = [operator for operator in after.float_operators() if not operator.startswith(("QUANTIZE", "DEQUANTIZE"))]
    assert len(kept) == 2
    assert after.operator_counts()["QUANTIZE"] == before.operator_counts()["QUANTIZE"] + 1
    assert after.operator_counts()["DEQUANTIZE"] == before.operator_counts()["DEQUANTIZE"] + 1
    old = {tensor.name: (tensor.dtype, tensor.scales, tensor.zero_points) for tensor in before.tensors}
    new = {tensor.name: (tensor.dtype, tensor.scales, tensor.zero_points) for tensor in after.tensors}
    same = [name for name in old if new.get(name) == old[name]]
    assert len(same) >= len(old) - 2 * 3 - 1, "only weights, bias and output of the kept layers may differ"
    assert [tensor.name for tensor in after.tensors if tensor.name.endswith("_int8")], "int8 again behind them"


def test_sixteen_bits_take_the_rounding_of_activations_away(calibration, images, tmp_path) -> None:
    """With weights that 8 bits hold exactly, all that int8 loses is in the activations."""
    import keras
    from keras import layers

    from .conftest import save

    keras.utils.set_random_seed(4)
    image = x = keras.Input((32, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)])
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(layers.AveragePooling2D(1)(x))])
    x = layers.Conv2D(8, 3, strides=2, activation="relu6")(x)
    model = keras.Model(image, layers.Dense(6)(layers.GlobalAveragePooling2D()(x)), name="exact")
    for variable in model.weights:
        step = np.abs(variable.numpy()).max() / 127 or 1.0
        variable.assign(np.rint(variable.numpy() / step) * step)
    component = TfliteConverter(TfliteConverter.Params(quantization_input_type="float", granularity="per_tensor"))
    network = opened(component, save(model, tmp_path / "exact.keras"), model, calibration, images, tmp_path)
    able = [layer for layer in network.variants.layers if "int16" in layer.precisions]
    assert {layer.operator for layer in able} >= {
        "ADD",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "LOGISTIC",
        "MEAN",
        "MUL",
    }
    variant = network.variants.write_variant(network.names, "int16", tmp_path / "v.tflite")
    assert len(variant.details["kept_layers"]) == len(able)
    in_float = network.variants.write_variant(variant.details["kept_layers"], "float", tmp_path / "f.tflite")
    expected = tflite_embeddings(in_float.path, images)
    assert relative_error(tflite_embeddings(network.model.path, images), expected) > 3e-3
    assert relative_error(tflite_embeddings(variant.path, images), expected) < 5e-4


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.sets(st.integers(0, 8)), precision=st.sampled_from(["int16", "float"]))
def test_every_subset_runs_in_litert(tflite: Opened, tmp_path_factory, chosen, precision) -> None:
    path = tmp_path_factory.mktemp("subset") / "v.tflite"
    variant = tflite.variants.write_variant([tflite.names[one] for one in chosen], precision, path)
    assert len(variant.details.get("kept_layers", ())) == len(chosen)
    assert tflite.error(path) < 2 * tflite.error(tflite.model.path)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.sets(st.integers(0, 8)))
def test_every_subset_runs_in_onnx_runtime(onnx: Opened, tmp_path_factory, chosen) -> None:
    path = tmp_path_factory.mktemp("subset") / "v.onnx"
    onnx.variants.write_variant([onnx.names[one] for one in chosen], "float", path)
    assert onnx.error(path) < 2 * onnx.error(onnx.model.path)


def test_an_equalised_model_is_compared_with_its_own_float_form(
    mobilenet_model, mobilenet_file, calibration, images, tmp_path
) -> None:
    """With ``optimize`` the float weights are those of the rewritten model: mixed with others it would be spoilt."""
    component = TfliteConverter(
        TfliteConverter.Params(quantization_input_type="float", granularity="per_tensor", optimize=True)
    )
    network = opened(component, mobilenet_file, mobilenet_model, calibration, images, tmp_path)
    variant = network.variants.write_variant(network.names[::2], "float", tmp_path / "v.tflite")
    assert network.error(variant.path) < 0.1


def test_models_that_do_not_belong_together(tflite: Opened, tmp_path) -> None:
    import keras
    from keras import layers

    from .conftest import save

    image = keras.Input((32, 16, 3))
    stranger = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, name="other")(image)))
    with pytest.raises(DataError, match="shares no operator"):
        TfliteConverter().open_variants(
            float_model=save(stranger, tmp_path / "stranger.keras"), quantized_model=tflite.model
        )
    with pytest.raises(ValueError, match="int16, float"):
        tflite.variants.write_variant((), "int4", tmp_path / "v.tflite")
