"""The run folder and what the core itself writes into it."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reidfw_core
from reidfw_core.context import STATE_DIR
from reidfw_core.errors import StorageError
from reidfw_core.files import write_text

if TYPE_CHECKING:
    from reidfw_core.config import Configuration
    from reidfw_core.plan.planner import Plan

LOG_NAME = "stm32ai_main.log"

_PACKAGES = (
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "pillow",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "mlflow",
)


def create_run_dir(wanted: Path) -> Path:
    """Makes the run folder; where it exists already, the same name with ``_1``, ``_2`` ... behind it.

    Returns:
        The absolute path of a folder that did not exist before.

    Raises:
        StorageError: it cannot be made.
    """
    wanted = wanted.expanduser().absolute()
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            path = wanted if not number else wanted.with_name(f"{wanted.name}_{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path
    except OSError as cause:
        raise StorageError(
            f"The run folder {wanted} cannot be made: {cause.strerror or cause}",
            hint="Choose another one with hydra.run.dir=FOLDER.",
        ) from cause


class _LogFile(logging.FileHandler):
    """A log whose disk may fill up: lines are lost then, without a traceback for each on the screen."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (its name in logging)
        """Says nothing of a full disk, which the run's own files tell."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def run_log(run_dir: Path, level: int = logging.INFO) -> Iterator[Path]:
    """Writes the log of the block to ``stm32ai_main.log``.

    Raises:
        StorageError: the file cannot be written.
    """
    path = run_dir / LOG_NAME
    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as cause:
        raise StorageError(f"Cannot write {path}: {cause.strerror or cause}") from cause
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handler.setLevel(level)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield path
    finally:
        root.removeHandler(handler)
        with suppress(OSError):  # a full disk: what the run itself could not write tells it
            handler.close()


def append_to_log(run_dir: Path, text: str) -> None:
    """Adds text to ``stm32ai_main.log``, for what the screen shows after the run."""
    with (run_dir / LOG_NAME).open("a", encoding="utf-8") as file:
        file.write(text)


def write_start(run_dir: Path, configuration: Configuration, plan: Plan) -> None:
    """Writes what a run begins with: Hydra's files, the resolved configuration, the plan and the environment."""
    import yaml

    state = run_dir / STATE_DIR
    resolved = yaml.safe_dump(jsonable(configuration.resolved), sort_keys=False, allow_unicode=True)
    overrides = list(configuration.loaded.overrides)
    write_text(run_dir / ".hydra" / "config.yaml", configuration.loaded.config_text or resolved)
    write_text(run_dir / ".hydra" / "overrides.yaml", yaml.safe_dump(overrides))
    write_text(run_dir / ".hydra" / "hydra.yaml", configuration.loaded.hydra_text)
    write_text(state / "config.resolved.yaml", resolved)
    write_json(state / "plan.json", plan_as_json(plan))
    write_json(state / "environment.json", environment(configuration))


def config_origin(configuration: Configuration) -> dict[str, str]:
    """``config_path`` and ``config_name``: folder and name of the configuration file."""
    path = configuration.loaded.path
    return {} if path is None else {"config_path": str(path.absolute().parent), "config_name": path.name}


def environment(configuration: Configuration) -> dict[str, Any]:
    """What the run depended on: versions of Python, packages, and the distribution of each component."""
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "reidfw-core": reidfw_core.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
        "components": [
            {"kind": bound.kind, "name": bound.name, "distribution": bound.distribution, "version": bound.version}
            for bound in configuration.components.all()
        ],
    }


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "operation_mode": plan.operation_mode,
        "steps": [
            {
                "number": planned.number,
                "step": planned.key,
                "component": planned.component.name if planned.component else None,
                "takes": str(planned.takes) if planned.takes else None,
                "gives": str(planned.gives) if planned.gives else None,
                "data": planned.data,
            }
            for planned in plan.steps
        ],
        "notes": list(plan.notes),
    }


def append_event(run_dir: Path, event: str, **facts: Any) -> None:
    """Adds a line to ``reidfw/events.jsonl``."""
    path = run_dir / STATE_DIR / "events.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **jsonable(facts)})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def write_json(path: Path, value: Any) -> None:
    """Writes plain values, dataclasses and paths as JSON, atomically. Raises StorageError."""
    write_text(path, json.dumps(jsonable(value), indent=2, ensure_ascii=False) + "\n")


def jsonable(value: Any) -> Any:
    """Plain JSON values for dataclasses, mappings, sequences, paths, NumPy scalars; NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [jsonable(item) for item in value]
    if hasattr(value, "item"):
        return jsonable(value.item())
    return str(value)
