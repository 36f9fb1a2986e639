"""``host``: which files it runs, with which errors it refuses the others."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reidfw_targets.host import Host

from reidfw_core.api import DataError, EmbeddingRunner, ModelFormat, ToolNotFound

from .conftest import SHAPE, as_model, convert, cosine, save_onnx

PRETRAINED = Path(__file__).resolve().parents[2] / "../shared/data/pretrained"


def open_runner(model, num_threads=1):
    return Host().open_runner(model=model, num_threads=num_threads)


def int8_by_hand(path, images):
    """The integer model with quantization written out: q = floor(x / s + z + 1/2), x = s * (q - z)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    [source], [sink] = interpreter.get_input_details(), interpreter.get_output_details()
    embeddings = []
    for image in images:
        scale, zero = source["quantization"]
        limits = np.iinfo(source["dtype"])
        integers = np.floor(image[np.newaxis].astype(np.float64) / scale + zero + 0.5 + 1e-4)
        interpreter.set_tensor(source["index"], integers.clip(limits.min, limits.max).astype(source["dtype"]))
        interpreter.invoke()
        scale, zero = sink["quantization"]
        embeddings.append(scale * (interpreter.get_tensor(sink["index"])[0].astype(np.float64) - zero))
    return np.array(embeddings)


def test_keras_gives_the_networks_embeddings(network, keras_file, images):
    runner = open_runner(keras_file)
    assert isinstance(runner, EmbeddingRunner)
    assert (runner.input_shape, runner.embedding_dim) == (SHAPE, 20)
    assert runner.format == ModelFormat.parse("keras/float32")
    assert runner.kernels.startswith("Keras 3")
    np.testing.assert_allclose(runner.embed(images), network(images).numpy(), rtol=1e-5, atol=1e-6)


def test_h5_files_are_keras_files(network, images, tmp_path):
    network.save(tmp_path / "tiny.h5")
    runner = open_runner(as_model(tmp_path / "tiny.h5"))
    assert runner.format == ModelFormat.parse("keras/float32")
    np.testing.assert_allclose(runner.embed(images), network(images).numpy(), rtol=1e-5, atol=1e-6)


def test_integer_outputs_are_dequantized(int8_file, network, images):
    runner = open_runner(int8_file)
    assert (runner.input_shape, runner.embedding_dim) == (SHAPE, 20)
    assert runner.format == ModelFormat.parse("tflite/int8")
    assert runner.kernels.startswith("XNNPACK (LiteRT ")
    embeddings = runner.embed(images)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, int8_by_hand(int8_file.path, images), rtol=1e-6)
    assert cosine(embeddings, network(images).numpy()).min() > 0.99


@pytest.mark.parametrize(
    ("make", "numeric"),
    [
        (lambda network, images: convert(network, optimize=False), "float32"),
        (lambda network, images: convert(network), "dynamic_range"),
        (lambda network, images: convert(network, images, "int8", "uint8"), "int8"),
        (convert, "int8"),
    ],
    ids=["float", "dynamic range", "integer", "integer with float input and output"],
)
def test_the_number_format_is_read_from_the_file(network, images, tmp_path, make, numeric):
    (tmp_path / "model.tflite").write_bytes(make(network, images))
    runner = open_runner(as_model(tmp_path / "model.tflite"))
    assert runner.format == ModelFormat("tflite", numeric)
    assert cosine(runner.embed(images), network(images).numpy()).min() > 0.99


@pytest.mark.parametrize("batch", [None, 4])
def test_a_tflite_file_of_another_batch_runs_image_by_image(network, images, tmp_path, batch):
    (tmp_path / "batch.tflite").write_bytes(convert(network, batch=batch, optimize=False))
    embeddings = open_runner(as_model(tmp_path / "batch.tflite")).embed(images)
    np.testing.assert_allclose(embeddings, network(images).numpy(), rtol=1e-4, atol=1e-5)


def test_threads_change_no_bit(int8_file, images):
    one = open_runner(int8_file, 1).embed(images)
    for num_threads in (2, 3):
        assert np.array_equal(open_runner(int8_file, num_threads).embed(images), one)


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("kind", ["keras", "tflite", "onnx"])
def test_any_number_of_images(network, keras_file, int8_file, images, tmp_path, kind, count):
    """More threads than images, no image at all: an embedding depends on its image alone."""
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
        model = save_onnx(network, tmp_path / "tiny.onnx", batch=None, channels_first=True)
    else:
        model = {"keras": keras_file, "tflite": int8_file}[kind]
    runner = open_runner(model, 3)
    embeddings = runner.embed(images[:count])
    assert embeddings.shape == (count, 20)
    assert embeddings.dtype == np.float32
    assert np.array_equal(embeddings, runner.embed(images)[:count])
    runner.close()


