"""What a model file takes, and what ST published for models like it."""

import json
from pathlib import Path

import pytest
from reidfw_targets.boards import NucleoF401re, Stm32mp257fEv1
from reidfw_targets.emulation.memory import STACK_BYTES
from reidfw_targets.facts import BOARDS
from reidfw_targets.host import Host
from reidfw_targets.liveness import peak_bytes
from reidfw_targets.portable_c.placement import compile_for_board, variables_bytes
from reidfw_targets.published import FIGURES, figures_for
from typer.testing import CliRunner

from reidfw_core.api import DataError, ModelFile, ModelFormat
from reidfw_core.cli.app import app
from reidfw_core.cli.fit import fit

from .conftest import save_onnx


def test_what_portable_c_plans_counts_beside_operation_by_operation(wide_file, tmp_path):
    [estimate] = NucleoF401re().estimate_by_tool(model=wide_file, chosen_only=False)
    plan = compile_for_board(
        wide_file.path, tmp_path / "c", BOARDS["NUCLEO-F401RE"], input_mode=None, kernels="dsp"
    ).plan
    assert estimate.activations_bytes == plan.arena_bytes + variables_bytes(plan) + STACK_BYTES
    assert estimate.one_piece
    assert Stm32mp257fEv1().estimate_by_tool(model=wide_file, chosen_only=False) == []
    done = CliRunner().invoke(app, ["fit", str(wide_file.path), "--board", "NUCLEO-F401RE", "--json"])
    assert done.exit_code == 0, done.output
    [row] = json.loads(done.stdout)["boards"]
    assert (row["fit"], row["operation_by_operation"]) == ("green", "red")
    assert row["by_tool"][0]["method"].startswith("portable_c, image ")
    told = NucleoF401re(NucleoF401re.Params(tool="portable_c", tool_options={"input": "rows"}))
    [by_rows] = told.estimate_by_tool(model=wide_file, chosen_only=True)
    assert "row by row" in by_rows.method
    other = NucleoF401re(NucleoF401re.Params(tool="stedgeai"))
    assert other.estimate_by_tool(model=wide_file, chosen_only=True) == []


def test_live_tensors():
    sizes = {"image": 10, "a": 20, "b": 5, "c": 7}
    chain = [(["image", "w"], ["a"]), (["a"], ["b"]), (["b", "image"], ["c"])]
    assert peak_bytes(chain, sizes, ["image"], ["c"]) == 35  # image lives to the end: 10 + 20 + 5
    straight = [(["image"], ["a"]), (["a"], ["b"]), (["b"], ["c"])]
    assert peak_bytes(straight, sizes, ["image"], ["c"]) == 30
    assert peak_bytes([], sizes, ["image"], ["image"]) == 10


@pytest.mark.slow
def test_a_tflite_file(int8_file):
    found = Host().estimate_memory(int8_file)
    # three kernels; 10 biases of 4 bytes, all zero and so stored once for two layers; 20 biases; the pooling's two axes
    assert found.weights_bytes == 270 + 90 + 1800 + 40 + 80 + 8
    assert found.activations_bytes == 2 * 32 * 16 * 3  # the image as uint8 and as int8: more than any layer needs


@pytest.mark.slow
def test_an_onnx_file(network, tmp_path):
    found = Host().estimate_memory(save_onnx(network, tmp_path / "tiny.onnx", batch=1, channels_first=False))
    assert 4 * (270 + 90 + 1800) <= found.weights_bytes <= 4 * 2220  # zero biases may be left out
    assert found.activations_bytes >= 4 * 2 * 16 * 8 * 10


@pytest.mark.parametrize("name", ["cut.tflite", "cut.onnx", "x.pt"])
def test_damaged_files(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x08\x07nonsense TFL3")
    with pytest.raises(DataError):
        Host().estimate_memory(ModelFile(path=path, format=ModelFormat.of_file(path), name="cut"))


@pytest.mark.slow
def test_only_boards_are_listed(int8_file):
    outcome = CliRunner().invoke(app, ["fit", str(int8_file.path), "--json"])
    assert outcome.exit_code == 0, outcome.output
    names = {row["board"] for row in json.loads(outcome.stdout)["boards"]}
    assert {"NUCLEO-F401RE", "NUCLEO-N657X0-Q", "STM32MP257F-EV1"} <= names
    assert not names & {"host", "stedgeai_n6", "stedgeai_h7p", "stedgeai_host", "portable_c"}


@pytest.mark.parametrize(("model", "told"), [(".", "is a folder"), ("https://a.org/m.tflite", "Download it")])
def test_what_is_no_file_is_told_as_such(model, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        fit(Path(model), (), as_json=False)
    assert told in f"{caught.value.message} {caught.value.hint}"


def test_published_figures_belong_to_board_and_network():
    (row,) = figures_for("STM32H747I-DISCO", "osnet_a025_256x128_quantized", (256, 128, 3))
    assert (row.ram_kib, row.flash_kib, row.inference_ms) == (331.45, 139.52, 495.13)
    assert str(row).startswith("published for osnet_a025 256x128 int8: RAM 331.45 KiB")
    assert str(row).endswith("ST Edge AI Core 3.0.0)")
    assert figures_for("STM32H747I-DISCO", "quantized_model", (256, 128, 3)) == ()
    assert figures_for("NUCLEO-F401RE", "osnet_a025", (256, 128, 3)) == ()
    assert figures_for("STM32H747I-DISCO", "osnet_a025", None) == ()
    assert all(row.source and row.tool and row.engine for row in FIGURES)
    (wide,) = figures_for("STM32H747I-DISCO", "mobilenetv2_a100", (256, 128, 3))
    assert (wide.ram_kib, wide.external_ram_kib, wide.flash_kib, wide.inference_ms) == (398.25, 804.38, 2205.06, 729.45)
    assert figures_for("STM32H747I-DISCO", "mobilenetv2_a100", (64, 64, 3)) == ()
