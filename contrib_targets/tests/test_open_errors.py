"""Files that cannot be run: each is refused with one line that says why, none ends the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from reidfw_targets.host import Host

from reidfw_core.api import DataError

from .conftest import SHAPE, as_model, save_onnx

pytestmark = pytest.mark.slow


def opened(path: Path):
    return Host().open_runner(model=as_model(path), num_threads=1)


def converted(function, path: Path, *, shape=(1, *SHAPE), dtype: str = "float32") -> Path:
    """A float TensorFlow Lite file of a TensorFlow function of one tensor."""
    import tensorflow as tf

    serve = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.as_dtype(dtype), name="image")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], None)
    path.write_bytes(converter.convert())
    return path


def onnx_file(path: Path, *, size=(32, 16), outputs=("embedding",), operator: str = "GlobalAveragePool") -> Path:
    """An ONNX file that pools the image, written node by node."""
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("Relu", ["image"], ["positive"]),
        make.make_node(operator, ["positive"], ["pooled"]),
        make.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    shapes = {"embedding": ["N", 3], "positive": ["N", 3, *size]}
    graph = make.make_graph(
        nodes,
        "pooling",
        [make.make_tensor_value_info("image", kind, ["N", 3, *size])],
        [make.make_tensor_value_info(name, kind, shapes[name]) for name in outputs],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        opened(path).close()
    assert path.name in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


def test_an_image_of_any_size_is_refused(network, tmp_path) -> None:
    import tensorflow as tf

    path = converted(lambda x: tf.reduce_mean(tf.nn.relu(x), [1, 2]), tmp_path / "any.tflite", shape=(1, None, None, 3))
    assert "takes (1, None, None, 3); a ReID model takes an image of fixed height" in refusal(path)
    assert "fixed height, width and channels" in refusal(onnx_file(tmp_path / "any.onnx", size=("h", "w")))


def test_two_outputs_are_refused(network, tmp_path) -> None:
    path = converted(lambda x: (network(x), 2 * network(x)), tmp_path / "two.tflite")
    assert "has 2 outputs" in refusal(path)
    assert "has 2 outputs" in refusal(onnx_file(tmp_path / "two.onnx", outputs=("embedding", "positive")))


def test_integers_without_a_scale_are_refused(network, tmp_path) -> None:
    import tensorflow as tf

    path = converted(lambda x: network(tf.cast(x, tf.float32)), tmp_path / "bytes.tflite", dtype="uint8")
    assert "is uint8 without a scale" in refusal(path)
    path = converted(lambda x: tf.cast(network(x), tf.int32), tmp_path / "whole.tflite")
    assert "is int32 without a scale" in refusal(path)


def test_an_onnx_operator_that_nobody_knows(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    assert "Mystery" in refusal(onnx_file(tmp_path / "mystery.onnx", operator="Mystery"))


def test_an_onnx_file_without_the_version_of_its_operators(tmp_path) -> None:
    """What a file looks like that was cut off just before its last field: all that is left can be read."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file(tmp_path / "whole.onnx"))
    del model.opset_import[:]
    path = tmp_path / "short.onnx"
    path.write_bytes(model.SerializeToString())
    assert "does not tell the version of its operators" in refusal(path)


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_cut_off_at_every_place(network, int8_file, tmp_path, suffix, capfd) -> None:
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
        whole = save_onnx(network, tmp_path / "whole.onnx", batch=None, channels_first=True).path
        # the writer ends with the version of a second set of operators, of which the network has none
        size = whole.read_bytes().rindex(b"ai.onnx.ml") - 5
    else:
        whole, size = int8_file.path, int8_file.path.stat().st_size
    content = whole.read_bytes()
    capfd.readouterr()
    path = tmp_path / f"cut.{suffix}"
    for length in {*range(0, size, 37), *range(size - 60, size)}:
        path.write_bytes(content[:length])
        refusal(path)
    assert capfd.readouterr() == ("", "")
