"""Files that still have their classifier, and files that are damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from reidfw_targets.host import Host

from reidfw_core.api import DataError, ModelFile, ModelFormat

pytestmark = pytest.mark.slow

PRETRAINED = Path(__file__).resolve().parents[3] / "shared" / "data" / "pretrained"
SHAPE = (32, 16, 3)


def opened(path: Path, threads: int = 1):
    return Host().open_runner(ModelFile(path=path, format=ModelFormat.of_file(path), name=path.stem), threads)


def network(head: str):
    """An embedding of 12 with a classifier of 5 behind it, made of dense layers or of a convolution of one pixel."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = keras.Input(SHAPE)
    x = layers.Conv2D(12, 3, strides=2, activation="relu")(image)
    x = layers.GlobalAveragePooling2D(keepdims=head == "conv")(x)
    embedding = keras.Model(image, x)
    if head == "dense":
        x = layers.Dense(5, activation="softmax")(x)
    elif head == "sigmoid":
        x = layers.Dense(5, activation="sigmoid")(x)
    elif head == "conv":
        x = layers.Softmax()(layers.Flatten()(layers.Conv2D(5, 1)(x)))
    elif head == "linear":
        x = layers.Dense(5)(x)
    return keras.Model(image, x), embedding


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, *SHAPE)).astype(np.float32)


def as_tflite(model, path: Path, *, quantized: bool = False) -> Path:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images(20))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path


def as_onnx(model, path: Path) -> Path:
    pytest.importorskip("tf2onnx")
    import onnx
    import tensorflow as tf
    import tf2onnx

    shape = tf.TensorSpec((None, *SHAPE), tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False), input_signature=[shape])
    converted, _ = tf2onnx.convert.from_function(function, [shape], opset=17)
    onnx.save(converted, path)
    return path


@pytest.mark.parametrize("head", ["dense", "sigmoid", "conv"])
@pytest.mark.parametrize("kind", ["tflite", "int8", "onnx"])
def test_a_classifier_is_cut_and_said(head, kind, tmp_path, caplog) -> None:
    model, embedding = network(head)
    path = tmp_path / f"m.{'onnx' if kind == 'onnx' else 'tflite'}"
    path = as_onnx(model, path) if kind == "onnx" else as_tflite(model, path, quantized=kind == "int8")
    with caplog.at_level(logging.INFO):
        runner = opened(path)
    assert runner.embedding_dim == 12
    assert "is a classifier: embedding taken before" in caplog.text
    expected = np.asarray(embedding(images(), training=False)).reshape(6, 12)
    found = runner.embed(images())
    runner.close()
    np.testing.assert_allclose(found, expected, atol=0.03 if kind == "int8" else 1e-4)


