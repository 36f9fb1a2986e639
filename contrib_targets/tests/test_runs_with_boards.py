"""Whole runs from the command line: evaluation and prediction on devices, quantization and deployment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from .simulated_board import S8, U8, Board, Tensor
from .vendor_deployment import Vendor
from .vendor_device import device_calls, write_installation

pytestmark = pytest.mark.slow

PREPROCESSING = """
preprocessing:
  rescaling: { scale: 1/127.5, offset: -1 }
  resizing: { aspect_ratio: fit, interpolation: nearest }
  color_mode: rgb
hydra: { run: { dir: ./out } }
"""


@pytest.fixture
def reidfw(tmp_path, monkeypatch):
    """The command line, in an empty folder with a few images of four identities."""
    rng = np.random.default_rng(0)
    for role, frames in (("query", 1), ("gallery", 3)):
        (tmp_path / role).mkdir()
        for identity in range(4):
            base = np.random.default_rng(identity).integers(0, 256, (4, 2, 3))
            for frame in range(frames):
                pixels = np.kron(base, np.ones((8, 8, 1))) + rng.normal(0, 25, (32, 16, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(tmp_path / role / f"p{identity}_{frame}.png")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        from typer.testing import CliRunner

        from reidfw_core.cli.app import app

        result = CliRunner().invoke(app, [str(one) for one in arguments], prog_name="reidfw")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(code=result.exit_code, text=" ".join((result.stdout + result.stderr).split()))

    return call


def evaluation(tmp_path: Path, model, executable: Path, target: str, more: str = "") -> Path:
    path = tmp_path / "evaluation.yaml"
    path.write_text(
        f"""
operation_mode: evaluation
model: {{ model_path: {model.path} }}
dataset: {{ test_query_path: ./query, test_gallery_path: ./gallery }}
evaluation: {{ target: {target}, bootstrap_samples: 0, embedding_map: none{more} }}
tools: {{ stedgeai: {{ path_to_stedgeai: '{executable}' }} }}
{PREPROCESSING}"""
    )
    return path


def board_with(model) -> Board:
    """A board whose firmware computes the very model."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model.path))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def compute(image: bytes) -> bytes:
        interpreter.set_tensor(taken["index"], np.frombuffer(image, np.uint8).reshape(taken["shape"]))
        interpreter.invoke()
        return interpreter.get_tensor(given["index"]).tobytes()

    return Board(
        compute,
        Tensor(tuple(taken["shape"]), U8, *taken["quantization"]),
        Tensor(tuple(given["shape"]), S8, *given["quantization"]),
    )


def scores(folder: Path) -> dict[str, object]:
    facts = json.loads(next(folder.glob("*_reid_threshold.json")).read_text())
    result = json.loads((folder / "reidfw" / "01-evaluate.json").read_text())["result"]
    return {"threshold": facts["threshold"], "mAP": result["mean_average_precision"], "kind": result["kind"]}


def test_a_board_gives_the_same_ranking_as_this_computer(reidfw, tmp_path, int8_file) -> None:
    executable = write_installation(tmp_path)
    with board_with(int8_file) as board:
        config = evaluation(tmp_path, int8_file, executable, "stedgeai_n6", f", serial_port: {board.port}")
        done = reidfw("run", config, "hydra.run.dir=./board")
        assert done.code == 0, done.text
        assert board.inferences == 4 + 12
    assert reidfw("run", config, "evaluation.target=host", "~evaluation.serial_port", "hydra.run.dir=./host").code == 0
    assert scores(tmp_path / "board") == scores(tmp_path / "host")
    assert scores(tmp_path / "board")["kind"] == "int"
    scripts = executable.parents[2] / "scripts" / "N6_scripts"
    model, options = str(int8_file.path), [
        *("--input-data-type", "uint8", "--output-data-type", "int8"),
        *("--inputs-ch-position", "chlast", "--outputs-ch-position", "chlast"),
    ]  # fmt: skip
    assert [call for call in device_calls(tmp_path) if call[0] != "--version"] == [
        [
            *("generate", "--c-api", "st-ai", "--model", model, "--target", "stm32n6"),
            *("--st-neural-art", "profile_O3@user_neuralart.json", *options, str(scripts)),
        ],
        ["n6_loader.py", "--n6-loader-config", "./config_n6l.json", str(scripts)],
        [
            *("validate", "--c-api", "st-ai", "--model", model, "--target", "stm32n6", "--mode", "target"),
            *("-d", f"serial:{board.port}:921600", "-b", "1", *options, str(scripts)),
        ],
    ]
    assert "Start operation achieved" in (tmp_path / "board" / "stm32ai_files" / "device.log").read_text()
    assert "Inference on the device: 12.500 ms" in (tmp_path / "board" / "stm32ai_main.log").read_text()


