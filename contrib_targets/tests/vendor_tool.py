"""Programs that the tests write: they behave as ST's tool does, well or badly."""

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

REPORT: dict[str, Any] = {
    "report_version": 1.1,
    "cli_version_str": "2.0.0-20049",
    "ram_size": 40960,
    "rom_size": 20480,
    "rom_n_macc": 3_000_000,
    "ram_io_size": [0, 0],
}
INFO: dict[str, Any] = {
    "json_schema_version": "2.0",
    "environment": {"tools": [{"name": "ST.EdgeAI.Core", "version": "2.0.0-20049"}]},
    "graphs": [
        {
            "exec_time": {"cycles": None, "duration_ms": None},
            "nodes": [
                {"id": 1, "name": "conv2d_0", "description": "Conv2D", "macc": 1_000_000, "mapping": "NODE_SW",
                 "inputs": [10, 11], "exec_time": {"duration_ms": None}},
                {"id": 2, "name": "gemm_1", "description": "Dense", "macc": 2_000_000, "mapping": "NODE_SW",
                 "inputs": [12, 13], "exec_time": {"duration_ms": None}},
            ],
        }
    ],
    "buffers": [
        {"id": 11, "name": "conv2d_0_weights_array", "is_param": True, "size_bytes": 8192},
        {"id": 13, "name": "gemm_1_weights_array", "is_param": True, "size_bytes": 12288},
        {"id": 10, "name": "input_array", "is_param": False, "size_bytes": 3072},
    ],
    "memory_footprint": {
        "activations": 40960, "weights": 20480, "io": [0, 0], "kernel_flash": 10240, "kernel_ram": 2048,
        "toolchain_flash": 1024, "toolchain_ram": None, "series": "stm32h7",
    },
    "memory_pools": [
        {"id": 0, "name": "AXIRAM", "rights": "ACC_WRITE", "address": "0x24000000", "size_bytes": 524288,
         "used_size_bytes": 30960, "subpools": [], "virtual": False},
        {"id": 1, "name": "SDRAM", "rights": "ACC_WRITE", "address": "0xD0000000", "size_bytes": 8388608,
         "used_size_bytes": 10000, "subpools": [], "virtual": False},
        {"id": 2, "name": "both", "rights": "ACC_WRITE", "address": "0x24000000", "size_bytes": 524288,
         "used_size_bytes": 40960, "subpools": [0, 1], "virtual": True},
        {"id": 3, "name": "FLASH", "rights": "ACC_READ", "address": 0x08000000, "size_bytes": 2097152,
         "used_size_bytes": 8192, "subpools": [], "virtual": False},
        {"id": 4, "name": "EXTERNAL_FLASH", "rights": "ACC_READ", "address": "0x90000000", "size_bytes": 16777216,
         "used_size_bytes": 12288, "subpools": [], "virtual": False},
        {"id": 5, "name": "heap_overlay_pool", "rights": "ACC_WRITE", "address": "NULL", "size_bytes": -1,
         "used_size_bytes": 40960, "subpools": [], "virtual": False},
    ],
}  # fmt: skip


def write_program(path: Path, body: str) -> Path:
    """An executable Python program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n" + textwrap.dedent(body), encoding="utf-8")
    path.chmod(0o755)
    return path


def write_stedgeai(
    path: Path,
    *,
    version: str = "ST Edge AI Core v2.0.0-20049 329b0e98d",
    reports: dict[str, Any] | None = None,
    generate: str = "",
) -> Path:
    """A program with the tool's command line: tells its version, and writes reports into ``--output``.

    Each call's arguments are added to ``calls.json`` beside it, the statistics tag to ``tag.txt``.

    Args:
        path: where to write it.
        version: what it says to ``--version``.
        reports: contents by file name; None writes a report and a c_info.
        generate: Python that runs before the reports are written.
    """
    files = {"network_report.json": REPORT, "network_c_info.json": INFO} if reports is None else reports
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in files.items()}
    return write_program(
        path,
        f"""
        import json, os, pathlib, sys, time, signal
        here = pathlib.Path(__file__).parent
        calls = here / "calls.json"
        known = json.loads(calls.read_text()) if calls.exists() else []
        calls.write_text(json.dumps([*known, sys.argv[1:]]))
        if sys.argv[1:] == ["--version"]:
            print({version!r})
            sys.exit(0)
        (here / "tag.txt").write_text(os.environ.get("STATS_TYPE", ""))
        print("Loading the model", flush=True)
        exec({generate!r})
        output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
        for name, text in {texts!r}.items():
            (output / name).write_text(text)
        print("elapsed time (generate): 1.234s")
        """,
    )


def calls_of(program: Path) -> list[list[str]]:
    """The arguments of each call of a program of :func:`write_stedgeai`."""
    calls: list[list[str]] = json.loads((program.parent / "calls.json").read_text())
    return calls
