"""The listener ``clearml``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from reidfw_core.api import ComponentParams, Listener, hookimpl
from reidfw_tracker_clearml.configuration import configuration_file
from reidfw_tracker_clearml.tracked_task import TrackedTask

_PICTURES = (".png", ".jpg", ".jpeg")


class ClearmlListener(Listener):
    """Records each run in ClearML, where a ``clearml.conf`` exists; elsewhere it does nothing.

    What ClearML does not take costs a warning, not the run.

    Source: https://clear.ml/docs.
    """

    on_error: ClassVar[Literal["fail", "warn"]] = "warn"

    class Params(ComponentParams):
        """No parameters: ``clearml.conf`` has them."""

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__(params)
        self._task: TrackedTask | None = None
        self._failure: str | None = None

    @hookimpl
    def run_started(
        self, run_dir: Path, project: str, operation_mode: str, config: Mapping[str, Any], origin: Mapping[str, str]
    ) -> None:
        """Opens a task and records what is run.

        Raises:
            ServiceError: ClearML is not installed, or the server does not answer or refuses.
        """
        del run_dir
        file = configuration_file()
        if file is None:
            return
        self._task = TrackedTask.start(file, project, f"{datetime.now():%Y_%m_%d_%H_%M_%S}_{project}")
        # The section on MLflow may hold a password, and says nothing on the run.
        settings = {section: values for section, values in config.items() if section != "mlflow"}
        self._task.log_config({"operation_mode": operation_mode, **origin, **settings})

    @hookimpl
    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Records the metrics of an epoch under its number."""
        if self._task is not None:
            self._task.log_epoch(epoch, metrics)

    @hookimpl
    def metrics_reported(self, step: str, metrics: Mapping[str, float], params: Mapping[str, str]) -> None:
        """Records the results of a step."""
        if self._task is not None:
            self._task.log_results(step, metrics, params)

    @hookimpl
    def artifact_saved(self, path: Path, description: str) -> None:
        """Stores a file: pictures are shown among the task's debug samples, everything else is an artifact."""
        if self._task is None:
            return
        if path.suffix.lower() in _PICTURES:
            self._task.log_picture(path, description)
        else:
            self._task.log_file(path)

    @hookimpl
    def step_failed(self, step: str, error: BaseException) -> None:
        """Notes why the run failed."""
        self._failure = f"{step}: {type(error).__name__}: {error}"

    @hookimpl
    def run_finished(self, status: str) -> None:
        """Closes the task."""
        if self._task is not None:
            task, self._task = self._task, None
            task.finish(status, self._failure)