def test_more_images_than_a_keras_batch(network, keras_file, images):
    many = np.concatenate([images] * 5)
    np.testing.assert_allclose(open_runner(keras_file).embed(many), network(many).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("batch", [None, 1])
def test_onnx_takes_either_order_of_channels(network, images, tmp_path, channels_first, batch):
    pytest.importorskip("onnxruntime")
    model = save_onnx(network, tmp_path / "tiny.onnx", batch=batch, channels_first=channels_first)
    runner = open_runner(model, 2)
    assert (runner.input_shape, runner.embedding_dim) == (SHAPE, 20)
    assert runner.format == ModelFormat.parse("onnx/float32")
    assert runner.kernels.startswith("ONNX Runtime 1.")
    np.testing.assert_allclose(runner.embed(images), network(images).numpy(), rtol=1e-4, atol=1e-5)


def test_a_quantized_onnx_file_is_recognised(network, images, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self._images = iter(images)

        def get_next(self):
            image = next(self._images, None)
            return None if image is None else {"image": image[np.newaxis].transpose(0, 3, 1, 2)}

    model = save_onnx(network, tmp_path / "tiny.onnx", batch=None, channels_first=True)
    quantization.quantize_static(model.path, tmp_path / "qdq.onnx", Reader())
    runner = open_runner(as_model(tmp_path / "qdq.onnx"))
    assert runner.format == ModelFormat.parse("onnx/int8_qdq")
    assert cosine(runner.embed(images), network(images).numpy()).min() > 0.98


@pytest.mark.parametrize("head", ["dense softmax", "dense, then softmax", "dropout"])
def test_a_classifier_gives_its_embedding(network, images, tmp_path, caplog, head):
    import keras
    from keras import layers

    x = network.output
    if head == "dropout":
        x = layers.Dropout(0.5, name="drop")(x)
    if head == "dense, then softmax":
        x = layers.Softmax()(layers.Dense(6, name="who")(x))
    else:
        x = layers.Dense(6, activation="softmax", name="who")(x)
    keras.Model(network.input, x, name="classifier").save(tmp_path / "classifier.keras")
    with caplog.at_level("INFO"):
        runner = open_runner(as_model(tmp_path / "classifier.keras"))
    assert runner.embedding_dim == 20
    assert "is a classifier: embedding taken before" in caplog.text
    np.testing.assert_allclose(runner.embed(images), network(images).numpy(), rtol=1e-5, atol=1e-6)


def test_a_linear_embedding_layer_stays(network, images, tmp_path):
    import keras

    projected = keras.Model(network.input, keras.layers.Dense(6)(network.output), name="projected")
    projected.save(tmp_path / "projected.keras")
    runner = open_runner(as_model(tmp_path / "projected.keras"))
    assert runner.embedding_dim == 6


@pytest.mark.slow
def test_layers_of_an_installed_plugin_are_found(tmp_path, images, monkeypatch):
    """A .keras file names the module of each layer; whoever installed the plugin can open the file."""
    import keras

    package = tmp_path / "someones_plugin-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-plugin\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[reidfw.backbones]\nsomeone.twice = someones_plugin:Backbone\n")
    (tmp_path / "someones_plugin.py").write_text(
        "import keras\n\n"
        "@keras.saving.register_keras_serializable('someones_plugin')\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return 2 * x\n"
    )
    code = (
        "import keras, someones_plugin\n"
        "image = keras.Input((32, 16, 3))\n"
        "x = keras.layers.GlobalAveragePooling2D()(someones_plugin.Twice()(image))\n"
        f"keras.Model(image, x).save({str(tmp_path / 'plugin.keras')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert "someones_plugin" not in sys.modules
    monkeypatch.syspath_prepend(tmp_path)
    embeddings = open_runner(as_model(tmp_path / "plugin.keras")).embed(images)
    np.testing.assert_allclose(embeddings, 2 * images.mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert keras.saving.get_registered_object("someones_plugin>Twice") is not None


def test_a_model_file_cannot_choose_what_is_imported(tmp_path, keras_file, monkeypatch):
    """Modules of no reidfw plugin stay unimported, even where a file names them."""
    import json
    import zipfile

    (tmp_path / "not_a_plugin.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with zipfile.ZipFile(keras_file.path) as source, zipfile.ZipFile(tmp_path / "other.keras", "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "ReLU")
                layer.update(module="not_a_plugin", class_name="Strange", registered_name="Strange")
                content = json.dumps(config)
            copy.writestr(name, content)
    with pytest.raises(DataError, match="Could not locate class 'Strange'"):
        open_runner(as_model(tmp_path / "other.keras"))
    assert "not_a_plugin" not in sys.modules


def test_a_lambda_layer_is_refused(tmp_path):
    """It would run code from the file."""
    import keras

    image = keras.Input(SHAPE)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Lambda(lambda x: x * 2)(image))
    keras.Model(image, x).save(tmp_path / "lambda.keras")
    with pytest.raises(DataError, match=r"(?i)lambda"):
        open_runner(as_model(tmp_path / "lambda.keras"))


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(200)


@pytest.mark.parametrize("content", [b"some text, not a model\n" * 20, JPEG, b""], ids=["text", "jpeg", "empty"])
@pytest.mark.parametrize("suffix", ["keras", "h5", "tflite", "onnx"])
def test_a_file_of_another_kind(tmp_path, content, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"wrong.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"wrong\.{suffix} (cannot be|is not)") as caught:
        open_runner(as_model(path))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kept", [12, 0.3, 0.9])
def test_truncated_files(keras_file, int8_file, tmp_path, kept):
    for model in (keras_file, int8_file):
        content = model.path.read_bytes()
        path = tmp_path / f"cut{model.path.suffix}"
        path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
        with pytest.raises(DataError, match="cut"):
            open_runner(as_model(path))


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(DataError, match="There is no model file"):
        open_runner(as_model(tmp_path / "gone.tflite"))
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(DataError, match=r"must end in \.keras, \.h5, \.tflite or \.onnx"):
        open_runner(as_model(tmp_path / "model.pt"))


def test_several_inputs_or_outputs_are_refused(network, tmp_path):
    import keras
    import tensorflow as tf

    two_outputs = keras.Model(network.input, [network.output, network.output * 2], name="two_outputs")
    two_outputs.save(tmp_path / "two.keras")
    with pytest.raises(DataError, match="2 outputs"):
        open_runner(as_model(tmp_path / "two.keras"))

    other = keras.Input(SHAPE)
    two_inputs = keras.Model([network.input, other], network.output + network(other), name="two_inputs")
    two_inputs.save(tmp_path / "inputs.keras")
    with pytest.raises(DataError, match="2 inputs"):
        open_runner(as_model(tmp_path / "inputs.keras"))

    serve = tf.function(lambda a, b: network(a) + network(b), input_signature=[tf.TensorSpec((1, *SHAPE))] * 2)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], None)
    (tmp_path / "two.tflite").write_bytes(converter.convert())
    with pytest.raises(DataError, match="2 inputs"):
        open_runner(as_model(tmp_path / "two.tflite"))


def test_a_feature_map_is_refused(network, tmp_path):
    import keras

    feature_map = keras.Model(network.input, network.layers[-2].output, name="map")
    feature_map.save(tmp_path / "map.keras")
    (tmp_path / "map.tflite").write_bytes(convert(feature_map, optimize=False))
    for name in ("map.keras", "map.tflite"):
        with pytest.raises(DataError, match="one embedding an image") as caught:
            open_runner(as_model(tmp_path / name))
        assert "pooling" in caught.value.hint.lower()


def test_an_input_that_is_no_image_is_refused(tmp_path):
    import keras

    vector = keras.Input((7,))
    keras.Model(vector, keras.layers.Dense(3)(vector)).save(tmp_path / "vector.keras")
    with pytest.raises(DataError, match=r"takes \(batch, H, W, C\)"):
        open_runner(as_model(tmp_path / "vector.keras"))
    any_size = keras.Input((None, None, 3))
    keras.Model(any_size, keras.layers.GlobalAveragePooling2D()(any_size)).save(tmp_path / "any.keras")
    with pytest.raises(DataError, match="fixed H, W and C"):
        open_runner(as_model(tmp_path / "any.keras"))


def test_images_of_another_shape(keras_file, int8_file, images):
    for model in (keras_file, int8_file):
        runner = open_runner(model)
        with pytest.raises(DataError, match=r"\(N, 32, 16, 3\), got \(9, 16, 16, 3\)"):
            runner.embed(images[:, :16])
        with pytest.raises(DataError, match=r"got \(32, 16, 3\)"):
            runner.embed(images[0])


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ToolNotFound, match="onnxruntime") as caught:
        open_runner(as_model(tmp_path / "model.onnx"))
    assert 'pip install "reidfw-targets[onnx]"' in caught.value.hint


