"""Keras callbacks: those of the YAML by name, and our own that validate, save and report."""

from __future__ import annotations

import inspect
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from reidfw_core.config.expressions import parse_lambda
from reidfw_core.config.sections.training import BUILT_IN_CALLBACKS
from reidfw_core.errors import DataError, nearest_match
from reidfw_core.files import atomic_path

SCHEDULERS = frozenset({"LearningRateScheduler", "ReduceLROnPlateau"})
"""Callbacks that set the learning rate; at most one may be given."""


def build_callbacks(configured: Mapping[str, Mapping[str, Any] | None]) -> list[keras.callbacks.Callback]:
    """The callbacks of ``training.callbacks`` in their order.

    Args:
        configured: class name to arguments; strings that begin with ``lambda`` become functions.

    Raises:
        DataError: an unknown name (the nearest one is shown), a built-in one, two learning rate schedulers, or
            arguments that the callback refuses.
    """
    known = {
        name: value
        for name, value in vars(keras.callbacks).items()
        if isinstance(value, type) and issubclass(value, keras.callbacks.Callback)
    }
    schedulers = [name for name in configured if name in SCHEDULERS]
    if len(schedulers) > 1:
        raise DataError(
            f"training.callbacks: at most one learning rate scheduler is allowed, got {', '.join(schedulers)}"
        )
    return [_build_callback(name, dict(arguments or {}), known) for name, arguments in configured.items()]


def _build_callback(name: str, arguments: dict[str, Any], known: Mapping[str, type]) -> keras.callbacks.Callback:
    if name in BUILT_IN_CALLBACKS:
        raise DataError(
            f"training.callbacks.{name}: this callback is built in: {BUILT_IN_CALLBACKS[name]}", hint="Remove it."
        )
    if name not in known:
        near = nearest_match(name, known)
        raise DataError(
            f"training.callbacks: Keras has no callback '{name}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint="Callbacks: "
            + ", ".join(sorted(set(known) - set(BUILT_IN_CALLBACKS) - {"Callback", "CallbackList", "History"})),
        )
    for key, value in arguments.items():
        if isinstance(value, str) and value.startswith("lambda "):
            arguments[key] = _number(parse_lambda(value))
    accepted = [
        key for key, value in inspect.signature(known[name]).parameters.items() if value.kind != value.VAR_KEYWORD
    ]
    for key in arguments:  # some callbacks swallow what they do not know
        if key not in accepted:
            near = nearest_match(key, accepted)
            raise DataError(
                f"training.callbacks.{name}: there is no argument '{key}'"
                + (f" (did you mean '{near}'?)" if near else ""),
                hint="Arguments: " + ", ".join(accepted),
            )
    try:
        return known[name](**arguments)
    except (TypeError, ValueError) as cause:
        raise DataError(f"training.callbacks.{name}: {str(cause).splitlines()[0]}") from cause


def check_monitors(callbacks: Sequence[keras.callbacks.Callback], metrics: Sequence[str]) -> None:
    """Sees that callbacks watch metrics that there will be.

    Raises:
        DataError: a callback's ``monitor`` is none of ``metrics``.
    """
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in metrics:
            near = nearest_match(monitor, metrics)
            raise DataError(
                f"training.callbacks.{type(callback).__name__}: there is no metric '{monitor}' to monitor"
                + (f" (did you mean '{near}'?)" if near else ""),
                hint="Metrics: " + ", ".join(metrics),
            )


def _number(function: Callable[..., Any]) -> Callable[..., float]:
    """The same function with float results: Keras refuses the int of ``... if epoch < 20 else 0``."""
    return lambda *values: float(function(*values))


class ValidateAndSave(keras.callbacks.Callback):
    """At the end of each epoch: validates the averaged weights, saves them, and remembers the best ones.

    It comes first in the list of callbacks, so that the others find the validation metrics in the logs.

    Args:
        validate: gives the metrics of the network as it is now, named ``val_...``.
        save: writes the model as it is now to a path.
        best, last: paths of the best and of the last model.
        monitor: metric that tells the best epoch.
        mode: ``min`` or ``max``.
    """

    def __init__(
        self,
        *,
        validate: Callable[[], Mapping[str, float]],
        save: Callable[[Path], object],
        best: Path,
        last: Path,
        monitor: str,
        mode: Literal["min", "max"],
    ) -> None:
        super().__init__()
        self._validate, self._save = validate, save
        self._best_path, self._last_path = best, last
        self._monitor, self._sign = monitor, 1.0 if mode == "max" else -1.0
        self._best_value = -math.inf
        self.best_epoch = 0
        self.best_weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validates and saves."""
        logs = {} if logs is None else logs
        with self.model.averaged_weights():
            logs.update(self._validate())
            self._save(self._last_path)
            value = self._sign * logs.get(self._monitor, math.nan)
            if value > self._best_value or not self.best_weights:
                self._best_value = value if math.isfinite(value) else -math.inf
                self.best_epoch = epoch + 1
                self.best_weights = [variable.numpy() for variable in self.model.network.variables]
                with atomic_path(self._best_path) as temporary:
                    shutil.copyfile(self._last_path, temporary)


class LearningRate(keras.callbacks.Callback):
    """Adds ``learning_rate`` to each epoch's logs."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reads the optimizer's present rate."""
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


class StopOnNan(keras.callbacks.Callback):
    """Ends a training whose loss is no number any more, with advice."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the running mean of the loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise DataError(
                f"The training loss became {loss} in batch {batch + 1}",
                hint="Lower the learning rate, or set training.gradient_clip_norm: 1.0; check preprocessing.rescaling.",
            )


class Reporter(keras.callbacks.Callback):
    """Tells the run's listeners of batches and epochs.

    Args:
        batch_done: told how many batches of the whole training are done.
        epoch_done: told epoch (from 1) and metrics.
    """

    def __init__(
        self,
        batch_done: Callable[[int], None],
        epoch_done: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        super().__init__()
        self._batch_done, self._epoch_done = batch_done, epoch_done
        self._batches = 0
        self._told = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts, and tells a few times a second."""
        self._batches += 1
        now = time.monotonic()
        if now - self._told > 0.2:
            self._told = now
            self._batch_done(self._batches)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tells the epoch's metrics, the learning rate among them."""
        self._batch_done(self._batches)
        self._epoch_done(epoch + 1, {name: float(value) for name, value in (logs or {}).items()})
