"""Contract of listeners (entry point group ``reidfw.listeners``): every hook is optional.

Hooks are called once a run, a step, an epoch or a block of work, never once an image or a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reidfw_core.markers import hookspec

QAT_PREFIX = "qat_"
"""What names of metrics of a quantization-aware training begin with."""


@hookspec
def run_started(
    run_dir: Path, project: str, operation_mode: str, config: Mapping[str, Any], origin: Mapping[str, str]
) -> None:
    """A run begins.

    Args:
        run_dir: absolute run folder; it exists.
        project: ``general.project_name``.
        operation_mode: the mode, for example ``chain_tqe``.
        config: the resolved configuration as nested plain values.
        origin: ``config_path`` and ``config_name`` as text.
    """


@hookspec
def step_started(step: str, number: int, total: int) -> None:
    """A step of the plan begins; ``number`` counts from 1."""


@hookspec
def work_started(task: str, total: int, unit: str) -> None:
    """A long piece of work inside a step begins: ``total`` units (``images``, ``bytes``) are ahead, 0 for unknown."""


@hookspec
def work_advanced(task: str, done: int) -> None:
    """``done`` units of the work named ``task`` are finished, counted from its start."""


@hookspec
def work_finished(task: str) -> None:
    """The work named ``task`` is over, also when it failed."""


@hookspec
def epoch_finished(epoch: int, total: int, metrics: Mapping[str, float]) -> None:
    """A training epoch is over; ``epoch`` counts from 1.

    Metrics of a quantization-aware training, which may follow a training, have :data:`QAT_PREFIX` before their names.
    """


@hookspec
def metrics_reported(step: str, metrics: Mapping[str, float], params: Mapping[str, str]) -> None:
    """A step has results: numbers, and texts that belong to them (tool versions, targets)."""


@hookspec
def artifact_saved(path: Path, description: str) -> None:
    """A file of the run is complete on disk."""


@hookspec
def step_finished(step: str, seconds: float) -> None:
    """A step is over."""


@hookspec
def step_failed(step: str, error: BaseException) -> None:
    """A step raised, or was interrupted (``KeyboardInterrupt``)."""


@hookspec
def run_finished(run_dir: Path, status: str) -> None:
    """The run is over; ``status`` is ``finished``, ``failed`` or ``interrupted``. Always called after run_started."""
