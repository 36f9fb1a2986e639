"""Keras callbacks: those of the YAML by name, and our own that validate, save and report."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from reidfw_core.config.expressions import parse_lambda
from reidfw_core.config.sections.training import BUILT_IN_CALLBACKS
from reidfw_core.errors import DataError, nearest_match
from reidfw_core.schedules import SCHEDULES, Schedule, build_schedule, warmed_up

SCHEDULERS = frozenset({"LearningRateScheduler", "ReduceLROnPlateau", *SCHEDULES})
"""Callbacks that set the learning rate; at most one may be given."""


def build_callbacks(configured: Mapping[str, Mapping[str, Any] | None]) -> dict[str, keras.callbacks.Callback]:
    """The callbacks of ``training.callbacks`` by name, in their order.

    Args:
        configured: name of a Keras class or of a schedule to its arguments; strings that begin with ``lambda`` become
            functions.

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
    return {name: _build_callback(name, dict(arguments or {}), known) for name, arguments in configured.items()}


def _build_callback(name: str, arguments: dict[str, Any], known: Mapping[str, type]) -> keras.callbacks.Callback:
    if name in BUILT_IN_CALLBACKS:
        raise DataError(
            f"training.callbacks.{name}: this callback is built in: {BUILT_IN_CALLBACKS[name]}", hint="Remove it."
        )
    if name in SCHEDULES:
        return ScheduleRate(build_schedule(name, arguments))
    if name not in known:
        near = nearest_match(name, {**known, **SCHEDULES})
        raise DataError(
            f"training.callbacks: Keras has no callback '{name}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint="Callbacks: "
            + ", ".join(
                sorted({*known, *SCHEDULES} - set(BUILT_IN_CALLBACKS) - {"Callback", "CallbackList", "History"})
            ),
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
    _check_numbers(name, arguments, known[name])
    try:
        return known[name](**arguments)
    except (TypeError, ValueError) as cause:
        raise DataError(f"training.callbacks.{name}: {str(cause).splitlines()[0]}") from cause


_COUNTS = ("patience", "cooldown", "start_from_epoch")
"""Arguments of Keras's callbacks that are whole numbers from 0 on."""


def _check_numbers(name: str, arguments: Mapping[str, Any], callback: type) -> None:
    """Keras would notice at the end of the first epoch, or never."""
    for key, parameter in inspect.signature(callback).parameters.items():
        if key not in arguments or not _is_number(parameter.default):
            continue
        value = arguments[key]
        if not _is_number(value):
            raise DataError(f"training.callbacks.{name}.{key}: a number is expected, got {value!r}")
        if key in _COUNTS and (value < 0 or value != int(value)):
            raise DataError(f"training.callbacks.{name}.{key}: a whole number from 0 on is expected, got {value}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_schedule(callbacks: Iterable[keras.callbacks.Callback], epochs: int, rate: float) -> None:
    """Computes the learning rate of every epoch, so that a schedule that cannot is found before the training.

    Args:
        callbacks: those of the configuration.
        epochs: of the training.
        rate: with which it begins.

    Raises:
        DataError: a ``LearningRateScheduler`` raises, or gives no positive finite number.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.LearningRateScheduler):
            continue
        for epoch in range(epochs):
            where = f"training.callbacks.LearningRateScheduler.schedule: in epoch {epoch} (counted from 0)"
            try:
                try:
                    rate = callback.schedule(epoch, rate)
                except TypeError:  # Keras takes functions of the epoch alone, too
                    rate = callback.schedule(epoch)
            except (ArithmeticError, ValueError) as cause:
                raise DataError(f"{where} it gives no number: {cause}") from cause
            if not (math.isfinite(rate) and rate >= 0):
                raise DataError(f"{where} it gives {rate}, which is no learning rate")


def check_monitors(callbacks: Iterable[keras.callbacks.Callback], metrics: Sequence[str]) -> None:
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


@dataclass(slots=True)
class Best:
    """The best epoch so far: its number (from 1), the value of the monitored metric, and the network's variables."""

    epoch: int = 0
    value: float = math.nan
    weights: list[Any] = field(default_factory=list)


class Validate(keras.callbacks.Callback):
    """Validates the averaged weights at the end of an epoch, and remembers the best ones.

    It comes first in the list of callbacks, so that the others find the validation metrics in the logs. In epochs
    without a validation the logs repeat the last values.

    Args:
        validate: gives the metrics of the network as it is now, named ``val_...``.
        save_best: called where an epoch is the best so far, with the averaged weights in the network.
        monitor: metric that tells the best epoch.
        mode: ``min`` or ``max``.
        every: epochs from one validation to the next.
        epochs: of the whole training.
        best: the best epoch of a training that is resumed.
        last_metrics: the last validation's metrics of a training that is resumed.
    """

    def __init__(
        self,
        *,
        validate: Callable[[], Mapping[str, float]],
        save_best: Callable[[], object],
        monitor: str,
        mode: Literal["min", "max"],
        every: int,
        epochs: int,
        best: Best,
        last_metrics: Mapping[str, float],
    ) -> None:
        super().__init__()
        self._validate, self._save_best = validate, save_best
        self._monitor, self._sign = monitor, 1.0 if mode == "max" else -1.0
        self._every, self._epochs = every, epochs
        self.best = best
        self.last_metrics = dict(last_metrics)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validates, and tells whether this was the best epoch."""
        logs = {} if logs is None else logs
        number = epoch + 1
        if number % self._every and number not in (1, self._epochs) and self.last_metrics:
            logs.update(self.last_metrics)
            return
        with self.model.averaged_weights():
            self.last_metrics = dict(self._validate())
            logs.update(self.last_metrics)
            value = logs.get(self._monitor, math.nan)
            better = math.isfinite(value) and not self._sign * value <= self._sign * self.best.value
            if better or not self.best.weights:
                self.best = Best(number, value, [variable.numpy() for variable in self.model.published_variables])
                self._save_best()


class ScheduleRate(keras.callbacks.Callback):
    """Sets the learning rate at the beginning of each epoch.

    Args:
        schedule: the rate of an epoch, counted from 0.
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Sets it."""
        self.model.optimizer.learning_rate = self.schedule.rate(epoch)


class WarmUp(keras.callbacks.Callback):
    """Lets the learning rate rise in a straight line over the first optimizer steps.

    It comes before all callbacks that set the rate: at the end of an epoch they find the rate that they had set.

    Args:
        steps: length in batches.
        steps_per_epoch: batches of an epoch.
    """

    def __init__(self, steps: int, steps_per_epoch: int) -> None:
        super().__init__()
        self._steps, self._per_epoch = steps, steps_per_epoch
        self._epoch = 0
        self._rate: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """The rate of this epoch is not known before all others have set it."""
        self._epoch, self._rate = epoch, None

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Lowers the rate for the step to come."""
        step = self._epoch * self._per_epoch + batch
        if step > self._steps:
            return
        if self._rate is None:
            self._rate = _rate_of(self.model)
        self.model.optimizer.learning_rate = warmed_up(self._rate, step, self._steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Gives the rate back that the epoch began with."""
        if self._rate is not None:
            self.model.optimizer.learning_rate = self._rate


def progress_of(callbacks: Mapping[str, keras.callbacks.Callback], fresh: Mapping[str, Mapping[str, Any]]) -> Any:
    """What callbacks have learnt so far: their plain attributes that differ from those they were made with.

    Args:
        callbacks: by name.
        fresh: the plain attributes of each when it was made, see :func:`plain_attributes`.

    Returns:
        For each name a mapping of attributes: numbers, texts, None, and lists of arrays.
    """
    return {
        name: {
            key: value
            for key, value in plain_attributes(callback).items()
            if key not in fresh.get(name, {}) or not _equal(fresh[name][key], value)
        }
        for name, callback in callbacks.items()
    }


def plain_attributes(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The attributes of a callback that are numbers, texts, None or lists of arrays, but for its arguments.

    Arguments are the configuration's: they may change from one run to the next, and some callbacks turn the sign of
    theirs on first use.
    """
    arguments = inspect.signature(type(callback)).parameters
    plain: dict[str, Any] = {}
    for key, value in vars(callback).items():
        if key in arguments:
            continue
        if isinstance(value, np.generic):
            plain[key] = value.item()
        elif value is None or isinstance(value, bool | int | float | str) or _holds_arrays(value):
            plain[key] = value
    return plain


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, np.ndarray) for item in value)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) or isinstance(other, list):
        return one is other
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 (NaN is not itself)