def test_a_ready_board_is_taken_as_it_is(reidfw, tmp_path, int8_file) -> None:
    with board_with(int8_file) as board:
        more = f", serial_port: {board.port}, profile: auto_valid"
        config = evaluation(tmp_path, int8_file, tmp_path / "no_tool", "stedgeai_n6", more)
        assert reidfw("run", config).code == 0
        board.output = Tensor((1, 21), S8, 0.1, 0)  # another model is loaded
        done = reidfw("run", config, "hydra.run.dir=./other")
    assert done.code == 3
    assert "Another model is loaded on the board" in done.text
    assert not (tmp_path / "other" / "reidfw" / "01-evaluate.json").exists()
    assert not list((tmp_path / "other").glob("*_threshold.json"))


def test_the_library_for_this_computer(reidfw, tmp_path, int8_file) -> None:
    executable = write_installation(tmp_path)
    config = evaluation(tmp_path, int8_file, executable, "stedgeai_host")
    done = reidfw("run", config, "hydra.run.dir=./library")
    assert done.code == 0, done.text
    assert reidfw("run", config, "evaluation.target=host", "hydra.run.dir=./host").code == 0
    assert scores(tmp_path / "library") == scores(tmp_path / "host")
    call = device_calls(tmp_path)[-1]
    assert call[:7] == ["generate", "--c-api", "st-ai", "--model", str(int8_file.path), "--target", "stm32"]
    assert call[7] == "--dll"


def test_prediction_on_a_board(reidfw, tmp_path, int8_file) -> None:
    executable = write_installation(tmp_path)
    with board_with(int8_file) as board:
        path = tmp_path / "prediction.yaml"
        path.write_text(
            f"""
operation_mode: prediction
model: {{ model_path: {int8_file.path} }}
dataset: {{ prediction_query_path: ./query, prediction_gallery_path: ./gallery }}
prediction: {{ target: stedgeai_n6, serial_port: {board.port} }}
tools: {{ stedgeai: {{ path_to_stedgeai: '{executable}' }} }}
{PREPROCESSING}"""
        )
        done = reidfw("run", path)
    assert done.code == 0, done.text
    assert (tmp_path / "out" / "predictions").is_dir()


