"""onnx_quantizer: its files run in ONNX Runtime, hold integers, and stay near the float model."""

import dataclasses
import errno
import os
import sys
import types

import numpy as np
import pytest
from reidfw_quantizers.onnx_qdq import OnnxQuantizer

from reidfw_core.api import CalibrationSet, DataError, ModelFile, ModelFormat, StorageError, ToolNotFound

from .conftest import calibration_of, cosine

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

pytestmark = pytest.mark.slow


def quantize(model_file, calibration, folder, **params):
    quantizer = OnnxQuantizer(OnnxQuantizer.Params.model_validate(params))
    return quantizer.quantize_model(model=model_file, calibration=calibration, workdir=folder, export_dir=folder)


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    arranged = images.transpose(0, 3, 1, 2) if source.shape[1] == 3 else images
    return session.run(None, {source.name: arranged})[0]


@pytest.fixture(scope="module")
def float_onnx(mobilenet_model, mobilenet_file, tmp_path_factory):
    """The float model as an .onnx file of operator set 15, with NHWC input as other tools write it."""
    import tensorflow as tf
    import tf2onnx

    path = tmp_path_factory.mktemp("onnx") / "other_tool.onnx"
    image = tf.TensorSpec((1, 32, 16, 3), tf.float32, name="pixels")
    tf2onnx.convert.from_function(
        tf.function(lambda pixels: mobilenet_model(pixels), input_signature=[image]),  # noqa: PLW0108
        input_signature=[image],
        opset=15,
        output_path=str(path),
    )
    return dataclasses.replace(mobilenet_file, path=path, format=ModelFormat.parse("onnx/float32"))


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_a_keras_model(mobilenet_model, mobilenet_file, calibration, images, tmp_path, granularity):
    result = quantize(mobilenet_file, calibration, tmp_path, granularity=granularity)
    assert result.path == tmp_path / "thin_mobilenet.onnx"
    assert result.format == OnnxQuantizer.produces
    assert (result.embedding_dim, result.input_shape) == (48, (32, 16, 3))
    assert result.details["calibration_images"] == 12
    assert result.details["float_layers"] == []
    assert [path.name for path in tmp_path.iterdir()] == [result.path.name]
    assert cosine(run(result.path, images), mobilenet_model(images).numpy()).min() > 0.99

    model = onnx.load(result.path)
    onnx.checker.check_model(model)
    integers = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    scale_counts = {
        len(onnx.numpy_helper.to_array(tensor).reshape(-1))
        for tensor in model.graph.initializer
        if tensor.name.endswith("_scale")
    }
    assert len([tensor for tensor in integers if len(tensor.dims) == 4]) == 7
    assert max(scale_counts) == (48 if granularity == "per_channel" else 1)
    [source] = model.graph.input
    assert source.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [dim.dim_param or dim.dim_value for dim in source.type.tensor_type.shape.dim] == ["batch", 3, 32, 16]


@pytest.mark.parametrize("clipping", ["none", "mse"])
def test_the_input_takes_a_cameras_bytes_though_no_image_is_black_or_white(float_onnx, images, tmp_path, clipping):
    dull = dataclasses.replace(calibration_of(images * 0.7), pixel_range=(-1.0, 1.0))
    model = onnx.load(quantize(float_onnx, dull, tmp_path, activation_clipping=clipping).path)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    image = {value.name for value in model.graph.input}
    image |= {node.output[0] for node in model.graph.node if node.op_type == "Transpose" and node.input[0] in image}
    scales = [
        constants[node.input[1]]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in image
    ]
    assert scales == [pytest.approx(2 / 255)]


@pytest.mark.parametrize("target_opset", [13, 17, 21, 27])
def test_the_operator_set_is_the_one_asked_for(tiny_model, tiny_file, calibration, images, tmp_path, target_opset):
    result = quantize(tiny_file, calibration, tmp_path, target_opset=target_opset)
    [opset] = [entry.version for entry in onnx.load(result.path).opset_import if entry.domain in ("", "ai.onnx")]
    assert opset == result.details["opset"] == target_opset
    assert cosine(run(result.path, images), tiny_model(images).numpy()).min() > 0.99


