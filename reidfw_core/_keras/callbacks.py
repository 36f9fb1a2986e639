"""Keras callbacks: those of the YAML by name, and our own that validate, save and report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from reidfw_core.config.expressions import parse_lambda
from reidfw_core.errors import DataError, nearest_match

BUILT_IN = {
    "ModelCheckpoint": "the best and the last model are always saved",
    "TensorBoard": "TensorBoard logs are always written to general.logs_dir",
    "CSVLogger": "train_metrics.csv is always written to general.logs_dir",
}
"""Callbacks that cannot be configured, and why."""

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
        raise DataError(f"training.callbacks: at most one learning rate scheduler is allowed, got {', '.join(schedulers)}")
    return [_build_callback(name, dict(arguments or {}), known) for name, arguments in configured.items()]


def _build_callback(name: str, arguments: dict[str, Any], known: Mapping[str, type]) -> keras.callbacks.Callback:
    if name in BUILT_IN:
        raise DataError(f"training.callbacks.{name}: this callback is built in: {BUILT_IN[name]}", hint="Remove it.")
    if name not in known:
        near = nearest_match(name, known)
        raise DataError(
            f"training.callbacks: Keras has no callback '{name}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint="Callbacks: " + ", ".join(sorted(set(known) - set(BUILT_IN) - {"Callback", "CallbackList", "History"})),
        )
    for key, value in arguments.items():
        if isinstance(value, str) and value.startswith("lambda "):
            arguments[key] = parse_lambda(value)
    try:
        return known[name](**arguments)
    except (TypeError, ValueError) as cause:
        raise DataError(f"training.callbacks.{name}: {str(cause).splitlines()[0]}") from cause


class Validation(keras.callbacks.Callback):
    """Adds the validation metrics to each epoch's logs, before any other callback reads them.

    Args:
        validate: gives the metrics, named ``val_...``.
    """

    def __init__(self, validate: Callable[[], Mapping[str, float]]) -> None:
        super().__init__()
        self._validate = validate

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validates."""
        if logs is not None:
            logs.update(self._validate())


class SaveModels(keras.callbacks.Callback):
    """Saves the last model after each epoch, and the best one whenever the monitored metric improves.

    Args:
        save: writes the model to a path.
        best, last: the two paths.
        monitor: name of the metric.
        mode: ``max`` or ``min``.
        start: value to beat, from the weights before training; None where those do not compete.
    """

    def __init__(
        self, save: Callable[[Path], None], best: Path, last: Path, monitor: str, mode: str, start: float | None = None
    ) -> None:
        super().__init__()
        self._save, self._best_path, self._last_path = save, best, last
        self._monitor, self._sign = monitor, 1.0 if mode == "max" else -1.0
        self.best_value = -math.inf if start is None else self._sign * start
        self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves."""
        value = self._sign * (logs or {}).get(self._monitor, math.nan)
        self._save(self._last_path)
        if value > self.best_value:
            self.best_value, self.best_epoch = value, epoch + 1
            self.best_weights = [variable.numpy() for variable in self.model.network.variables]
            self._save(self._best_path)


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


def ordered(
    validation: Validation | None, configured: Sequence[keras.callbacks.Callback], own: Sequence[keras.callbacks.Callback]
) -> list[keras.callbacks.Callback]:
    """Validation first, so that the others see its metrics; then those of the YAML; then ours."""
    return [*([validation] if validation else []), *configured, *own]
