"""What every service of a run gets beside its input: where to write, whom to tell, which seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.artifacts import Figure
from reidfw_core.bus import HookBus

STATE_DIR = "reidfw"
"""Folder inside the run folder for what programs read."""

BOARD_FILES_DIR = "stm32ai_files"
"""Folder inside the run folder for logs, reports and generated files of boards."""

FIGURES_DIR = f"{STATE_DIR}/figures"
"""Pictures for web pages."""


def seed_of(global_seed: int, purpose: str) -> int:
    """A seed in [0, 2**31) of its own for one purpose."""
    digest = hashlib.sha256(f"{global_seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The surroundings of a run.

    Attributes:
        run_dir: absolute run folder.
        saved_models_dir, logs_dir: folders of ``general``, inside the run folder.
        seed: ``general.global_seed``.
        bus: all components of the run.
    """

    run_dir: Path
    saved_models_dir: Path
    logs_dir: Path
    seed: int
    bus: HookBus

    @property
    def board_files_dir(self) -> Path:
        """Where boards put their logs and generated files; made by whoever writes there."""
        return self.run_dir / BOARD_FILES_DIR

    def seed_for(self, purpose: str) -> int:
        """A seed in [0, 2**31) of its own for one purpose, the same in every run with the same global seed."""
        return seed_of(self.seed, purpose)

    def figure(self, name: str, title: str) -> Figure:
        """Where a picture goes: into the run folder, and as SVG beside the other files for programs."""
        return Figure(path=self.run_dir / name, title=title, svg=self.run_dir / FIGURES_DIR / f"{Path(name).stem}.svg")

    @contextmanager
    def progress(self, task: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Tells listeners of a long piece of work; the block gets a function that takes the units done so far."""
        with work_progress(self.bus, task, total, unit) as advance:
            yield advance


@contextmanager
def work_progress(bus: HookBus, task: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Tells the listeners of a bus of a long piece of work; the block gets a function of the units done so far."""
    bus.tell("work_started", task=task, total=total, unit=unit)
    try:
        yield lambda done: bus.tell("work_advanced", task=task, done=done)
    finally:
        bus.tell("work_finished", task=task)
