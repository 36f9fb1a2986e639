"""What the screen tells of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from reidfw_core.bus import HookBus
from reidfw_core.cli import console as console_module
from reidfw_core.cli.console import ProgressListener
from reidfw_core.context import work_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(console_module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("total", "unit", "steps", "lines"),
    [
        (0, "s", [(5, 5), (11, 11), (70, 70)], ["Building: for 0:11", "Building: for 1:10"]),
        (100, "%", [(11, 25), (30, 25)], ["Building: for 0:11, 25 %", "Building: for 0:30, 25 %"]),
        (0, "lines", [(11, 1234)], ["Building: for 0:11, 1,234 lines"]),
        (
            8_000_000,
            "bytes",
            [(0, 0), (11, 1_000_000), (12, 2_000_000), (22, 4_000_000)],
            ["Building: 1.0 MB of 8.0 MB (12 %), 90.9 kB/s, 1:17 left",
             "Building: 4.0 MB of 8.0 MB (50 %), 181.8 kB/s, 0:22 left"],
        ),
        (300, "images", [(0, 0), (11, 110)], ["Building: 110 of 300 images (37 %), 10 images/s, 0:19 left"]),
    ],
)  # fmt: skip
def test_plain_lines_every_ten_seconds(
    clock: list[float],
    caplog: pytest.LogCaptureFixture,
    total: int,
    unit: str,
    steps: list[tuple[float, int]],
    lines: list[str],
) -> None:
    bus = HookBus()
    bus.add(ProgressListener(Console(file=io.StringIO())), "progress")
    with caplog.at_level(logging.INFO), work_progress(bus, "Building", total, unit) as advance:
        for now, done in steps:
            clock[0] = now
            advance(done)
    assert caplog.messages == lines


@pytest.mark.parametrize(
    ("total", "unit", "done", "shown", "hidden"),
    [
        (0, "s", 3, ["Building", "0:00:0"], ["3/", "None", "left", "s/s"]),
        (100, "%", 25, ["Building", "25/100", "left"], ["%/s"]),
        (8_000_000, "bytes", 2_000_000, ["2.0 MB of 8.0 MB", "left"], ["2000000"]),
        (300, "images", 110, ["110/300", "left"], []),
    ],
)
def test_a_bar_on_a_terminal(total: int, unit: str, done: int, shown: list[str], hidden: list[str]) -> None:
    screen = io.StringIO()
    listener = ProgressListener(Console(file=screen, force_terminal=True, width=120))
    bus = HookBus()
    bus.add(listener, "progress")
    with work_progress(bus, "Building", total, unit) as advance:
        advance(done)
        assert listener._progress is not None
        listener._progress.refresh()  # it is drawn ten times a second otherwise
    text = screen.getvalue()
    assert all(part in text for part in shown), text
    assert not any(part in text for part in hidden), text
