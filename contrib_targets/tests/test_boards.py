"""The boards: all that the user's document names are there, with plausible facts and no abilities they lack."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from reidfw_core.api import ModelFormat, Target

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
