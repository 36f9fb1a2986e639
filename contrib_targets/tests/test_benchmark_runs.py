"""Benchmarks from the command line, with a program and a server that behave as ST's do."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from reidfw_targets import boards, published
from reidfw_targets.cloud import session
from reidfw_targets.cloud.tool import StEdgeAiCloud
from typer.testing import CliRunner

from reidfw_core.cli.app import app

from .cloud_server import LOGIN_PAGE, PASSWORD, start_cloud
from .conftest import SHAPE
from .vendor_deployment import Vendor
from .vendor_tool import write_stedgeai


@pytest.fixture
def run(tmp_path, monkeypatch, int8_file):
    """Runs ``reidfw run`` on a benchmarking configuration; gives the outcome and the run's summary, if any."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("STEDGEAI_CORE_DIR", "STM32_AI_EXE", "stmai_username", "stmai_password", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "osnet_a025_int8.tflite").write_bytes(Path(int8_file.path).read_bytes())
    (tmp_path / "bench.yaml").write_text(
        "operation_mode: benchmarking\n"
        "general: { display_figures: False }\n"
        "model: { model_path: osnet_a025_int8.tflite }\n"
        "tools: { stedgeai: { optimization: time } }\n"
        "benchmarking: { board: STM32H747I-DISCO }\n"
        "hydra: { run: { dir: out } }\n"
    )

    def call(*overrides: str):
        outcome = CliRunner().invoke(app, ["run", "bench.yaml", *overrides])
        summary = tmp_path / "out" / "summary.json"
        return outcome, json.loads(summary.read_text()) if summary.exists() else None

    return call


@pytest.mark.slow
def test_with_a_local_tool(run, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "_INPUT_SHAPE", SHAPE)  # the test's network passes for one of ST's
    program = write_stedgeai(tmp_path / "2.0/Utilities/linux/stedgeai")
    outcome, summary = run(f"tools.stedgeai.path_to_stedgeai={tmp_path / '2.0'}")
    assert outcome.exit_code == 0, outcome.output
    (found,) = summary["benchmarks"]
    assert (found["activations_ram_kib"], found["weights_flash_kib"], found["macs"]) == (40.0, 20.0, 3_000_000)
    assert found["tool"] == "ST Edge AI Core 2.0.0-20049, local"
    assert len(found["details"]["layers"]) == 2
    assert "495.13 ms" in outcome.output + outcome.stderr  # beside the measurement,
    assert found["inference_ms"] is None  # never as one
    assert "published" not in found["details"]  # they stand once, in a column of their own
    rows = {row["name"]: (row["measured"], row["published"]) for row in found["quantities"]}
    assert rows["RAM, activations"] == (40.0, 331.45)
    assert rows["Flash, weights"] == (20.0, 139.52)
    assert rows["Inference"] == (None, 495.13)
    assert "STM32 AI model zoo" in found["origins"]["published"]
    assert found["origins"]["measured"] == found["tool"]
    assert found["details"]["command"][0] == str(program)
    assert found["details"]["command"][-1] == "time"
    assert (tmp_path / "out/stm32ai_files/stedgeai.log").is_file()


@pytest.mark.slow
def test_figures_for_another_image_size_are_not_shown(run, tmp_path):
    write_stedgeai(tmp_path / "2.0/Utilities/linux/stedgeai")
    outcome, summary = run(f"tools.stedgeai.path_to_stedgeai={tmp_path / '2.0'}")
    assert outcome.exit_code == 0, outcome.output
    assert "published for" not in outcome.output + outcome.stderr
    (found,) = summary["benchmarks"]
    assert "published" not in found["details"]
    assert "published" not in found["origins"]