def onnx_classifier(path: Path, head: str) -> Path:
    """A file as PyTorch writes them: channels first, a pooled map of one pixel, then the head."""
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(3)
    weights = {"kernel": (12, 3, 3, 3), "matrix": (12, 5), "bias": (5,), "pixel": (5, 12, 1, 1)}
    body = [("Conv", "image kernel", "map"), ("Relu", "map", "positive"), ("GlobalAveragePool", "positive", "pooled")]
    heads = {
        "gemm": [
            ("Flatten", "pooled", "flat"),
            ("Dropout", "flat", "kept"),
            ("Gemm", "kept matrix bias", "logits"),
            ("Identity", "logits", "same"),
            ("Softmax", "same", "out"),
        ],
        "matmul": [
            ("Flatten", "pooled", "flat"),
            ("MatMul", "flat matrix", "product"),
            ("Add", "bias product", "logits"),
            ("Sigmoid", "logits", "out"),
        ],
        "conv": [("Conv", "pooled pixel", "scores"), ("Flatten", "scores", "logits"), ("Softmax", "logits", "out")],
        "none": [("Identity", "pooled", "out")],
    }
    nodes = [*body, *heads[head]]
    used = {name for _, inputs, _ in nodes for name in inputs.split()}
    graph = make.make_graph(
        [make.make_node(kind_of, inputs.split(), [output]) for kind_of, inputs, output in nodes],
        head,
        [make.make_tensor_value_info("image", kind, ["N", 3, *SHAPE[:2]])],
        [make.make_tensor_value_info("out", kind, None)],
        [
            onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
            for name, shape in weights.items()
            if name in used
        ],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("quantized", [False, True], ids=["float", "qdq"])
@pytest.mark.parametrize("head", ["gemm", "matmul", "conv"])
def test_an_onnx_classifier_as_pytorch_writes_it(head, quantized, tmp_path, caplog) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    path = onnx_classifier(tmp_path / "float.onnx", head)
    plain = opened(onnx_classifier(tmp_path / "plain.onnx", "none"))  # the same random weights, without a head
    if quantized:

        class Reader(quantization.CalibrationDataReader):
            def __init__(self) -> None:
                self._images = iter(images(20))

            def get_next(self):
                image = next(self._images, None)
                return None if image is None else {"image": image[np.newaxis].transpose(0, 3, 1, 2)}

        quantization.quantize_static(path, tmp_path / "qdq.onnx", Reader())
        path = tmp_path / "qdq.onnx"
    with caplog.at_level(logging.INFO):
        runner = opened(path)
    assert f"{path.name} is a classifier: embedding taken before" in caplog.text
    assert (runner.input_shape, runner.embedding_dim) == (SHAPE, 12)
    assert runner.format.numeric == ("int8_qdq" if quantized else "float32")
    expected = plain.embed(images())
    np.testing.assert_allclose(runner.embed(images()), expected, atol=0.05 * expected.max() if quantized else 1e-6)
    runner.close()
    plain.close()


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_linear_layer_at_the_end_is_an_embedding(kind, tmp_path, caplog) -> None:
    model, _ = network("linear")
    path = as_onnx(model, tmp_path / "m.onnx") if kind == "onnx" else as_tflite(model, tmp_path / "m.tflite")
    with caplog.at_level(logging.INFO):
        runner = opened(path)
    assert runner.embedding_dim == 5
    assert "classifier" not in caplog.text
    runner.close()


@pytest.mark.parametrize(
    ("name", "size"), [("mobilenet_v1_0.25_128_quant", (128, 128, 3)), ("vww_96_int8", (96, 96, 3))]
)
def test_published_classifiers_give_256_numbers(name, size) -> None:
    path = PRETRAINED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    runner = opened(path)
    assert (runner.input_shape, runner.embedding_dim) == (size, 256)
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, *size)).astype(np.float32)
    first, second = runner.embed(pixels)
    runner.close()
    assert not np.array_equal(first, second)


def test_a_tflite_file_cut_off_anywhere_is_an_error(tmp_path) -> None:
    model, _ = network("dense")
    content = as_tflite(model, tmp_path / "m.tflite").read_bytes()
    for size in [*range(0, 40, 4), *np.linspace(40, len(content) - 1, 40).astype(int)]:
        cut = tmp_path / "cut.tflite"
        cut.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"cut\.tflite"):
            opened(cut).close()


def test_an_onnx_file_cut_off_is_an_error(tmp_path) -> None:
    model, _ = network("dense")
    content = as_onnx(model, tmp_path / "m.onnx").read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 10):
        cut = tmp_path / "cut.onnx"
        cut.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"cut\.onnx"):
            opened(cut).close()


def test_an_unknown_operator_is_an_error(tmp_path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, _ = network("linear")
    content = as_tflite(model, tmp_path / "m.tflite").read_bytes()
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for code in tree.operatorCodes:
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, b"Mystery"
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    path = tmp_path / "mystery.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(DataError, match=r"mystery\.tflite cannot be opened"):
        opened(path).close()


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_threads_and_batches_do_not_change_a_bit(threads, tmp_path) -> None:
    model, _ = network("none")
    for path in (as_tflite(model, tmp_path / "m.tflite", quantized=True), as_onnx(model, tmp_path / "m.onnx")):
        one, several = opened(path, 1), opened(path, threads)
        pixels = images(17)
        expected = one.embed(pixels)
        np.testing.assert_array_equal(several.embed(pixels), expected)
        parts = [several.embed(pixels[start : start + 3]) for start in range(0, 17, 3)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)
        one.close()
        several.close()