def test_opening_writes_nothing_to_the_terminal(int8_file, capfd):
    open_runner(int8_file)
    assert capfd.readouterr() == ("", "")


def test_the_computer_describes_itself():
    info = Host().describe_target()
    assert "cores" in info.core
    assert info.ram_kib is None or info.ram_kib > 100_000


@pytest.mark.parametrize(
    ("name", "numeric", "shape", "embedding_dim"),
    [
        ("vww_96_int8.tflite", "int8", (96, 96, 3), 256),
        ("mobilenet_v1_0.25_128_quant.tflite", "uint8", (128, 128, 3), 256),
        ("vww_96.h5", "float32", (96, 96, 3), 256),
    ],
)
def test_published_files(name, numeric, shape, embedding_dim):
    """Files of other people's making: full-integer, uint8 of the first generation, a Keras 2 classifier."""
    if not (PRETRAINED / name).is_file():
        pytest.skip(f"the pretrained models lie beside the repository only where they were downloaded: no {name}")
    runner = open_runner(as_model(PRETRAINED / name), 2)
    assert (runner.format.numeric, runner.input_shape, runner.embedding_dim) == (numeric, shape, embedding_dim)
    images = np.random.default_rng(0).uniform(-1, 1, (3, *shape)).astype(np.float32)
    embeddings = runner.embed(images)
    assert np.isfinite(embeddings).all()
    assert np.array_equal(embeddings, runner.embed(images))
