"""Reports of ST Edge AI Core: a real one to the figures in it, and every version and damage that is known."""

import copy
import json
from pathlib import Path

import pytest
from reidfw_targets.stedgeai.reports import ReportError, flash_split, read_folder, read_parts

from .vendor_tool import INFO, REPORT

REAL = Path(__file__).parents[3] / "shared" / "data" / "stedgeai_reports"
NAME = "sww_model_strm_ww_int8.tflite"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real reports are not there (../shared/data/stedgeai_reports)")
@pytest.mark.parametrize("left_out", [(), ("report",), ("c_info",), ("c_graph",), ("report", "c_info")])
def test_the_real_reports(tmp_path, left_out):
    for part in {"report", "c_info", "c_graph"} - set(left_out):
        name = f"{NAME}_{part}.json"
        (tmp_path / name).write_bytes((REAL / name).read_bytes())
    cost = read_folder(tmp_path)
    assert (cost.activations_bytes, cost.weights_bytes, cost.macs) == (5836, 23520, 652551)
    assert cost.runtime_flash_bytes is None  # null in the file: unknown, never 0
    assert cost.total_flash_bytes is None
    assert cost.duration_ms is None
    assert cost.tool_version is not None
    assert cost.tool_version.startswith("1.0.0-19899")
    assert cost.split.internal_ram is None  # no addresses in the file
    if "c_info" not in left_out or "c_graph" not in left_out:
        assert sum(layer.macs for layer in cost.layers) == 652551
        assert cost.layers[0].name == "conv2d_0"
        assert cost.layers[0].macs == 3400
        assert cost.layers[0].weights_bytes == 280  # 120 weights and 40 biases of 4 bytes
        assert cost.layers[0].kind == "Conv2D"


def test_the_split_is_not_swapped():
    split = read_parts({"info": INFO}).split
    assert (split.internal_ram, split.external_ram) == (30960, 10000)
    assert (split.internal_flash, split.external_flash) == (8192, 12288)


def test_flash_by_the_names_of_constants():
    assert flash_split(INFO, ["conv2d_0_weights"], ["gemm_1_weights"]) == (8192, 12288)
    assert flash_split(INFO, ["conv2d_0_weights"], ["gemm_1_weights", "unknown"]) is None
    assert flash_split({}, ["conv2d_0_weights"], []) is None


def test_totals():
    cost = read_parts({"report": REPORT, "info": INFO})
    assert cost.runtime_ram_bytes == 2048
    assert cost.total_ram_bytes == 40960 + 2048
    assert cost.total_flash_bytes == 20480 + 10240 + 1024
    assert [layer.weights_bytes for layer in cost.layers] == [8192, 12288]


def test_ram_size_of_old_tools_is_a_list():
    report = {**REPORT, "report_version": 1.0, "ram_size": [1234, 99], "rom_size": [777]}
    cost = read_parts({"report": report})
    assert (cost.activations_bytes, cost.weights_bytes) == (1234, 777)


def test_schema_1_without_pools_and_with_extra_memory():
    info = copy.deepcopy(INFO)
    info["json_schema_version"] = "1.0"
    del info["memory_pools"], info["environment"]
    info["memory_footprint"] = {"activations": 10, "weights": 20, "io": 5, "extra_ram": 3, "extra_flash": [4]}
    cost = read_parts({"info": info})
    assert (cost.total_ram_bytes, cost.total_flash_bytes, cost.tool_version) == (18, 24, None)


def test_a_measurement_on_a_board():
    info = copy.deepcopy(INFO)
    info["graphs"][0]["exec_time"] = {"cycles": 198052000, "duration_ms": 495.13, "cycles_by_macc": 1.2}
    info["graphs"][0]["nodes"][0]["exec_time"]["duration_ms"] = 300
    cost = read_parts({"info": info})
    assert (cost.cycles, cost.duration_ms, cost.layers[0].duration_ms) == (198052000, 495.13, 300.0)


def test_a_time_of_0_is_no_time():
    info = copy.deepcopy(INFO)
    info["graphs"][0]["exec_time"] = {"cycles": 0, "duration_ms": 0}
    cost = read_parts({"info": info})
    assert (cost.cycles, cost.duration_ms) == (None, None)


@pytest.mark.parametrize("part", ["memory_footprint", "graphs", "buffers", "memory_pools", "environment"])
def test_null_anywhere_in_the_info_is_unknown(part):
    info = {**copy.deepcopy(INFO), part: None}
    cost = read_parts({"report": REPORT, "info": info})
    assert cost.macs == 3_000_000


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no report in"),
        ({"network_report.json": ""}, "cannot be read, it may be cut off"),
        ({"network_report.json": json.dumps(REPORT)[:60]}, "cannot be read, it may be cut off"),
        ({"network_report.json": "[1, 2]"}, "'report' holds list instead of named values"),
        ({"network_report.json": json.dumps({"report_version": 3})}, "do not tell activations, weights, operations"),
        ({"network_c_info.json": json.dumps({**INFO, "graphs": "none"})}, "another structure than known"),
        ({"network_c_info.json": json.dumps({**INFO, "buffers": [3]})}, "another structure than known"),
    ],
)
def test_damaged_reports(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=message):
        read_folder(tmp_path)
