"""The listener that records a run in MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from reidfw_core.api import ComponentParams, Listener, ServiceError, hookimpl
from reidfw_tracker_mlflow.location import StoreLocation, holds_file_store, is_sqlite, store_location
from reidfw_tracker_mlflow.tracked_run import TrackedRun

logger = logging.getLogger(__name__)

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MlflowListener(Listener):
    """Records each run in MLflow: configuration, metrics of epochs and steps, and the run folder.

    A store that cannot be used stops the run before any work is done. When it fails later, its records are lost and a
    warning is logged; the run goes on.

    Source: https://mlflow.org.
    """

    class Params(ComponentParams):
        """The ``mlflow`` section."""

        uri: str = Field(
            "./experiments_outputs/mlruns",
            min_length=1,
            description="Where runs are recorded: a folder (relative to the one from which reidfw runs; the database "
            "mlflow.db lies beside it), the address of a tracking server, or of a database",
        )
        experiment: str | None = Field(
            None, min_length=1, max_length=500, description="MLflow experiment; None takes general.project_name"
        )

    def __init__(self, params: ComponentParams | None = None) -> None:
        super().__init__(params)
        self._run: TrackedRun | None = None

    @hookimpl
    def run_started(
        self, run_dir: Path, project: str, operation_mode: str, config: Mapping[str, Any], origin: Mapping[str, str]
    ) -> None:
        """Opens the store and records what is run.

        Raises:
            ServiceError: the store cannot be reached or written.
        """
        location = store_location(self.params.uri, Path.cwd())
        _check_folder(location, run_dir)
        run = TrackedRun.start(location, self.params.experiment or project, run_dir.name)
        # The section on MLflow itself may hold a password, and says nothing on the run.
        settings = {section: values for section, values in config.items() if section != "mlflow"}
        run.log_config({"operation_mode": operation_mode, **origin, **settings})
        self._run = run
        if location.artifacts is not None:
            logger.info("MLflow records this run; to see it: cd %s && mlflow ui", location.artifacts.parent)
        else:
            logger.info("MLflow records this run at %s", location)

    @hookimpl
    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Records the metrics of an epoch under its number."""
        self._record(f"the metrics of epoch {epoch}", lambda run: run.log_metrics(metrics, epoch))

    @hookimpl
    def metrics_reported(self, step: str, metrics: Mapping[str, float], params: Mapping[str, str]) -> None:
        """Records the results of a step."""
        self._record(f"the metrics of step {step}", lambda run: run.log_metrics(metrics))
        self._record(f"the parameters of step {step}", lambda run: run.log_step_params(step, params))

    @hookimpl
    def step_failed(self, step: str, error: BaseException) -> None:
        """Records why the run failed."""
        reason = f"{step}: {type(error).__name__}: {error}"
        self._record("the failure", lambda run: run.set_tag("failure", reason))

    @hookimpl
    def run_finished(self, run_dir: Path, status: str) -> None:
        """Stores the run folder and closes the run."""
        self._record("the run folder", lambda run: run.log_folder(run_dir))
        self._record("the end of the run", lambda run: run.finish(_STATUS[status]))
        self._run = None

    def _record(self, what: str, action: Callable[[TrackedRun], None]) -> None:
        if self._run is None:  # the run ended before the store was open
            return
        try:
            action(self._run)
        except ServiceError as error:
            logger.warning("MLflow did not take %s: %s", what, error)


def _check_folder(location: StoreLocation, run_dir: Path) -> None:
    folder = location.artifacts
    if folder is None:
        return
    if folder.is_relative_to(run_dir.resolve()):
        raise ServiceError(
            f"mlflow.uri: {folder} lies inside the run folder, which is to be stored in it",
            hint="Choose a folder beside the run folders, for example ./experiments_outputs/mlruns.",
        )
    hint = "Set mlflow.uri to a folder that can be written."
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise ServiceError(f"mlflow.uri: cannot make the folder {folder}: {cause.strerror}", hint=hint) from cause
    for place in (folder, folder.parent, *(file for file in (location.database,) if file and file.exists())):
        if not os.access(place, os.W_OK):
            raise ServiceError(f"mlflow.uri: {place} cannot be written", hint=hint)
    if location.database and location.database.exists() and not is_sqlite(location.database):
        raise ServiceError(f"mlflow.uri: {location.database} is not a SQLite database", hint=hint)
    if holds_file_store(folder):
        logger.warning(
            "%s holds runs in the file format of older versions of MLflow. `mlflow ui` finds them first and does not "
            "show new ones: move them away, or convert them with `mlflow migrate-filestore`",
            folder,
        )
