"""One task of ClearML. ClearML is imported inside functions: that takes most of a second."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reidfw_core.api import ServiceError

CONNECT_TIMEOUT_S = 10.0

_CATCHABLE = ("SIGINT", "SIGTERM", "SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE", "SIGQUIT")


class TrackedTask:
    """A task that is being recorded; made with :meth:`start`."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._logger = task.get_logger()

    @classmethod
    def start(cls, file: Path, project: str, name: str) -> TrackedTask:
        """Opens a task.

        ClearML's hooks into frameworks, console, source code, signals and random numbers stay out: a run gives the
        same results with it and without.

        Args:
            file: the ``clearml.conf`` in use, for messages.
            project, name: of the task.

        Raises:
            ServiceError: ClearML is not installed, or the server does not answer or refuses.
        """
        try:
            from clearml import Task
        except ImportError as cause:
            raise ServiceError(f"{file} exists, but ClearML is not installed", hint="pip install clearml") from cause
        if not Task.is_offline():
            _check_server(file)
        Task.set_random_seed(None)  # it would seed Python, NumPy and TensorFlow anew
        numbers = random.getstate()  # it draws names
        try:
            with _signals_kept():
                task = Task.init(
                    project_name=project,
                    task_name=name,
                    reuse_last_task_id=False,
                    auto_connect_arg_parser=False,
                    auto_connect_frameworks={"detect_repository": False, **dict.fromkeys(_FRAMEWORKS, False)},
                    auto_resource_monitoring=False,
                    auto_connect_streams=False,
                )
        except Exception as cause:  # it raises its own errors, those of requests, and ValueError
            raise ServiceError(f"ClearML ({file}): {str(cause).strip() or type(cause).__name__}") from cause
        finally:
            random.setstate(numbers)
        return cls(task)

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Records nested values as the task's configuration, and under dotted names as hyper-parameters."""
        self._task.connect_configuration(dict(config), name="reidfw")
        self._task.set_parameters({f"reidfw/{name}": value for name, value in flat(config)})

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Records numbers at an epoch; a metric and its ``val_`` twin share a plot."""
        for name, value in metrics.items():
            series = "validation" if name.startswith("val_") else "training"
            self._logger.report_scalar(name.removeprefix("val_"), series, float(value), epoch)

    def log_results(self, step: str, metrics: Mapping[str, float], params: Mapping[str, str]) -> None:
        """Records the results of a step, and texts that belong to them."""
        for name, value in metrics.items():
            self._logger.report_single_value(name, float(value))
        for name, text in params.items():
            self._task.set_parameter(f"{step}/{name}", text)

    def log_picture(self, path: Path, title: str) -> None:
        """Stores a picture."""
        self._logger.report_image(title, path.name, iteration=0, local_path=str(path))

    def log_file(self, path: Path) -> None:
        """Stores a file as an artifact under its name."""
        self._task.upload_artifact(path.name, artifact_object=path, wait_on_upload=True)

    def finish(self, status: str, reason: str | None) -> None:
        """Closes the task: ``finished``, ``failed`` or ``interrupted``."""
        self._task.add_tags([status])
        if reason:
            self._task.set_comment(reason)
        self._task.flush(wait_for_uploads=True)
        if status == "failed":
            self._task.mark_failed(status_reason=reason or status, force=True)
        elif status == "interrupted":
            self._task.mark_stopped(force=True, status_message=status)
        self._task.close()


_FRAMEWORKS = (
    "hydra",
    "scikit",
    "joblib",
    "matplotlib",
    "tensorflow",
    "tensorboard",
    "tfdefines",
    "pytorch",
    "megengine",
    "xgboost",
    "catboost",
    "fastai",
    "lightgbm",
    "gradio",
    "jsonargparse",
)
"""What ClearML would hook itself into."""


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The values of nested mappings as text under dotted names: ``training.optimizer.Adam.learning_rate``."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _check_server(file: Path) -> None:
    """Any answer will do: ClearML's own client would try an absent server for minutes."""
    import requests
    from clearml.backend_api import Session

    address = Session.get_api_server_host()
    try:
        requests.head(address, timeout=CONNECT_TIMEOUT_S)
    except requests.exceptions.SSLError:
        return  # there is a server; whether its certificate is trusted is a setting of ClearML's
    except (requests.RequestException, ValueError) as cause:
        raise ServiceError(
            f"no ClearML server answers at {address} ({file}; {type(cause).__name__}); this run is not recorded there",
            hint="CLEARML_OFFLINE_MODE=1 records into a file that can be sent later.",
        ) from cause


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Gives signals back to those who handled them before: Ctrl-C ends a run in reidfw's way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _CATCHABLE if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