@pytest.mark.parametrize(
    "params",
    [
        {"onnx_quant_parameters": {"calibrate_method": "Entropy"}},
        {"onnx_quant_parameters": {"calibrate_method": "Percentile"}},
        {"onnx_quant_parameters": {"activType": "UInt8", "weightType": "Int8"}},
        {"onnx_extra_options": {"CalibMovingAverage": True}},
        {"onnx_extra_options": {"ActivationSymmetric": True, "QuantizeBias": False}},
    ],
)
def test_options_of_the_calibration(tiny_model, tiny_file, calibration, images, tmp_path, params):
    result = quantize(tiny_file, calibration, tmp_path, **params)
    assert cosine(run(result.path, images), tiny_model(images).numpy()).min() > 0.98


def test_distribution_is_possible_and_warned_of(tiny_model, tiny_file, calibration, images, tmp_path, caplog):
    """It sets ranges for 8-bit floating point, and costs integers a good part of the embedding."""
    result = quantize(tiny_file, calibration, tmp_path, onnx_quant_parameters={"calibrate_method": "Distribution"})
    assert "integers lose much" in caplog.text
    assert cosine(run(result.path, images), tiny_model(images).numpy()).min() > 0.5


def test_optimize_equalises_a_keras_model(mobilenet_model, mobilenet_file, calibration, images, tmp_path):
    """The same rewriting as for TensorFlow Lite; errors of layers are told against the rewritten model."""
    result = quantize(mobilenet_file, calibration, tmp_path, granularity="per_tensor", optimize=True)
    assert result.details["optimized_model"] == "optimized_model.keras"
    assert cosine(run(result.path, images), mobilenet_model(images).numpy()).min() > 0.99
    errors = OnnxQuantizer(OnnxQuantizer.Params(granularity="per_tensor", optimize=True)).layer_errors(
        float_model=mobilenet_file, quantized_model=result, images=images[:2]
    )
    assert min(error.signal_to_noise_db for error in errors) > 15


def test_optimize_has_no_effect_on_an_onnx_file(float_onnx, calibration, tmp_path, caplog):
    quantize(float_onnx, calibration, tmp_path, granularity="per_tensor", optimize=True)
    assert "optimize has no effect on other_tool.onnx" in caplog.text


def test_equal_input_gives_equal_bytes(tiny_file, calibration, tmp_path):
    first = quantize(tiny_file, calibration, tmp_path).path.read_bytes()
    assert quantize(tiny_file, calibration, tmp_path).path.read_bytes() == first


def test_options_change_the_file(tiny_file, calibration, tmp_path):
    """None of them is dropped on the way to ONNX Runtime (which keeps per-channel weights symmetric in any case)."""
    plain = quantize(tiny_file, calibration, tmp_path, granularity="per_tensor").path.read_bytes()
    for params in (
        {"onnx_quant_parameters": {"calibrate_method": "Percentile"}},
        {"onnx_extra_options": {"CalibMovingAverage": True}},
        {"onnx_extra_options": {"ActivationSymmetric": True}},
        {"onnx_extra_options": {"QuantizeBias": False}},
        {"onnx_extra_options": {"WeightSymmetric": False}},
    ):
        changed = quantize(tiny_file, calibration, tmp_path, granularity="per_tensor", **params)
        assert changed.path.read_bytes() != plain, params


def test_a_tensor_with_its_own_settings(tiny_file, calibration, tmp_path):
    override = ["image", {"quant_type": "UInt8", "scale": 0.01, "zero_point": 100}]
    result = quantize(tiny_file, calibration, tmp_path, onnx_extra_options={"activations_tensor_override": [override]})
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(result.path).graph.initializer}
    assert values["image_scale"] == np.float32(0.01)
    assert values["image_zero_point"] == np.uint8(100)


def test_a_tensor_of_another_type_keeps_its_clipped_range(tiny_file, calibration, tmp_path):
    """Not the range of the one image that ONNX Runtime is given where all ranges are known."""

    def clipped(name, **options):
        result = quantize(tiny_file, calibration, tmp_path, activation_clipping="mse", **options)
        graph = onnx.load(result.path).graph
        values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        scale, zero = values[f"{name}_scale"], values[f"{name}_zero_point"]
        limits = np.iinfo(zero.dtype)
        return zero.dtype, scale * (limits.min - float(zero)), scale * (limits.max - float(zero))

    graph = onnx.load(quantize(tiny_file, calibration, tmp_path).path).graph
    name = next(node.input[0] for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] != "image")
    _, *wanted = clipped(name)
    override = [name, {"quant_type": "UInt16"}]
    dtype, *found = clipped(name, onnx_extra_options={"activations_tensor_override": [override]})
    assert dtype == np.uint16
    np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-2)