@pytest.mark.parametrize(
    ("faults", "target", "told"),
    [
        ({"generate": "print('E103: not supported'); sys.exit(1)"}, "stedgeai_n6", "E103: not supported"),
        ({"load": "sys.exit(-1)"}, "stedgeai_n6", "Build and load the validation firmware: "),
        ({"generate": "sys.exit(3)"}, "stedgeai_host", "Build the network for this computer: "),
        ({"generate": "sys.exit(0)"}, "stedgeai_host", "made no st_ai_ws"),
        ({"connect": "raise RuntimeError('E801')"}, "stedgeai_host", "E801"),
        ({"connect": "import os; os.abort()"}, "stedgeai_host", "ended with code -6"),
        ({"connect": "import nothing_like_this"}, "stedgeai_host", "nothing_like_this"),
        ({"invoke": "raise ValueError('E804')"}, "stedgeai_host", "E804"),
    ],
)
def test_faults_end_the_run_with_their_cause_and_no_result(reidfw, tmp_path, int8_file, faults, target, told) -> None:
    executable = write_installation(tmp_path, **faults)
    with board_with(int8_file) as board:
        more = f", serial_port: {board.port}" if target == "stedgeai_n6" else ""
        done = reidfw("run", evaluation(tmp_path, int8_file, executable, target, more))
    assert done.code == 3, done.text
    assert told in done.text
    assert not (tmp_path / "out" / "reidfw" / "01-evaluate.json").exists()
    assert json.loads((tmp_path / "out" / "reidfw" / "status.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("remove", "target", "told"),
    [
        ("scripts/N6_scripts/n6_loader.py", "stedgeai_n6", "lacks n6_loader.py"),
        ("scripts/ai_runner/stm_ai_runner/__init__.py", "stedgeai_host", "stm_ai_runner is not in"),
        ("Utilities/linux/stedgeai", "stedgeai_n6", "which is not there"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_done(reidfw, tmp_path, int8_file, remove, target, told) -> None:
    executable = write_installation(tmp_path)
    (executable.parents[2] / remove).unlink()
    more = ", serial_port: /dev/null" if target == "stedgeai_n6" else ""
    done = reidfw("run", evaluation(tmp_path, int8_file, executable, target, more))
    assert done.code == 3, done.text
    assert told in done.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("profile", ["", ", profile: auto_valid"])
def test_a_busy_port_is_said_before_anything_is_done(reidfw, tmp_path, int8_file, profile) -> None:
    import serial

    executable = write_installation(tmp_path)
    with board_with(int8_file) as board, serial.Serial(board.port, exclusive=True):
        config = evaluation(tmp_path, int8_file, executable, "stedgeai_n6", f", serial_port: {board.port}{profile}")
        done = reidfw("run", config)
    assert done.code == 3, done.text
    assert f"The serial port {board.port} is in use by another program" in done.text
    assert not (tmp_path / "out").exists()


def chain_qd(tmp_path: Path, model, vendor: Vendor, more: str = "") -> Path:
    path = tmp_path / "chain_qd.yaml"
    path.write_text(
        f"""
operation_mode: chain_qd
model: {{ model_path: {model.path} }}
dataset: {{ quantization_path: ./gallery }}
quantization:
  quantizer: TFlite_converter
  quantization_type: PTQ
  quantization_input_type: uint8
  quantization_output_type: int8
tools:
  stedgeai: {{ path_to_stedgeai: '{vendor.stedgeai}' }}
  path_to_cubeIDE: '{vendor.cube_ide}'
deployment:
  c_project_path: '{vendor.project}'
  hardware_setup: {{ serie: STM32N6, board: STM32N6570-DK }}
{more}{PREPROCESSING}"""
    )
    return path


def header_of(vendor: Vendor) -> str:
    return (vendor.project / "app" / "Inc" / "app_config.h").read_text()


def test_chain_qd_quantizes_and_deploys(reidfw, tmp_path, keras_file) -> None:
    vendor = Vendor(tmp_path / "vendor").write()
    config = chain_qd(tmp_path, keras_file, vendor, "app: { score_threshold: 0.25, max_object_tracking: 7 }\n")
    shown = reidfw("run", "--dry-run", config)
    assert shown.code == 0
    assert not vendor.calls()
    assert not (tmp_path / "out").exists()
    done = reidfw("run", config)
    assert done.code == 0, done.text
    ran = [call[0] for call in vendor.calls() if "--version" not in call]
    probes, deployment = ran[:1], ran[1:]  # the board is looked for before the quantization too
    assert probes == ["STM32_Programmer_CLI"]
    assert deployment == [
        *("STM32_Programmer_CLI", "stedgeai", "stm32cubeide", "STM32_SigningTool_CLI"),
        *(4 * ["STM32_Programmer_CLI"]),
    ]
    for program in set(deployment):
        assert program in shown.text
    assert "#define APP_SCORE_THRESHOLD (0.25000000f)" in header_of(vendor)
    assert "#define APP_MAX_OBJECT_TRACKING (7)" in header_of(vendor)
    model = vendor.calls("stedgeai")[-1]
    assert model[model.index("-m") + 1] == str(tmp_path / "out" / "quantized_models" / "quantized_model.tflite")
    assert "both boot switches to the left" in done.text


def test_the_threshold_of_the_models_evaluation_is_compiled_in(reidfw, tmp_path, int8_file) -> None:
    run = tmp_path / "earlier"
    (run / "quantized_models").mkdir(parents=True)
    model = run / "quantized_models" / "quantized_model.tflite"
    model.write_bytes(int8_file.path.read_bytes())
    config = evaluation(tmp_path, SimpleNamespace(path=model), tmp_path / "none", "host")
    assert reidfw("run", config, "hydra.run.dir=./scored").code == 0
    measured = next((tmp_path / "scored").glob("*_reid_threshold.json"))
    value = json.loads(measured.read_text())["threshold"]
    vendor = Vendor(tmp_path / "vendor").write()
    text = chain_qd(tmp_path, SimpleNamespace(path=model), vendor).read_text().replace("chain_qd", "deployment")
    (tmp_path / "deployment.yaml").write_text(text)
    unmeasured = reidfw("run", "deployment.yaml", "hydra.run.dir=./first")
    assert "which nobody measured" in unmeasured.text
    assert "(0.50000000f)" in header_of(vendor)
    (run / measured.name).write_bytes(measured.read_bytes())
    assert reidfw("run", "deployment.yaml", "hydra.run.dir=./second").code == 0
    assert f"({value:.8f}f)" in header_of(vendor)
    assert str(run / measured.name) in header_of(vendor)
    given = reidfw("run", "deployment.yaml", f"+app.score_threshold={measured}", "hydra.run.dir=./third")
    assert given.code == 0, given.text
    other = reidfw("run", "deployment.yaml", "+app.score_threshold=./nothing.json", "hydra.run.dir=./fourth")
    assert other.code == 2
    assert "nothing.json" in other.text


def test_no_board_is_said_before_the_quantization(reidfw, tmp_path, keras_file) -> None:
    vendor = Vendor(tmp_path / "vendor", probes=()).write()
    done = reidfw("run", chain_qd(tmp_path, keras_file, vendor))
    assert done.code == 3
    assert "No ST-LINK probe is connected" in done.text
    assert not (tmp_path / "out").exists()


def test_a_board_that_fails_leaves_no_result(reidfw, tmp_path, keras_file) -> None:
    vendor = Vendor(tmp_path / "vendor", faults={"STM32_Programmer_CLI": "sys.exit(1)"}).write()
    done = reidfw("run", chain_qd(tmp_path, keras_file, vendor))
    assert done.code == 3
    assert "State of the STM32N6570-DK" in done.text
    state = json.loads((tmp_path / "out" / "reidfw" / "status.json").read_text())
    assert state["failed_step"] == "deploy"
    assert not list((tmp_path / "out" / "reidfw").glob("*-deploy.json"))
