"""Progress on the screen: a listener like any other."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from reidfw_core.components import ComponentParams, Listener
from reidfw_core.hookspecs.lifecycle import QAT_PREFIX
from reidfw_core.markers import hookimpl

logger = logging.getLogger(__name__)

PLAIN_SECONDS = 10.0
"""Seconds between two progress lines where the screen is not a terminal."""


class RateColumn(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        """The rate of one task."""
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:,.0f} {task.fields['unit']}/s", style="progress.data.speed")


class ProgressListener(Listener):
    """A bar with rate and time left on a terminal; plain lines elsewhere.

    Args:
        console: where to draw.
    """

    class Params(ComponentParams):
        """No parameters."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._progress: Progress | None = None
        self._totals: dict[str, tuple[int, str]] = {}
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._told: dict[str, float] = {}

    @hookimpl
    def step_started(self, step: str, number: int, total: int) -> None:
        """Logs a headline."""
        logger.info("Step %d of %d: %s", number, total, step)

    @hookimpl
    def work_started(self, task: str, total: int, unit: str) -> None:
        """Opens a bar."""
        self._totals[task] = (total, unit)
        self._started.pop(task, None)
        self._told[task] = time.monotonic()
        if not self._console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                RateColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        self._tasks[task] = self._progress.add_task(task, total=total, unit=unit)

    @hookimpl
    def work_advanced(self, task: str, done: int) -> None:
        """Moves the bar, or writes a line now and then."""
        if self._progress is not None and task in self._tasks:
            self._progress.update(self._tasks[task], completed=done)
            return
        now = time.monotonic()
        total, unit = self._totals[task]
        begun, before = self._started.setdefault(task, (now, done))  # the first units include building graphs
        if now - self._told[task] < PLAIN_SECONDS or done == before:
            return
        self._told[task] = now
        rate = (done - before) / (now - begun)
        logger.info(
            "%s: %d of %d %s (%d %%), %.0f %s/s, %s left",
            task,
            done,
            total,
            unit,
            round(100 * done / total),
            rate,
            unit,
            _clock((total - done) / rate),
        )

    @hookimpl
    def work_finished(self, task: str) -> None:
        """Closes the bar."""
        if self._progress is not None and task in self._tasks:
            self._progress.remove_task(self._tasks.pop(task))
            if not self._tasks:
                self._progress.stop()
                self._progress = None

    @hookimpl
    def epoch_finished(self, epoch: int, total: int, metrics: Mapping[str, float]) -> None:
        """Logs an epoch in one line."""
        shown = ("loss", "accuracy", "val_loss", "val_accuracy", "val_mAP")
        plain = {name.removeprefix(QAT_PREFIX): value for name, value in metrics.items()}
        values = ", ".join(f"{name} {plain[name]:.4f}" for name in shown if name in plain)
        logger.info("Epoch %d/%d: %s", epoch, total, values)

    @hookimpl
    def run_finished(self) -> None:
        """Leaves no bar behind."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