@pytest.fixture
def cloud(monkeypatch):
    """The cloud on this computer, with an account; nothing waits."""
    cloud, server = start_cloud()
    for name, value in {
        "BASE_URL_DEVCLOUD": cloud.address,
        "SSO_URL": cloud.address,
        "stmai_username": "me",
        "stmai_password": PASSWORD,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(session, "BACK_OFF_S", 0.001)
    monkeypatch.setattr(StEdgeAiCloud, "poll_s", 0.01)
    yield cloud
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_in_the_cloud(run, cloud):
    outcome, summary = run(
        "tools.stedgeai.on_cloud=True", "tools.stedgeai.version=2.0", "benchmarking.tool_options={delete_model: true}"
    )
    assert outcome.exit_code == 0, outcome.output
    (found,) = summary["benchmarks"]
    assert found["inference_ms"] == 495.13
    assert found["tool"] == "ST Edge AI Core 2.0.1, developer cloud"
    metrics = summary["metrics"]
    assert metrics["inference_time ms"] == 495.13
    assert (metrics["Internal Flash usage"], metrics["External Flash usage"]) == (8.0, 12.0)
    assert (metrics["Internal RAM usage"], metrics["External RAM usage"]) == (30.234, 9.766)
    assert (found["board_external_ram_kib"], found["external_ram_kib"]) == (8192, 10000 / 1024)
    assert cloud.files == {}
    assert PASSWORD not in outcome.output
    assert "HTTP Request" not in outcome.output + outcome.stderr


MODELS, START = "/api/file/files/models", "/api/benchmark/benchmark/stm32h747i-disco"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"failures": {MODELS: [401, 401]}}, "answered with status 401"),
        ({"failures": {MODELS: [500] * 9}}, "answered with status 500"),
        ({"failures": {START: [502]}}, "answered with status 502"),
        ({"failures": {MODELS: ["cut"]}}, "The connection to 127.0.0.1 failed"),
        ({"states": [{"state": "in_queue"}]}, "was given up: it has been in the queue"),
        ({"states": [{"state": "error", "message": "E103"}]}, "failed in the developer cloud: E103"),
        ({"states": [{"status": "done"}]}, "has no 'state'"),
        ({"states": [{"state": "done", "benchmark": {"info": {}}}]}, "do not tell activations"),
        ({"login_page": "<p>new</p>"}, "holds no log-in form"),
        ({"login_page": LOGIN_PAGE.replace("LT-42", "old")}, "refused the log-in of me"),
        ({"boards": {}}, "has no STM32H747I-DISCO"),
        ({"versions": "maintenance"}, "something that is no JSON"),
    ],
)
def test_a_fault_of_the_cloud_ends_the_run_with_its_cause_and_no_result(run, tmp_path, cloud, fault, message):
    for name, value in fault.items():
        setattr(cloud, name, value)
    outcome, summary = run("tools.stedgeai.on_cloud=True", "benchmarking.tool_options={timeout_s: 0.2}")
    assert outcome.exit_code == 3, outcome.output
    assert message in " ".join((outcome.output + outcome.stderr).split())
    assert summary is None or summary["benchmarks"] == []
    assert not (tmp_path / "out/reidfw/01-benchmark.json").exists()
    assert len(cloud.passwords) <= 1


@pytest.mark.slow
def test_a_dry_run_names_the_tool_and_what_it_would_do(run, tmp_path, cloud):
    program = write_stedgeai(tmp_path / "2.0/Utilities/linux/stedgeai")
    outcome, _ = run("--dry-run", f"tools.stedgeai.path_to_stedgeai={tmp_path / '2.0'}")
    text = " ".join(outcome.stdout.split())
    assert "Benchmarking, STM32H747I-DISCO: stedgeai (stedgeai found by tools.stedgeai.path_to_stedgeai)" in text
    assert f"{program} generate --target stm32h7 -m osnet_a025_int8.tflite" in text
    outcome, _ = run("--dry-run", "tools.stedgeai.on_cloud=True")
    assert "Benchmarking, STM32H747I-DISCO: stedgeai_cloud (tools.stedgeai.on_cloud: True)" in outcome.stdout
    assert f"POST {cloud.address}{START}" in outcome.stdout
    assert cloud.seen == []
    assert not (tmp_path / "out").exists()
    assert not (program.parent / "calls.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "code", "message"),
    [
        (["benchmarking.board=STM32H747I-DISC0"], 2, "STM32H747I-DISCO"),
        (["tools.stedgeai.path_to_stedgeai=no/such"], 2, "there is no file"),
        (["benchmarking.tool=stedgai"], 2, "did you mean 'stedgeai'"),
        (["benchmarking.tool_options={timeout: 3}", "benchmarking.tool=stedgeai"], 2, "timeout"),
        (["tools.stedgeai.on_cloud=True"], 3, "needs an account"),
        (["tools.stedgeai.path_to_stedgeai=hangs"], 3, "It printed nothing"),
        (["tools.stedgeai.path_to_stedgeai=fails"], 3, "no layer GELU"),
    ],
)
def test_bad_input(run, tmp_path, overrides, code, message):
    write_stedgeai(tmp_path / "hangs", version="")
    write_stedgeai(tmp_path / "fails", generate="print('no layer GELU'); sys.exit(2)")
    outcome, summary = run(*overrides)
    text = outcome.output + str(outcome.stderr if outcome.stderr_bytes else "")
    assert outcome.exit_code == code, text
    assert message in " ".join(text.split())
    assert "Traceback" not in text
    assert summary is None or summary["benchmarks"] == []


