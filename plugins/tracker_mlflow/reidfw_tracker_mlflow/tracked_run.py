"""One run in an MLflow store. MLflow is imported inside functions: that takes more than a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from reidfw_core.api import ServiceError
from reidfw_tracker_mlflow.location import StoreLocation
from reidfw_tracker_mlflow.records import (
    MAX_METRICS_PER_BATCH,
    MAX_PARAMS_PER_BATCH,
    flat_params,
    record_key,
    record_value,
)

CONNECT_TIMEOUT_S = 10.0


class TrackedRun:
    """A run that is being recorded; made with :meth:`start`.

    It talks to one store through a client of its own: MLflow's global tracking URI and active run are left alone.
    Every method raises ServiceError where the store does not take a record.
    """

    def __init__(self, client: Any, run_id: str, location: StoreLocation) -> None:
        self._client = client
        self._location = location
        self._params: dict[str, str] = {}
        self.run_id = run_id

    @classmethod
    def start(cls, location: StoreLocation, experiment: str, run_name: str) -> TrackedRun:
        """Opens the store, and a run in an experiment that is made where it is not there.

        Raises:
            ServiceError: the store cannot be reached, or refuses.
        """
        with _service_errors(location):
            client = _open_client(location)
            experiment_id = _experiment_id(client, experiment, location)
            run = client.create_run(experiment_id, run_name=run_name)
        return cls(client, run.info.run_id, location)

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Records nested values as parameters under dotted names."""
        self._log_params(dict(flat_params(config)))

    def log_step_params(self, step: str, params: Mapping[str, str]) -> None:
        """Records texts that belong to a step; a name that has another value already gets the step before it."""
        texts = {record_key(name): record_value(value) for name, value in params.items()}
        known = self._params
        self._log_params(
            {
                name if known.get(name, value) == value else record_key(f"{step}.{name}"): value
                for name, value in texts.items()
            }
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Records numbers, at an epoch where ``step`` is not 0."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        records = [Metric(record_key(name), float(value), now_ms, step) for name, value in metrics.items()]
        with _service_errors(self._location):
            for batch in _batches(records, MAX_METRICS_PER_BATCH):
                self._client.log_batch(self.run_id, metrics=batch)

    def set_tag(self, name: str, value: str) -> None:
        """Records a text that may change later."""
        with _service_errors(self._location):
            self._client.set_tag(self.run_id, record_key(name), record_value(value))

    def log_folder(self, folder: Path) -> None:
        """Stores all files of a folder."""
        with _service_errors(self._location):
            self._client.log_artifacts(self.run_id, str(folder))

    def finish(self, status: str) -> None:
        """Closes the run: ``FINISHED``, ``FAILED`` or ``KILLED``."""
        with _service_errors(self._location):
            self._client.set_terminated(self.run_id, status)

    def _log_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        new = {name: value for name, value in params.items() if self._params.get(name) != value}
        with _service_errors(self._location):
            for batch in _batches([Param(name, value) for name, value in new.items()], MAX_PARAMS_PER_BATCH):
                self._client.log_batch(self.run_id, params=batch)
        self._params.update(new)


def _open_client(location: StoreLocation) -> Any:
    if location.tracking_uri.startswith(("http://", "https://")):
        _check_server(location)
    from mlflow import MlflowClient
    from mlflow.telemetry import get_telemetry_client

    telemetry = get_telemetry_client()
    if telemetry is not None:
        telemetry.is_active = True  # taken as running already, so it starts no threads and fetches nothing
    # Making the tables of a new database is told in lines of log that mean nothing to a user.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=location.tracking_uri)


def _check_server(location: StoreLocation) -> None:
    """Any answer will do: MLflow's own client would try an absent server for two minutes."""
    import requests

    try:
        requests.head(location.tracking_uri, timeout=CONNECT_TIMEOUT_S)
    except requests.exceptions.SSLError:
        return  # there is a server; whether its certificate is trusted is a setting of MLflow's
    except requests.RequestException as cause:
        raise ServiceError(
            f"mlflow.uri: no MLflow server answers at {location} ({type(cause).__name__})",
            hint="Start it, for example with `mlflow server`, or set mlflow.uri to a folder.",
        ) from cause


def _experiment_id(client: Any, name: str, location: StoreLocation) -> str:
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is None:
        artifacts = None if location.artifacts is None else location.artifacts.as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:
            known = client.get_experiment_by_name(name)  # another run may have made it meanwhile
            if known is None:
                raise
    if known.lifecycle_stage != "active":
        raise ServiceError(
            f"The MLflow experiment '{name}' was deleted in {location}",
            hint=f"mlflow experiments restore --experiment-id {known.experiment_id}, or choose another name "
            "(general.project_name or mlflow.experiment).",
        )
    return str(known.experiment_id)


@contextmanager
def _service_errors(location: StoreLocation) -> Iterator[None]:
    """Turns what MLflow raises about its store into a ServiceError."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except UnsupportedModelRegistryStoreURIException as cause:
        raise ServiceError(
            f"mlflow.uri: '{location}' is not an address that MLflow knows",
            hint="Give a folder, http://host:port, or a database such as sqlite:///path/to/file.db.",
        ) from cause
    except (MlflowException, SQLAlchemyError, OSError) as cause:
        lines = str(cause).strip().splitlines()
        raise ServiceError(f"MLflow at {location}: {lines[0] if lines else type(cause).__name__}") from cause


def _batches(records: Sequence[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(records)
    while batch := list(islice(remaining, size)):
        yield batch
