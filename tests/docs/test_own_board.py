"""The board and the tool of docs/boards.md are installed as somebody else would, and used from the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT.parent / "shared" / "data" / "pretrained" / "vww_96_int8.tflite"

pytest.importorskip("reidfw_targets")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution of the page, as an installer would leave it."""
    text = (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")
    modules = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (described,) = (tomllib.loads(found) for found in re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
    folder = tmp_path_factory.mktemp("site")
    (folder / "acme_boards.py").write_text("\n".join(modules), encoding="utf-8")
    project = described["project"]
    info = folder / f"acme_boards-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def reidfw(site: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from reidfw_core.cli.app import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_is_listed_with_what_it_can_do(site: Path) -> None:
    rows = json.loads(reidfw(site, "list", "targets", "--json", "--check"))
    (board,) = (row for row in rows if row["name"] == "NUCLEO-H563ZI")
    assert (board["distribution"], board["status"]) == ("acme-boards", "ok")
    assert set(board["here"]) == {"evaluate, predict", "benchmark", "deploy"}


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.is_file(), reason="needs ../shared/data/pretrained/vww_96_int8.tflite")
def test_a_model_is_judged_and_measured(site: Path) -> None:
    (row,) = json.loads(reidfw(site, "fit", str(MODEL), "--board", "NUCLEO-H563ZI", "--json"))["boards"]
    assert row["fit"] == "green"
    (site / "bench.yaml").write_text(
        "operation_mode: benchmarking\n"
        f"model: {{ model_path: {MODEL} }}\n"
        "benchmarking: { board: NUCLEO-H563ZI, tool: acme.stopwatch, tool_options: { repeats: 5 } }\n"
        "tools: { stedgeai: { optimization: balanced } }\n"
        "hydra: { run: { dir: out } }\n"
    )
    assert "acme.stopwatch (benchmarking.tool)" in reidfw(site, "run", "bench.yaml", "--dry-run")
    assert "acme.stopwatch" in reidfw(site, "run", "bench.yaml")
    (measured,) = json.loads((site / "out" / "summary.json").read_text())["benchmarks"]
    assert (measured["board"], measured["inference_ms"], measured["board_ram_kib"]) == ("NUCLEO-H563ZI", 1.0, 640)