@pytest.mark.slow
def test_a_network_that_cannot_fit_stops_the_chain_before_training(run, tmp_path):
    pytest.importorskip("reidfw_backbones")
    pytest.importorskip("reidfw_dataset_readers")
    write_stedgeai(tmp_path / "stedgeai")
    (tmp_path / "bench.yaml").unlink()
    assert CliRunner().invoke(app, ["init", "-o", "bench.yaml"]).exit_code == 0
    outcome, summary = run(
        "operation_mode=chain_tqeb",
        "model.model_name=mobilenetv2_a100",
        "model.input_shape=(64,64,3)",
        "benchmarking.board=NUCLEO-F401RE",
        "tools.stedgeai.path_to_stedgeai=stedgeai",
        "hydra.run.dir=out",
    )
    assert outcome.exit_code == 3, outcome.output
    assert "does not fit NUCLEO-F401RE: weights of 2,205.1 KiB" in " ".join(outcome.output.split())
    assert summary is None
    assert not (tmp_path / "out").exists()


def weights_of(model) -> int:
    from reidfw_targets.host import Host

    return Host().estimate_memory(model).weights_bytes


@pytest.mark.slow
@pytest.mark.parametrize("too_many", [0, 1])
@pytest.mark.parametrize("mode", ["benchmarking", "deployment"])
def test_a_file_is_compared_with_its_board_to_the_byte_before_anything_is_done(
    run, tmp_path, monkeypatch, int8_file, mode, too_many
):
    room = replace(boards.Stm32h747iDisco.facts, flash_kib=(weights_of(int8_file) - too_many) / 1024, regions=())
    monkeypatch.setattr(boards.Stm32h747iDisco, "facts", room)
    vendor = Vendor(tmp_path / "vendor", board="STM32H747I-DISCO").write()
    (tmp_path / "bench.yaml").write_text(
        (tmp_path / "bench.yaml").read_text()
        + "preprocessing: { resizing: { aspect_ratio: fit, interpolation: nearest }, color_mode: rgb }\n"
        + "deployment:\n"
        + f"  c_project_path: '{vendor.project}'\n"
        + "  hardware_setup: { serie: STM32H7, board: STM32H747I-DISCO }\n"
    )
    outcome, summary = run(
        f"operation_mode={mode}",
        f"tools.stedgeai.path_to_stedgeai={vendor.stedgeai}",
        f"+tools.path_to_cubeIDE={vendor.cube_ide}",
    )
    text = " ".join(outcome.output.split())
    assert outcome.exit_code == (3 if too_many else 0), text
    assert ("KiB are 1 byte more than the flash of the board" in text) == bool(too_many)
    assert (summary is None) == bool(too_many)


@pytest.mark.slow
@pytest.mark.parametrize("flash_kib", [1, 1024])
def test_a_chain_that_quantizes_counts_bytes(run, tmp_path, monkeypatch, keras_file, images, flash_kib):
    room = replace(boards.Stm32h747iDisco.facts, flash_kib=flash_kib, regions=())
    monkeypatch.setattr(boards.Stm32h747iDisco, "facts", room)
    (tmp_path / "calibration").mkdir()
    for number, image in enumerate(images):
        pixels = ((image + 1) * 127.5).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "calibration" / f"a_{number}.png")
    write_stedgeai(tmp_path / "stedgeai")
    (tmp_path / "bench.yaml").write_text(
        (tmp_path / "bench.yaml").read_text()
        + "dataset: { quantization_path: calibration }\n"
        + "preprocessing:\n"
        + "  rescaling: { scale: 1/127.5, offset: -1 }\n"
        + "  resizing: { aspect_ratio: fit, interpolation: nearest }\n"
        + "  color_mode: rgb\n"
        + "quantization: { quantizer: TFlite_converter, quantization_type: PTQ }\n"
    )
    outcome, summary = run(
        "operation_mode=chain_qb",
        f"model.model_path={keras_file.path}",
        f"tools.stedgeai.path_to_stedgeai={tmp_path / 'stedgeai'}",
    )
    text = " ".join(outcome.output.split())
    if flash_kib == 1:
        assert outcome.exit_code == 3, text
        assert re.search(r"does not fit STM32H747I-DISCO: weights of 2\.\d KiB are [\d,]+ bytes more", text)
        assert "estimated for int8 from the architecture" in text
        assert not (tmp_path / "out").exists()
    else:
        assert outcome.exit_code == 0, text
        assert summary["benchmarks"][0]["model"]["format"] == "tflite/int8"


@pytest.mark.slow
def test_the_check_before_a_run_agrees_with_the_tool_that_measures(run, wide_file, tmp_path):
    common = (f"model.model_path={wide_file.path}", "benchmarking.board=NUCLEO-F401RE")
    outcome, _ = run(*common, "+benchmarking.tool=portable_c")
    assert outcome.exit_code == 0, outcome.output
    assert "more than the RAM of the board" not in outcome.output
    program = write_stedgeai(tmp_path / "stedgeai")
    outcome, _ = run(*common, "hydra.run.dir=again", f"tools.stedgeai.path_to_stedgeai={program}")
    assert "more than the RAM of the board (constants and live tensors" in " ".join(outcome.output.split())