class SaveState(keras.callbacks.Callback):
    """Saves the training at the end of each epoch; it comes last, when all others have done their part.

    Args:
        save: gets the number of epochs done and the epoch's metrics.
        restore: called when the training begins, after all others have been set to their beginning.
    """

    def __init__(self, save: Callable[[int, Mapping[str, float]], object], restore: Callable[[], object]) -> None:
        super().__init__()
        self._save, self._restore = save, restore

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Brings back what was learnt before an interruption."""
        self._restore()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves."""
        self._save(epoch + 1, {name: float(value) for name, value in (logs or {}).items()})


def _rate_of(trainer: Any) -> float:
    return float(keras.ops.convert_to_numpy(trainer.optimizer.learning_rate))


class LearningRate(keras.callbacks.Callback):
    """Adds ``learning_rate`` to each epoch's logs: that of its last step, not what callbacks have set for the next."""

    def __init__(self) -> None:
        super().__init__()
        self._rate = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Reads the rate of the step that was made."""
        self._rate = _rate_of(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tells it."""
        if logs is not None:
            logs["learning_rate"] = self._rate


class StopOnNan(keras.callbacks.Callback):
    """Ends a training whose loss is no number any more.

    Args:
        advice: what to do about it.
    """

    def __init__(self, advice: str) -> None:
        super().__init__()
        self._advice = advice

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the running mean of the loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise DataError(
                f"The training loss became {loss} in batch {batch + 1}",
                hint=self._advice,
            )


class Reporter(keras.callbacks.Callback):
    """Tells the run's listeners of batches and epochs.

    Args:
        batch_done: told how many batches of the whole training are done.
        epoch_done: told epoch (from 1) and metrics.
        batches_before: batches of a training that is resumed.
    """

    def __init__(
        self,
        batch_done: Callable[[int], None],
        epoch_done: Callable[[int, Mapping[str, float]], None],
        batches_before: int = 0,
    ) -> None:
        super().__init__()
        self._batch_done, self._epoch_done = batch_done, epoch_done
        self._batches = batches_before
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