def test_a_trained_grid_keeps_its_range_in_another_type():
    from onnxruntime.quantization import QuantType
    from reidfw_quantizers._onnx.quantization import _merged

    grid = {"quant_type": QuantType.QInt8, "scale": np.float32(0.5), "zero_point": np.array(-118)}
    assert _merged(grid, {"quant_type": QuantType.QInt8}) == grid
    other = {"quant_type": QuantType.QUInt16}
    assert _merged(grid, other) == {**other, "rmin": -5.0, "rmax": 122.5}
    own = {"quant_type": QuantType.QInt8, "scale": np.float32(1.0), "zero_point": np.array(0)}
    assert _merged(grid, own) == own


def test_excluded_nodes_stay_float_and_are_told(tiny_file, calibration, tmp_path, caplog):
    every = quantize(tiny_file, calibration, tmp_path)
    first = next(node.name for node in onnx.load(every.path).graph.node if node.op_type == "Conv")
    result = quantize(tiny_file, calibration, tmp_path, onnx_quant_parameters={"nodes_to_exclude": [first]})
    assert result.details["float_layers"] == [first]
    assert f"stay in float: {first}" in caplog.text


def test_convolutions_in_groups(calibration, images, tmp_path, caplog):
    """Keras compiles them by themselves, as a function that ONNX does not know; their bias is corrected too."""
    import keras
    from keras import layers

    from .conftest import save

    keras.utils.set_random_seed(2)
    image = x = keras.Input((32, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Conv2D(12, 3, groups=4, activation="relu")(x)
    model = keras.Model(image, layers.Dense(6)(layers.GlobalAveragePooling2D()(x)), name="grouped")
    with caplog.at_level("INFO"):
        result = quantize(save(model, tmp_path / "grouped.keras"), calibration, tmp_path, bias_correction=True)
    assert "Biases of 2 layers corrected" in caplog.text
    assert "leaves dense layers alone that are a MatMul, which has no bias: MatMul_0" in caplog.text
    assert result.details["operators"]["Conv"] == 2
    assert cosine(run(result.path, images), model(images).numpy()).min() > 0.99


def test_an_unknown_node_is_named(tiny_file, calibration, tmp_path):
    with pytest.raises(DataError, match="has no node no_such_node; its nodes are"):
        quantize(tiny_file, calibration, tmp_path, onnx_quant_parameters={"nodes_to_exclude": ["no_such_node"]})


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (["Conv", "Convv"], r"there is no operator Convv \(did you mean 'Conv'\?\)"),
        (["MatMul"], "the model has no MatMul; it has Clip, Conv, "),
    ],
)
def test_operator_types_are_checked(tiny_file, calibration, tmp_path, types, message):
    with pytest.raises(DataError, match=message):
        quantize(tiny_file, calibration, tmp_path, onnx_quant_parameters={"op_types_to_quantize": types})
    assert list(tmp_path.iterdir()) == []


def test_operator_types_of_other_models_may_be_listed(tiny_file, calibration, tmp_path):
    options = {"onnx_quant_parameters": {"op_types_to_quantize": ["Conv", "MatMul"]}}
    assert quantize(tiny_file, calibration, tmp_path, **options).details["float_layers"] == []


@pytest.mark.parametrize("types", [("UInt8", "Int8"), ("Int8", "Int4"), ("UInt8", "UInt4")])
def test_types_that_onnx_runtime_refuses(types):
    options = dict(zip(("weightType", "activType"), types, strict=True))
    with pytest.raises(ValueError, match=f"does not take {types[0]} weights with {types[1]} activations"):
        OnnxQuantizer.Params.model_validate({"onnx_quant_parameters": options})


def test_an_onnx_model_with_channels_last(mobilenet_model, float_onnx, calibration, images, tmp_path):
    """The order of the input's dimensions is found by comparing them with the images."""
    result = quantize(float_onnx, calibration, tmp_path)
    assert result.path.name == "thin_mobilenet.onnx"
    assert result.details["opset"] == 17
    embeddings = np.concatenate([run(result.path, image[np.newaxis]) for image in images])
    assert cosine(embeddings, mobilenet_model(images).numpy()).min() > 0.99


