"""Progress on the screen: a listener like any other."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
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

BYTES, PERCENT, SECONDS = "bytes", "%", "s"
"""Units that read otherwise than counted things."""

PLAIN_SECONDS = 10.0
"""Seconds between two progress lines where the screen is not a terminal."""


class AmountColumn(ProgressColumn):
    """Units done, and of how many where that is known."""

    def render(self, task: Task) -> Text:
        """The amount of one task; nothing where only the time is known."""
        unit = task.fields["unit"]
        if task.total is None:
            return Text("" if unit == SECONDS else _amount(int(task.completed), unit), style="progress.download")
        if unit == BYTES:
            return Text(f"{_amount(int(task.completed), unit)} of {_amount(int(task.total), unit)}")
        return Text(f"{int(task.completed)}/{int(task.total)}", style="progress.download")


class RateColumn(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        """The rate of one task; nothing where the unit is a share or a time."""
        speed, unit = task.finished_speed or task.speed, task.fields["unit"]
        if not speed or unit in (SECONDS, PERCENT):
            return Text("")
        return Text(f"{_amount(round(speed), unit)}/s", style="progress.data.speed")


class LeftColumn(TimeRemainingColumn):
    """The time that is left, where the number of units is known."""

    def render(self, task: Task) -> Text:
        """The time of one task."""
        return Text("") if task.total is None else Text("left ") + super().render(task)


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
        self._begun: dict[str, float] = {}

    @hookimpl
    def step_started(self, step: str, number: int, total: int) -> None:
        """Logs a headline."""
        logger.info("Step %d of %d: %s", number, total, step)

    @hookimpl
    def work_started(self, task: str, total: int, unit: str) -> None:
        """Opens a bar."""
        self._totals[task] = (total, unit)
        self._started.pop(task, None)
        self._begun[task] = time.monotonic()
        self._told[task] = time.monotonic()
        if not self._console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                AmountColumn(),
                RateColumn(),
                TimeElapsedColumn(),
                LeftColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        self._tasks[task] = self._progress.add_task(task, total=total or None, unit=unit)

    @hookimpl
    def work_advanced(self, task: str, done: int) -> None:
        """Moves the bar, or writes a line now and then."""
        if self._progress is not None and task in self._tasks:
            self._progress.update(self._tasks[task], completed=done)
            return
        now = time.monotonic()
        total, unit = self._totals[task]
        begun, before = self._started.setdefault(task, (now, done))  # the first units include building graphs
        if now - self._told[task] < PLAIN_SECONDS:
            return
        if not total or unit == PERCENT:  # no rate to speak of
            self._told[task] = now
            amount = "" if unit == SECONDS else f", {_amount(done, unit)}"
            logger.info("%s: for %s%s", task, _clock(now - self._begun[task]), amount)
            return
        if done == before:
            return
        self._told[task] = now
        rate = (done - before) / (now - begun)
        logger.info(
            "%s: %s of %s (%d %%), %s/s, %s left",
            task,
            str(done) if unit != BYTES else _amount(done, unit),
            _amount(total, unit),
            round(100 * done / total),
            _amount(round(rate), unit),
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


def _amount(count: int, unit: str) -> str:
    """A number with its unit; bytes in the largest unit that suits."""
    return decimal(count) if unit == BYTES else f"{count:,} {unit}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
