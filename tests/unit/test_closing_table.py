"""What stands on the screen at the end of a run with a benchmark."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from reidfw_core.cli.summary import board_tables
from reidfw_core.types import BenchmarkReport


def test_notes_of_a_tool_stand_below_its_table(tmp_path: Path) -> None:
    report = BenchmarkReport(tool="scales", macs=3_000_000, details={"notes": ["not run: no [scales] here"]})
    planned = SimpleNamespace(component=SimpleNamespace(name="BOARD"))
    model = SimpleNamespace(name="net", path=tmp_path / "net.tflite")
    step = SimpleNamespace(result=report, planned=planned, model=model)
    result = SimpleNamespace(steps=(step,), run_dir=tmp_path)
    [table] = board_tables(result)  # type: ignore[arg-type]
    assert table.title == "net on BOARD (scales)"
    assert table.notes == ("not run: no [scales] here",)