def test_a_quantized_model_is_handed_on_unchanged(float_onnx, calibration, tmp_path, caplog):
    quantized = quantize(float_onnx, calibration, tmp_path)
    again = quantize(dataclasses.replace(float_onnx, path=quantized.path), calibration, tmp_path)
    assert (again.path, again.format) == (quantized.path, OnnxQuantizer.produces)
    assert "is quantized already" in caplog.text


@pytest.mark.parametrize(
    ("types", "numeric"), [(("Int16", "Int16"), "int16x16_qdq"), (("Int4", "UInt8"), "int4x8_qdq")]
)
def test_a_model_quantized_to_other_widths_is_known_too(tiny_file, calibration, tmp_path, types, numeric):
    options = dict(zip(("weightType", "activType"), types, strict=True))
    quantized = quantize(tiny_file, calibration, tmp_path, onnx_quant_parameters=options)
    assert quantized.format.numeric == numeric
    given = dataclasses.replace(tiny_file, path=quantized.path)
    assert OnnxQuantizer().inspect_model(model=given).format == quantized.format
    again = quantize(given, calibration, tmp_path)
    assert (again.path, again.format, again.details["already_quantized"]) == (quantized.path, quantized.format, True)


def test_enlarged_scales_are_told_once(tiny_model, calibration, tmp_path, caplog):
    """Channels whose weights are tiny beside their bias, as dead ones are."""
    import keras

    from .conftest import save

    model = keras.models.clone_model(tiny_model)
    model.set_weights(tiny_model.get_weights())
    first = next(weight for weight in model.weights if weight.path.endswith("kernel"))
    first.assign(first.numpy() * np.where(np.arange(12) < 8, 1e-12, 1))
    with caplog.at_level("INFO"):
        quantize(save(model, tmp_path / "dead.keras"), calibration, tmp_path)
    assert "enlarged the weight scale of 8 channels" in caplog.text
    assert "Increased scale[" not in caplog.text


def test_a_model_of_the_user_is_inspected_first(float_onnx, tiny_file, calibration, tmp_path):
    """Channels last, channels first, and a file that is quantized already."""
    seen = OnnxQuantizer().inspect_model(model=dataclasses.replace(float_onnx, format=ModelFormat("onnx")))
    assert seen == dataclasses.replace(float_onnx, input_shape=(32, 16, 3), embedding_dim=48)
    quantized = quantize(tiny_file, calibration, tmp_path)
    seen = OnnxQuantizer().inspect_model(model=dataclasses.replace(float_onnx, path=quantized.path))
    assert (seen.input_shape, seen.embedding_dim) == ((32, 16, 3), 24)
    assert seen.format == OnnxQuantizer.produces
    seen = OnnxQuantizer().inspect_model(model=tiny_file)
    assert (seen.input_shape, seen.embedding_dim) == ((32, 16, 3), 24)


