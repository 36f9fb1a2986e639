"""Portable C: what is refused, what the plan takes, and that every tensor equals LiteRT's reference kernels."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from reidfw_targets.facts import BOARDS
from reidfw_targets.portable_c import fixed_point as fp
from reidfw_targets.portable_c.compiling import Check, check_on_host, check_traced, compile_to
from reidfw_targets.portable_c.latency import calibrated_ratios, latency
from reidfw_targets.portable_c.network import shortened

from reidfw_core.api import DataError, DoesNotFit

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler on this computer"
)
SHAPE = (24, 16, 3)


def converted(network, folder: Path, name: str, *, io="int8", per_tensor=False) -> Path:
    import tensorflow as tf

    images = np.random.default_rng(1).uniform(-1, 1, (8, 1, *network.inputs[0].shape[1:])).astype(np.float32)
    serve = tf.function(lambda image: network(image, training=False))
    signature = tf.TensorSpec((1, *network.inputs[0].shape[1:]), tf.float32, name="image")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function(signature)], None)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = {"int8": tf.int8, "uint8": tf.uint8, "float32": tf.float32}[io]
    converter.inference_output_type = tf.float32 if io == "float32" else tf.int8
    converter._experimental_disable_per_channel = per_tensor
    path = folder / f"{name}.tflite"
    path.write_bytes(converter.convert())
    return path


def residual(x, layers):
    left = layers.Conv2D(12, 1, activation="relu6")(x)
    left = layers.DepthwiseConv2D(3, padding="same")(left)
    return layers.Add()([layers.Conv2D(x.shape[-1], 1)(left), x])


def gated(x, layers):
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(gate)
    return layers.Multiply()([x, gate])


def _squared_difference(x, layers):
    return layers.Subtract()([layers.Conv2D(10, 3, padding="same")(x), layers.Conv2D(10, 1)(x)])


BODIES = {
    "convolutions": lambda x, layers: layers.Conv2D(9, (5, 3), strides=(2, 1), padding="same", activation="relu")(x),
    "residual": residual,
    "gate": gated,
    "subtraction": _squared_difference,
    "pools": lambda x, layers: layers.AveragePooling2D(2, padding="same")(
        layers.MaxPooling2D(3, strides=2, padding="same")(x)
    ),
    "padding": lambda x, layers: layers.DepthwiseConv2D(3, strides=2)(layers.ZeroPadding2D(((0, 1), (1, 0)))(x)),
    "joined": lambda x, layers: layers.Concatenate()([layers.Conv2D(4, 1)(x), layers.Conv2D(6, 3, padding="same")(x)]),
    "hard swish": lambda x, layers: layers.Activation("hard_swish")(x),
    "dilated": lambda x, layers: layers.Conv2D(6, 3, dilation_rate=2, padding="same")(x),
    "rows that nobody reads": lambda x, layers: layers.Conv2D(8, 1, strides=2)(x),
    "tanh": lambda x, layers: layers.Activation("tanh")(x),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("portable_c")


def small_network(body: str):
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    image = keras.Input(SHAPE, name="camera")
    x = layers.Conv2D(10, 3, strides=1, padding="same", activation="relu")(image)
    x = BODIES[body](x, layers)
    return keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(11, 1)(x)), name="small")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("mode", ["resident", "rows"])
def test_every_tensor_equals_the_reference(body, mode, folder, tmp_path):
    path = folder / f"{body}.tflite"
    if not path.exists():
        converted(small_network(body), folder, body, io="uint8")
    compiled = compile_to(path, tmp_path, input_mode=mode)
    check = check_on_host(compiled, tmp_path, 2)
    assert check.different == ()
    assert check.tensors >= len(compiled.network.operators) - 1


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("io", ["int8", "float32"])
def test_per_tensor_weights_and_other_inputs(io, folder, tmp_path):
    path = converted(small_network("residual"), folder, f"residual_{io}", io=io, per_tensor=True)
    compiled = compile_to(path, tmp_path)
    assert check_on_host(compiled, tmp_path, 2).different == ()
    if io == "float32":
        assert any("float input" in note for note in compiled.network.notes)


@pytest.fixture(scope="module")
def model(folder) -> Path:
    return converted(small_network("residual"), folder, "model", io="uint8")


@needs_compiler
@pytest.mark.slow
def test_a_changed_weight_is_noticed(model, tmp_path):
    compiled = compile_to(model, tmp_path)
    source = tmp_path / "model.c"
    text = source.read_text()
    start = text.index("int8_t constant_")
    first = text.index("{\n", start) + 2
    number = text[first:].split(",")[0].strip()
    source.write_text(text[:first] + str(int(number) ^ 1) + text[first:].split(number, 1)[1])
    assert check_on_host(compiled, tmp_path, 1).different


@pytest.mark.slow
def test_memory_of_the_plan(model, tmp_path):
    resident = compile_to(model, tmp_path / "a", input_mode="resident").plan
    rows = compile_to(model, tmp_path / "b", input_mode="rows").plan
    image = resident.network.tensors[resident.network.image].num_bytes
    assert image <= resident.arena_bytes
    assert rows.arena_bytes < image + max(t.num_bytes for t in resident.network.tensors)
    with pytest.raises(DoesNotFit, match=r"the limit is 0\.1 KiB"):
        compile_to(model, tmp_path / "c", ram_limit_kib=0.1)


@pytest.mark.slow
def test_half_a_file_is_refused(model, tmp_path):
    path = tmp_path / "half.tflite"
    path.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    with pytest.raises(DataError, match="damaged"):
        compile_to(path, tmp_path / "out")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="There is no model file"):
        compile_to(tmp_path / "none.tflite", tmp_path)
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(DataError, match="int8"):
        compile_to(tmp_path / "model.keras", tmp_path)


def test_factors_keep_their_value():
    for real in (1e-9, 0.0007, 0.5, 0.999999, 1.0, 3.7):
        multiplier, shift = fp.quantize_multiplier(real)
        assert multiplier / (1 << 31) * 2.0**shift == pytest.approx(real, rel=1e-9)
        assert 1 << 30 <= multiplier < 1 << 31


def test_odd_names_stay_inside_of_their_comments(tmp_path, model):
    odd = tmp_path / "a\\*b??c \u00e9.tflite"
    odd.write_bytes(model.read_bytes())
    compile_to(odd, tmp_path / "c")
    first = (tmp_path / "c" / "model.c").read_text().splitlines()[0]
    assert first.startswith("/* Generated by reidfw from a_*b__c _")
    assert first.count("/*") == first.count("*/") == 1


def test_long_names_are_cut_at_a_slash():
    name = "block_1/expand/" + "x" * 20 + "/conv/BiasAdd;block_1/expand/Relu6"
    assert shortened(name) == "\u2026/" + "x" * 20 + "/conv/BiasAdd;block_1/expand/Relu6"
    assert shortened("y" * 70) == "\u2026" + "y" * 59
    assert shortened("short/name") == "short/name"


def test_rounding():
    assert [fp.rounding_shift_right(value, 1) for value in (-3, -1, 1, 3)] == [-2, -1, 1, 2]
    assert fp.multiply(100, 1 << 30, 0) == 50


def test_calibration_file(tmp_path):
    path = tmp_path / "cycles.csv"
    path.write_text("board,instructions,cycles\nA,100,150\nB,100,90\nA,200,240\n")
    assert calibrated_ratios(path, "A") == {100: [1.5], 200: [1.2]}
    f401 = BOARDS["NUCLEO-F401RE"]
    assert latency(f401, 84_000, path).basis.endswith("cycles.csv has no row for NUCLEO-F401RE")
    path.write_text("board,instructions,cycles\nNUCLEO-F401RE,100,150\nNUCLEO-F401RE,100,140\n")
    calibrated = latency(f401, 84_000, path)
    assert calibrated.basis == "calibrated on NUCLEO-F401RE, 1 model"  # two runs of it
    assert (calibrated.low_ms, calibrated.high_ms) == (pytest.approx(1.4), pytest.approx(1.5))
    with path.open("a") as file:
        file.write("NUCLEO-F401RE,300,435\n")
    assert latency(f401, 84_000, path).basis == "calibrated on NUCLEO-F401RE, 2 models"
    path.write_text("board,instructions,cycles\nA,100,many\n")
    with pytest.raises(DataError, match=r"cycles\.csv:2"):
        calibrated_ratios(path, "A")
    path.write_text("board,cycles\n")
    with pytest.raises(DataError, match="no column instructions"):
        calibrated_ratios(path, "A")


@needs_compiler
@pytest.mark.slow
def test_command_writes_code_that_builds(model, tmp_path):
    import subprocess

    from typer.testing import CliRunner

    from reidfw_core.cli.app import app

    folder = tmp_path / "code"
    done = CliRunner().invoke(app, ["compile", str(model), "-o", str(folder), "--input", "rows"])
    assert done.exit_code == 0, done.output
    assert "equal LiteRT" in done.output
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]
    program = tmp_path / "example"
    subprocess.run(["cc", *flags, *map(str, folder.glob("*.c")), "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0
    wrong = CliRunner().invoke(app, ["compile", str(model), "-o", str(folder), "--input", "row"])
    assert wrong.exit_code == 2


@pytest.mark.slow
def test_code_that_was_not_checked_or_is_wrong_is_not_left(model, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from reidfw_core.api import ToolNotFound
    from reidfw_core.cli.app import app

    def call(*arguments):
        return CliRunner().invoke(app, ["compile", str(model), "-o", str(tmp_path / "new" / "code"), *arguments])

    def no_compiler():
        raise ToolNotFound("There is no C compiler", hint="Run: pip install thing")

    with monkeypatch.context() as patch:
        patch.setattr("reidfw_targets.portable_c.host.find_host_compiler", no_compiler)
        refused = call()
        assert refused.exit_code == 3
        assert "--verify 0 writes the code unchecked" in refused.output
    assert call("--ram-limit", "1").exit_code == 3
    with monkeypatch.context() as patch:
        patch.setattr(
            "reidfw_targets.portable_c.compiling.check_on_host",
            lambda *_: Check(images=1, tensors=1, different=("t: 1 of 2 elements, by up to 3",)),
        )
        refused = call()
        assert refused.exit_code == 3
        assert "t: 1 of 2 elements" in refused.output
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new" / "code").mkdir(parents=True)
    (tmp_path / "new" / "code" / "mine.txt").write_text("kept")
    assert call("--verify", "0").exit_code == 0
    names = {path.name for path in (tmp_path / "new" / "code").iterdir()}
    assert {"mine.txt", "model.c", "reid.h"} <= names
    assert not any(name.startswith(".") for name in names)


@pytest.mark.slow
def test_dsp_kernels_on_the_emulated_core(model, tmp_path):
    for module in ("unicorn", "elftools"):
        pytest.importorskip(module, reason=f"emulation needs {module}")
    from reidfw_targets.emulation import build_firmware, run_firmware
    from reidfw_targets.facts import BOARDS
    from reidfw_targets.portable_c.compiling import random_images

    from reidfw_core.api import ToolNotFound

    compiled = compile_to(model, tmp_path / "code", input_mode="rows", kernels="dsp")
    board = BOARDS["NUCLEO-F401RE"]
    try:
        firmware = build_firmware(board, compiled.generated.sources, tmp_path / "firmware", trace=True)
    except ToolNotFound as missing:
        pytest.skip(missing.message)
    images = random_images(compiled.network, 1)
    run = run_firmware(firmware, images)
    tensors = run.tensors()
    assert len(tensors) == len(compiled.network.tensors)
    assert check_traced(compiled, images[0], tensors).different == ()


@needs_compiler
@pytest.mark.slow
def test_the_target_gives_the_reference_embeddings(model):
    from reidfw_targets.portable_c.target import PortableCTarget

    from reidfw_core.api import ModelFile, ModelFormat

    images = np.random.default_rng(4).uniform(-1, 1, (3, *SHAPE)).astype(np.float32)
    file = ModelFile(path=model, format=ModelFormat.of_file(model), name="model")
    portable = PortableCTarget().open_runner(model=file, num_threads=1)
    from reidfw_targets.host import Host

    host = Host().open_runner(model=file, num_threads=1)
    try:
        ours, theirs = portable.embed(images), host.embed(images)
    finally:
        portable.close()
        host.close()
    assert ours.shape == (3, portable.embedding_dim)
    # XNNPACK rounds a few elements to the neighbouring step
    steps = np.abs(ours - theirs) / np.unique(np.abs(np.diff(np.unique(theirs)))).min()
    assert steps.max() <= 2.5
