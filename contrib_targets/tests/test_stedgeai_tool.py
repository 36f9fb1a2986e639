"""A benchmark with a local tool, end to end against programs with its command line."""

import json
import logging
from contextlib import contextmanager
from pathlib import Path

import pytest
from reidfw_targets.board_tools import ToolSettings
from reidfw_targets.facts import BOARDS
from reidfw_targets.stedgeai.tool import StEdgeAi

from reidfw_core.api import ModelFile, ModelFormat, ToolFailed, ToolNotFound

from .vendor_tool import REPORT, calls_of, write_stedgeai

H747 = BOARDS["STM32H747I-DISCO"]


@pytest.fixture
def model(tmp_path) -> ModelFile:
    path = tmp_path / "my model.tflite"
    path.write_bytes(b"....TFL3")
    return ModelFile(path=path, format=ModelFormat("tflite"), name="my model", input_shape=(256, 128, 3))


@pytest.fixture
def work(tmp_path) -> Path:
    (tmp_path / "stm32ai_files").mkdir()
    return tmp_path / "stm32ai_files"


def tool_at(program: Path, **options) -> StEdgeAi:
    return StEdgeAi(ToolSettings(path_to_stedgeai=program), StEdgeAi.Params(**options))


def test_a_benchmark(tmp_path, model, work, caplog):
    program = write_stedgeai(tmp_path / "2.0/Utilities/linux/stedgeai")
    tool = tool_at(program)
    assert tool.find(H747).startswith(f"ST Edge AI Core 2.0.0-20049, {program}")
    (work / "old_report.json").write_text("{")  # of an earlier run
    with caplog.at_level(logging.INFO):
        report = tool.benchmark(H747, model, work)
    assert (report.activations_ram_kib, report.weights_flash_kib, report.macs) == (40.0, 20.0, 3_000_000)
    assert (report.total_ram_kib, report.total_flash_kib) == (42.0, 31.0)
    assert report.inference_ms is None  # only a board can tell
    assert report.tool == "ST Edge AI Core 2.0.0-20049, local"
    assert report.details["layers"][0] == {
        "name": "conv2d_0",
        "kind": "Conv2D",
        "macs": 1_000_000,
        "weights_bytes": 8192,
        "mapping": "NODE_SW",
    }
    assert (report.internal_ram_kib, report.external_ram_kib) == (30960 / 1024, 10000 / 1024)
    assert (report.internal_flash_kib, report.external_flash_kib) == (8.0, 12.0)
    assert (report.runtime_ram_kib, report.code_flash_kib) == (2.0, 11.0)
    assert report.labels == {"stm32ai_version": "2.0.0-20049"}
    assert calls_of(program)[-1] == [
        *("generate", "--target", "stm32h7", "-m", str(model.path), "-v", "0"),
        *("--output", str(work), "--workspace", str(work), "--optimization", "balanced"),
    ]
    assert (program.parent / "tag.txt").read_text() == "stmai_modelzoo_my_model_256_reidfw"
    assert "Loading the model" in (work / "stedgeai.log").read_text()
    assert str(work / "stedgeai.log") in caplog.text


def test_the_npu_is_used_on_n6(tmp_path, model, work):
    program = write_stedgeai(tmp_path / "stedgeai")
    report = tool_at(program).benchmark(BOARDS["NUCLEO-N657X0-Q"], model, work)
    option, value = calls_of(program)[-1][-2:]
    profile, _, settings = value.partition("@")
    assert (option, profile) == ("--st-neural-art", "reid")
    assert "stm32n6" in calls_of(program)[-1]
    told = json.loads(Path(settings).read_text())["Profiles"][profile]
    pools = json.loads((Path(settings).parent / told["memory_pool"]).read_text())["memory"]["mempools"]
    assert [pool["offset"]["value"] for pool in pools[:4]] == ["0x34200000", "0x34270000", "0x342E0000", "0x34350000"]
    assert "--enable-epoch-controller" in told["options"]
    assert report.details["neural_art"] is True


def test_what_a_dry_run_lists_is_what_is_run(tmp_path, model, work):
    program = write_stedgeai(tmp_path / "stedgeai")
    tool = tool_at(program)
    listed = tool.list_commands(H747, model, work)
    assert not (tmp_path / "calls.json").exists()
    tool.benchmark(H747, model, work)
    assert [list(line.argv[1:]) for line in listed] == calls_of(program)


def test_the_tool_tells_how_long_it_has_been_at_work(tmp_path, model, work):
    program = write_stedgeai(tmp_path / "stedgeai", generate="time.sleep(2.5)")
    told: list[tuple[str, int]] = []

    @contextmanager
    def progress(task, total, unit):
        assert (total, unit) == (0, "s")  # nobody knows how long it will take
        yield lambda done: told.append((task, done))

    StEdgeAi(ToolSettings(path_to_stedgeai=program), None, progress).benchmark(H747, model, work)
    assert told[:2] == [("Compile for STM32H747I-DISCO", 1), ("Compile for STM32H747I-DISCO", 2)]


def test_colours_stay_out_of_log_and_version(tmp_path, model, work):
    program = write_stedgeai(
        tmp_path / "stedgeai",
        version="\x1b[32mST Edge AI Core v4.0.1-20581 7ed50de05\x1b[0m\n   STM32CubeAI 12.0.1-RC2",
        generate="print('\\x1b[31mE010: no layer GELU\\x1b[0m'); sys.exit(1)",
    )
    assert tool_at(program).find(H747).startswith("ST Edge AI Core 4.0.1-20581,")
    with pytest.raises(ToolFailed, match=r"(?m)^    E010: no layer GELU$"):
        tool_at(program).benchmark(H747, model, work)
    assert "\x1b" not in (work / "stedgeai.log").read_text()


def test_linux_boards_are_for_the_cloud(tmp_path):
    with pytest.raises(ToolNotFound, match="only ST's developer cloud"):
        tool_at(write_stedgeai(tmp_path / "stedgeai")).find(BOARDS["STM32MP257F-EV1"])


@pytest.mark.parametrize(
    ("generate", "reports", "message"),
    [
        (
            "print('E010(InvalidModelError): Layer not supported: GELU'); sys.exit(2)",
            None,
            "(?s)status 2.*Layer not sup",
        ),
        ("os.kill(os.getpid(), signal.SIGABRT)", None, "(?s)ended by the signal SIGABRT.*Loading the model"),
        ("time.sleep(60)", None, "(?s)did not end within 2 s.*Loading the model"),
        ("", {}, "(?s)ended without error, but there is no report.*elapsed time"),
        ("", {"network_report.json": '{"ram_size": 1,'}, "(?s)ended without error, but .*cut off"),
        ("", {"network_report.json": {**REPORT, "rom_size": None}}, "do not tell weights"),
    ],
)
def test_whatever_fails_shows_why(tmp_path, model, work, generate, reports, message):
    program = write_stedgeai(tmp_path / "stedgeai", generate=generate, reports=reports)
    with pytest.raises(ToolFailed, match=message) as caught:
        tool_at(program, timeout_s=2).benchmark(H747, model, work)
    assert caught.value.exit_code == 3


def test_reports_of_an_earlier_run_are_never_taken_for_this_one(tmp_path, model, work):
    good = write_stedgeai(tmp_path / "good" / "stedgeai")
    tool_at(good).benchmark(H747, model, work)
    bad = write_stedgeai(tmp_path / "bad" / "stedgeai", reports={})
    with pytest.raises(ToolFailed, match="there is no report"):
        tool_at(bad).benchmark(H747, model, work)
