"""Finding out how far an interrupted run came, and what is left of it."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidfw_core.artifacts import Figure, TrainedModel
from reidfw_core.context import STATE_DIR
from reidfw_core.errors import DataError
from reidfw_core.services.resuming import LAST_MODEL
from reidfw_core.types import ModelFile, ModelFormat

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedStep:
    """What a step gave before the interruption, and how long it took in seconds."""

    result: Any
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """How an interrupted run goes on.

    Attributes:
        run_dir: absolute folder of the run; it goes on there.
        config: the resolved configuration that it was started with.
        finished: steps that need not be done again, by their key in the plan.
        training_state: file to resume the training from, None where it is finished or had not finished an epoch.
    """

    run_dir: Path
    config: Path
    finished: Mapping[str, FinishedStep]
    training_state: Path | None


def open_run(run_dir: Path) -> Continuation:
    """Reads the state of a run.

    A finished training is taken over; all other steps are cheap, and are done again.

    Raises:
        DataError: no run folder, a run that is over, or one that is still running.
    """
    run_dir = run_dir.expanduser().absolute()
    config, status_file = run_dir / STATE_DIR / "config.resolved.yaml", run_dir / STATE_DIR / "status.json"
    if not config.is_file() or not status_file.is_file():
        raise DataError(
            f"{run_dir} is no run folder of reidfw (there is no {status_file.relative_to(run_dir)})",
            hint="Give the folder that holds stm32ai_main.log.",
        )
    status = _json(status_file)
    if status["status"] == "finished":
        state = run_dir / "saved_models" / LAST_MODEL
        again = f"To do it again: reidfw run {shlex.quote(str(config))} '~hydra'"
        more = f"To train on: reidfw run CONFIG training.epochs=MORE training.resume_training_from={state}"
        raise DataError(
            f"The run in {run_dir} is finished; nothing is left to do",
            hint=more if "train" in status["finished_steps"] else again,
        )
    if status["status"] == "running" and _is_alive(status):
        raise DataError(f"The run in {run_dir} is still running (process {status['process']})")
    finished = _finished_training(run_dir, status)
    states = [] if finished else sorted(run_dir.glob(f"*/{LAST_MODEL}"))
    if not finished and not states and "train" in status["remaining_steps"]:
        logger.warning("No epoch of this training was finished: it begins anew")
    return Continuation(run_dir=run_dir, config=config, finished=finished, training_state=states[0] if states else None)


def _finished_training(run_dir: Path, status: Mapping[str, Any]) -> dict[str, FinishedStep]:
    if "train" not in status["finished_steps"]:
        return {}
    place = status["finished_steps"].index("train") + 1
    stored = _json(run_dir / STATE_DIR / f"{place:02d}-train.json")
    result = trained_model(stored["result"])
    if not result.embedding_model.path.is_file():
        raise DataError(f"The trained model {result.embedding_model.path} is gone")
    return {"train": FinishedStep(result=result, seconds=float(stored["seconds"]))}


def trained_model(stored: Mapping[str, Any]) -> TrainedModel:
    """The result of a training as the run folder has it."""
    return TrainedModel(
        embedding_model=_model_file(stored["embedding_model"]),
        classification_model=_model_file(stored["classification_model"]),
        history={
            name: tuple(math.nan if value is None else value for value in values)
            for name, values in stored["history"].items()
        },
        best_epoch=stored["best_epoch"],
        num_identities=stored["num_identities"],
        seconds=stored["seconds"],
        validation=stored["validation"],
        figures=tuple(
            Figure(path=Path(one["path"]), title=one["title"], svg=Path(one["svg"]) if one["svg"] else None)
            for one in stored["figures"]
        ),
    )


def _model_file(stored: Mapping[str, Any]) -> ModelFile:
    shape = stored["input_shape"]
    return ModelFile(
        path=Path(stored["path"]),
        format=ModelFormat(**stored["format"]),
        name=stored["name"],
        input_shape=(shape[0], shape[1], shape[2]) if shape else None,
        embedding_dim=stored["embedding_dim"],
        details=stored["details"],
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise DataError(f"{path} cannot be read: {cause}") from cause
    return value


def _is_alive(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status is still there; unknown on other computers, and then no."""
    process = status.get("process")
    if process is None or status.get("computer") != platform.node() or process == os.getpid():
        return False
    if sys.platform == "win32":  # there a signal 0 would end the process
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
