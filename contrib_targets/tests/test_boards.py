"""The boards: all that the user's document names are there, with plausible facts and no abilities they lack."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points

import pytest
from pydantic import ValidationError
from reidfw_targets import board_tools
from typer.testing import CliRunner

from reidfw_core.api import ModelFormat, Target, ToolNotFound
from reidfw_core.cli.app import app

from .vendor_tool import write_stedgeai

NAMED_FOR_BENCHMARKING = {
    "STM32N6570-DK",
    "STM32H747I-DISCO",
    "STM32H7B3I-DK",
    "STM32F469I-DISCO",
    "B-U585I-IOT02A",
    "STM32L4R9I-DISCO",
    "NUCLEO-H743ZI2",
    "STM32H735G-DK",
    "STM32F769I-DISCO",
    "NUCLEO-G474RE",
    "NUCLEO-F401RE",
    "STM32F746G-DISCO",
}
NAMED_FOR_DEPLOYMENT = {"STM32N6570-DK", "NUCLEO-N657X0-Q", "STM32H747I-DISCO", "NUCLEO-H743ZI2"}

BOARDS = {
    entry.name: entry for entry in entry_points(group="reidfw.targets") if entry.module == "reidfw_targets.boards"
}


def test_the_boards_of_the_users_document_are_there():
    assert set(BOARDS) >= NAMED_FOR_BENCHMARKING | NAMED_FOR_DEPLOYMENT


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_board_describes_itself(name):
    board = BOARDS[name].load()
    assert issubclass(board, Target)
    assert board.__doc__.startswith(f"{name}: ")  # so each entry point names the class of its own board
    info = board().describe_target()
    assert info.core.startswith(("Cortex-", "2 x Cortex-"))
    assert info.source
    assert info.clock_mhz is None or 80 <= info.clock_mhz <= 1500
    assert info.ram_kib or info.external_ram_kib
    for text in ("tflite/int8", "onnx/int8_qdq", "keras/float32"):
        assert any(accepted.fits(ModelFormat.parse(text)) for accepted in board.accepts)
    deployable = board.facts.series in {"STM32N6", "STM32H7"}
    assert ("deploy_model" in dir(board)) == deployable


def test_the_npu_boards():
    boards = {name: BOARDS[name].load()().describe_target() for name in BOARDS}
    assert {name for name, info in boards.items() if info.npu == "Neural-ART"} == {"STM32N6570-DK", "NUCLEO-N657X0-Q"}
    assert boards["STM32N6570-DK"].ram_kib == 1792
    assert (boards["STM32H747I-DISCO"].clock_mhz, boards["STM32H747I-DISCO"].ram_kib) == (400, 1024)


def test_entry_points_import_no_framework():
    code = (
        "import sys, reidfw_targets.host as h, reidfw_targets.boards as b;"
        "h.Host().describe_target(); b.Stm32n6570Dk().describe_target();"
        "print(sorted({'tensorflow', 'keras', 'onnx', 'onnxruntime', 'ai_edge_litert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def h747(**params):
    board = BOARDS["STM32H747I-DISCO"].load()
    return board(board.Params(**params))


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    for name in ("STEDGEAI_CORE_DIR", "STM32_AI_EXE", "stmai_username", "stmai_password"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(board_tools, "tool_entries", dict)


@pytest.mark.usefixtures("nothing_installed")
def test_no_tool_at_all_is_told_with_what_to_do():
    with pytest.raises(ToolNotFound) as caught:
        h747().probe_target("benchmark_model")
    assert "on_cloud: True" in caught.value.hint
    assert h747().describe_abilities()["benchmark_model"].startswith("no: ST Edge AI Core is not there")


def test_the_tool_is_chosen_by_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    program = write_stedgeai(tmp_path / "2.0/Utilities/linux/stedgeai")
    found = h747(path_to_stedgeai=program).probe_target("benchmark_model")
    assert found.startswith("benchmark with stedgeai (stedgeai found by tools.stedgeai.path_to_stedgeai)")
    assert "ST Edge AI Core 2.0.0-20049" in found
    cloud = h747(path_to_stedgeai=program, on_cloud=True).describe_abilities()
    assert cloud["benchmark_model"] == "stedgeai_cloud (tools.stedgeai.on_cloud: True)"


@pytest.mark.parametrize("stand_in", [False, True])
def test_what_the_user_names_is_never_replaced(tmp_path, monkeypatch, stand_in):
    entry = EntryPoint("portable_c", "pathlib:Path", board_tools.GROUP)
    monkeypatch.setattr(board_tools, "tool_entries", lambda: {"portable_c": entry} if stand_in else {})
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ToolNotFound, match="in which there is no stedgeai"):
        h747(path_to_stedgeai=tmp_path).probe_target("benchmark_model")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tool": "stedgai"}, "There is no board tool 'stedgai' \\(did you mean 'stedgeai'"),
        ({"tool": "stedgeai", "tool_options": {"timeout": 3}}, "tool_options of 'stedgeai': timeout: Extra inputs"),
        ({"tool": "stedgeai_cloud", "tool_options": {"timeout_s": 0}}, "timeout_s: Input should be greater than 0"),
        ({"optimization": "speed"}, "optimization"),
    ],
)
def test_misspelt_settings(params, message):
    with pytest.raises(ValidationError, match=message):
        h747(**params)


def test_the_list_tells_what_each_can_do_here_and_now(tmp_path, monkeypatch):
    program = write_stedgeai(tmp_path / "2.0/Utilities/linux/stedgeai")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STEDGEAI_CORE_DIR", str(tmp_path / "2.0"))
    told = CliRunner().invoke(app, ["list", "targets", "--json"])
    here = {row["name"]: row["here"] for row in json.loads(told.stdout)}
    assert set(here) >= set(BOARDS)
    assert here["host"] == {"evaluate, predict": "yes", "benchmark": "-", "deploy": "-"}
    nucleo = here["NUCLEO-F401RE"]
    assert (nucleo["evaluate, predict"], nucleo["deploy"]) == ("-", "-")
    assert nucleo["benchmark"].startswith("stedgeai (stedgeai found by the environment variable STEDGEAI_CORE_DIR")
    assert here["STM32N6570-DK"]["deploy"].startswith("no: The STM32CubeProgrammer")
    assert here["STM32MP135F-DK"]["benchmark"].startswith("no: STM32MP135F-DK runs Linux")
    assert not (program.parent / "calls.json").exists()  # nothing is started
    shown = CliRunner().invoke(app, ["list", "targets"])
    (line,) = (line.split() for line in shown.stdout.splitlines() if line.startswith("NUCLEO-F401RE") and "[" in line)
    assert line[:2] == ["NUCLEO-F401RE", "-"]
    assert f"{line[3]} {nucleo['benchmark']}" in shown.stdout