def test_no_calibration_images(float_onnx, images, tmp_path):
    with pytest.raises(DataError, match="no calibration images"):
        quantize(float_onnx, calibration_of(images[:0]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_calibration_images_of_another_size(float_onnx, images, tmp_path):
    with pytest.raises(DataError, match=r"takes images \(32, 16, 3\)"):
        quantize(float_onnx, calibration_of(images[:, :16]), tmp_path)


@pytest.mark.parametrize("content", [b"not a model", b"", b"\xff\xd8\xff\xe0 JFIF"])
def test_a_file_of_another_kind(float_onnx, calibration, tmp_path, content):
    (tmp_path / "wrong.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"wrong.onnx cannot be read as an ONNX model"):
        quantize(dataclasses.replace(float_onnx, path=tmp_path / "wrong.onnx"), calibration, tmp_path)


def test_smooth_quant_needs_its_package(float_onnx, calibration, tmp_path, monkeypatch):
    """Version 3 can be imported, but has lost what ONNX Runtime looks for."""
    for installed in (None, types.ModuleType("neural_compressor")):
        monkeypatch.setitem(sys.modules, "neural_compressor", installed)
        with pytest.raises(ToolNotFound, match="neural-compressor 2") as caught:
            quantize(float_onnx, calibration, tmp_path, onnx_extra_options={"SmoothQuant": True})
        assert 'pip install "neural-compressor<3" six' in caught.value.hint


class StandInSmoothQuant:
    """Takes what neural-compressor 2 takes, a path as text or an opened model, and changes nothing."""

    seen = ()

    def __init__(self, model, dataloader, reduce_range):
        opened = onnx.load(model) if isinstance(model, str) else model
        assert opened.graph.node
        StandInSmoothQuant.seen = [feed["image"].shape for feed, _ in dataloader]
        self.model = opened
        del reduce_range

    def transform(self, alpha, folding):
        assert (alpha, folding) == (0.3, True)
        return types.SimpleNamespace(model=self.model, save=lambda path: onnx.save(self.model, path))


def test_smooth_quant_gets_what_it_can_read(tiny_model, tiny_file, calibration, images, tmp_path, monkeypatch):
    name = "neural_compressor"
    for part in ("", ".adaptor", ".adaptor.ox_utils", ".adaptor.ox_utils.smooth_quant"):
        monkeypatch.setitem(sys.modules, name + part, types.ModuleType(name + part))
    sys.modules[name + part].ORTSmoothQuant = StandInSmoothQuant
    options = {"SmoothQuant": True, "SmoothQuantAlpha": 0.3}
    result = quantize(tiny_file, calibration, tmp_path, onnx_extra_options=options)
    assert StandInSmoothQuant.seen == [(1, 3, 32, 16)] * len(images)
    assert result.details["calibration_images"] == len(images)
    assert cosine(run(result.path, images), tiny_model(images).numpy()).min() > 0.99


def test_smooth_quant_itself(tiny_model, tiny_file, calibration, images, tmp_path):
    pytest.importorskip("neural_compressor.adaptor.ox_utils.smooth_quant", exc_type=ImportError)
    result = quantize(tiny_file, calibration, tmp_path, onnx_extra_options={"SmoothQuant": True})
    assert cosine(run(result.path, images), tiny_model(images).numpy()).min() > 0.99


def test_a_missing_package_is_named(tiny_file, calibration, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ToolNotFound, match="tf2onnx") as caught:
        quantize(tiny_file, calibration, tmp_path)
    assert 'pip install "reidfw-quantizers[onnx]"' in caught.value.hint


def test_it_prints_nothing(tiny_file, calibration, tmp_path, capfd):
    quantize(tiny_file, calibration, tmp_path, onnx_quant_parameters={"calibrate_method": "Percentile"})
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("clipping", ["mse", "entropy"])
def test_activations_are_clipped_as_for_tensorflow_lite(mobilenet_model, mobilenet_file, images, tmp_path, clipping):
    """With one pass over the images, of which the first one is looked at before."""
    given = []

    def one_by_one():
        for number, image in enumerate(images):
            given.append(number)
            yield image[np.newaxis]

    calibration = CalibrationSet(num_images=len(images), images=one_by_one, origin="counted")
    plain = quantize(mobilenet_file, calibration, tmp_path).path.read_bytes()
    given.clear()
    result = quantize(mobilenet_file, calibration, tmp_path, activation_clipping=clipping)
    assert given == [0, *range(len(images))]
    assert result.details["calibration_images"] == len(images)
    assert result.path.read_bytes() != plain
    assert cosine(run(result.path, images), mobilenet_model(images).numpy()).min() > 0.98


@pytest.mark.parametrize(("granularity", "quantize_bias"), [("per_channel", True), ("per_tensor", False)])
def test_bias_correction_keeps_the_mean(
    mobilenet_model, mobilenet_file, calibration, images, tmp_path, granularity, quantize_bias
):
    wanted = mobilenet_model(images).numpy()
    errors = []
    for correct in (False, True):
        options = {"granularity": granularity, "onnx_extra_options": {"QuantizeBias": quantize_bias}}
        result = quantize(mobilenet_file, calibration, tmp_path, bias_correction=correct, **options)
        errors.append(np.abs(run(result.path, images).mean(0) - wanted.mean(0)).mean())
        onnx.checker.check_model(onnx.load(result.path))
    assert errors[1] < 0.7 * errors[0]


def test_layers_without_bias_and_with_a_shared_one_are_corrected(images, tmp_path):
    """Each gets a bias of its own; an ONNX file of another tool, with layers that bear no name."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    weights = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "w2": rng.normal(0, 0.3, (8, 8, 1, 1)),
        "w3": rng.normal(0, 0.3, (8, 8, 1, 1)) * np.exp(rng.uniform(-3, 3, (8, 1, 1, 1))),
        "shared": rng.normal(0, 0.1, 8),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1", "shared"], ["a"], "first", strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("Conv", ["d", "w3", "shared"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], "pool"),
        helper.make_node("Flatten", ["f"], ["embedding"], "flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 16])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    path = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    model_file = ModelFile(path=path, format=ModelFormat.parse("onnx/float32"), name="other_int8")
    wanted, errors = run(path, images), []
    for correct in (False, True):
        options = {"granularity": "per_tensor", "bias_correction": correct}
        result = quantize(model_file, calibration_of(images), tmp_path, **options)
        errors.append(np.abs(run(result.path, images).mean(0) - wanted.mean(0)).mean())
    assert errors[1] < 0.5 * errors[0]


def changed(float_onnx, path, change):
    model = onnx.load(float_onnx.path)
    change(model)
    onnx.save(model, path)
    return dataclasses.replace(float_onnx, path=path)


def test_an_operator_set_of_the_future(float_onnx, calibration, tmp_path):
    model_file = changed(float_onnx, tmp_path / "new.onnx", lambda model: setattr(model.opset_import[0], "version", 99))
    with pytest.raises(DataError, match=r"new.onnx uses ONNX operator set 99; the newest .* is 27"):
        quantize(model_file, calibration, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new.onnx"]


def test_a_model_with_two_outputs(float_onnx, calibration, tmp_path):
    def second_output(model):
        model.graph.output.append(onnx.helper.make_tensor_value_info("again", onnx.TensorProto.FLOAT, [1, 48]))
        model.graph.node.append(onnx.helper.make_node("Identity", [model.graph.output[0].name], ["again"], "copy"))

    with pytest.raises(DataError, match="1 inputs and 2 outputs; a ReID model has one each"):
        quantize(changed(float_onnx, tmp_path / "two.onnx", second_output), calibration, tmp_path)


def other_tools_model(path, *, opset=13, batch="n", dtype=np.float32, weights_as_inputs=False):
    """Convolution, BatchNorm and ReLU as a tool other than tf2onnx writes them; D = 8."""
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(3)
    weights = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "bias": rng.normal(0, 0.1, 8),
        **{name: rng.uniform(0.5, 1.5, 8) for name in ("scale", "shift", "mean", "variance")},
    }
    nodes = [
        helper.make_node("Conv", ["image", "w", "bias"], ["a"], "first", strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"], "norm"),
        helper.make_node("Relu", ["b"], ["c"], "relu"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "pool"),
        helper.make_node("Flatten", ["d"], ["embedding"], "flat"),
    ]
    tensors = [numpy_helper.from_array(values.astype(dtype), name) for name, values in weights.items()]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "other",
        [
            helper.make_tensor_value_info("image", kind, [batch, 3, 32, 16]),
            *(helper.make_tensor_value_info(tensor.name, kind, tensor.dims) for tensor in tensors * weights_as_inputs),
        ],
        [helper.make_tensor_value_info("embedding", kind, [batch, 8])],
        tensors,
    )
    ir_version = 3 if weights_as_inputs else 8
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version), path)
    return ModelFile(path=path, format=ModelFormat.parse("onnx/float32"), name="other_int8")


@pytest.mark.parametrize("opset", [7, 17])
def test_weights_among_the_inputs(calibration, images, tmp_path, capfd, opset):
    """As old tools write them: they are constants nonetheless, so that BatchNorm is folded."""
    model_file = other_tools_model(tmp_path / "old.onnx", opset=opset, weights_as_inputs=True)
    assert OnnxQuantizer().inspect_model(model=model_file).input_shape == (32, 16, 3)
    result = quantize(model_file, calibration, tmp_path)
    assert capfd.readouterr().err == ""
    assert result.details["opset"] == 17
    assert "BatchNormalization" not in result.details["operators"]
    session = onnxruntime.InferenceSession(str(model_file.path), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"image": images.transpose(0, 3, 1, 2)})[0]
    assert cosine(run(result.path, images), wanted).min() > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": np.float16}, "takes float16 images; only float32 models are quantized"),
        ({"batch": 4}, "takes 4 images at a time, and calibration gives one"),
    ],
)
def test_models_of_another_kind_are_refused(calibration, tmp_path, options, message):
    model_file = other_tools_model(tmp_path / "other.onnx", **options)
    with pytest.raises(DataError, match=message):
        OnnxQuantizer().inspect_model(model=model_file)
    with pytest.raises(DataError, match=message):
        quantize(model_file, calibration, tmp_path)


def test_a_weight_that_is_no_number_is_named(calibration, tmp_path):
    def spoil(model):
        [weight] = [tensor for tensor in model.graph.initializer if tensor.name == "w"]
        values = onnx.numpy_helper.to_array(weight).copy()
        values[0] = np.nan
        weight.CopyFrom(onnx.numpy_helper.from_array(values, "w"))

    model_file = changed(other_tools_model(tmp_path / "good.onnx"), tmp_path / "bad.onnx", spoil)
    with pytest.raises(DataError, match=r"bad\.onnx has NaN among its weights, in w of Conv first"):
        quantize(model_file, calibration, tmp_path)


def test_an_activation_that_is_no_number_is_named(images, tmp_path):
    """With clipping also where only one image makes it so."""

    def with_root(model):
        model.graph.node[2].op_type = "Sqrt"
        for tensor in model.graph.initializer:
            values = np.abs(onnx.numpy_helper.to_array(tensor)) * (tensor.name != "mean")
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    model_file = changed(other_tools_model(tmp_path / "good.onnx"), tmp_path / "bad.onnx", with_root)
    positive = images - images.min()
    quantize(model_file, calibration_of(positive), tmp_path, activation_clipping="mse")
    last_is_bad = calibration_of(np.concatenate([positive, -5 - positive[:1]]))
    for calibration, clipping in ((calibration_of(-5 - positive), "none"), (last_is_bad, "mse")):
        with pytest.raises(DataError, match="The float model gives NaN or infinity in c"):
            quantize(model_file, calibration, tmp_path, activation_clipping=clipping)


def test_an_image_of_any_size_is_refused(float_onnx, tmp_path):
    def free_size(model):
        for place in (1, 2):
            model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = f"size{place}"

    with pytest.raises(DataError, match="fixed height, width and channels"):
        OnnxQuantizer().inspect_model(model=changed(float_onnx, tmp_path / "free.onnx", free_size))


def test_a_full_disk_leaves_nothing_behind(tiny_file, calibration, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    from reidfw_quantizers._onnx import quantization

    monkeypatch.setattr(quantization, "quantize_static", full)
    with pytest.raises(StorageError, match="No space left"):
        quantize(tiny_file, calibration, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_image_is_enough(tiny_file, images, tmp_path):
    options = {"activation_clipping": "entropy", "bias_correction": True}
    result = quantize(tiny_file, calibration_of(images[:1]), tmp_path, **options)
    assert result.details["calibration_images"] == 1


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({}, {}),
        ({"quantization_input_type": "float"}, {}),
        ({"quantization_output_type": "int8"}, {"quantization_output_type": "ONNX models keep float"}),
        ({"onnx_extra_options": {"CalibMovingAverage": True}}, {}),
        (
            {
                "onnx_extra_options": {"CalibMovingAverage": True},
                "onnx_quant_parameters": {"calibrate_method": "Entropy"},
            },
            {"onnx_extra_options.CalibMovingAverage": "for calibrate_method MinMax, not Entropy"},
        ),
        (
            {"onnx_extra_options": {"CalibMovingAverage": True}, "activation_clipping": "mse"},
            {"onnx_extra_options.CalibMovingAverage": "activation_clipping takes its place"},
        ),
        (
            {"onnx_extra_options": {"SmoothQuantAlpha": 0.3}},
            {"onnx_extra_options.SmoothQuantAlpha": "without SmoothQuant"},
        ),
    ],
)
def test_unused_attributes_are_known(given, unused):
    assert OnnxQuantizer.Params.model_validate(given).unused() == unused


def test_an_older_operator_set_is_not_gone_back_to(float_onnx, calibration, tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert quantize(float_onnx, calibration, tmp_path, target_opset=13).details["opset"] == 15
    assert "target_opset has no effect: other_tool.onnx uses operator set 15 already" in caplog.text


def test_smooth_quant_stands_alone():
    for other in ({"bias_correction": True}, {"activation_clipping": "mse"}):
        with pytest.raises(ValueError, match="SmoothQuant changes the activations"):
            OnnxQuantizer.Params.model_validate({"onnx_extra_options": {"SmoothQuant": True}, **other})
