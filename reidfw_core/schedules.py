"""Learning rate schedules: the rate as a function of the epoch, counted from 0.

Source: the services' list of schedulers (their names, arguments and formulas); I. Loshchilov, F. Hutter, "SGDR:
Stochastic Gradient Descent with Warm Restarts", 2017, for the restarts. Pure arithmetic: no framework is imported.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from reidfw_core.errors import DataError, nearest_match


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(ABC):
    """Base of all schedules. ``verbose`` is accepted for compatibility: the rate is in every epoch's metrics anyway."""

    verbose: float = 0

    @abstractmethod
    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _HoldAndDecay(Schedule):
    """``hold_steps`` epochs at ``initial_lr``, then ``decay_steps`` epochs on the way to ``end_lr``."""

    initial_lr: float
    hold_steps: int
    decay_steps: int
    end_lr: float

    def _fraction(self, epoch: int) -> float:
        return min(epoch - self.hold_steps + 1, self.decay_steps) / self.decay_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class LRLinearDecay(_HoldAndDecay):
    """Holds the initial rate, then goes down in a straight line."""

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        if epoch < self.hold_steps - 1:
            return self.initial_lr
        return self.initial_lr + (self.end_lr - self.initial_lr) * self._fraction(epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class LRExponentialDecay(Schedule):
    """Holds the initial rate, then shrinks by ``exp(-decay_rate)`` an epoch down to ``min_lr``."""

    initial_lr: float
    hold_steps: int
    decay_rate: float
    min_lr: float = 0.0

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        if epoch < self.hold_steps - 1:
            return self.initial_lr
        return max(self.min_lr, self.initial_lr * math.exp(-self.decay_rate * (epoch - self.hold_steps + 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LRStepDecay(Schedule):
    """Multiplies the rate by ``decay_rate`` every ``step_size`` epochs, down to ``min_lr``."""

    initial_lr: float
    step_size: int
    decay_rate: float
    min_lr: float = 0.0

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        return max(self.min_lr, self.initial_lr * self.decay_rate ** ((epoch + 1) // self.step_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class LRCosineDecay(_HoldAndDecay):
    """Holds the initial rate, then follows half a cosine."""

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        if epoch < self.hold_steps:
            return self.initial_lr
        return _cosine(self.initial_lr, self.end_lr, self._fraction(epoch))


@dataclass(frozen=True, slots=True, kw_only=True)
class LRWarmupCosineDecay(Schedule):
    """Rises in a straight line to ``max_lr``, holds it, then follows half a cosine."""

    initial_lr: float
    warmup_steps: int
    max_lr: float
    hold_steps: int
    decay_steps: int
    end_lr: float

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        if epoch < self.warmup_steps - 1:
            return self.initial_lr + (self.max_lr - self.initial_lr) * epoch / self.warmup_steps
        if epoch < self.warmup_steps + self.hold_steps:
            return self.max_lr
        passed = min(epoch - self.warmup_steps - self.hold_steps, self.decay_steps)
        return _cosine(self.max_lr, self.end_lr, passed / self.decay_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class LRCosineDecayRestarts(Schedule):
    """Half cosines one after the other, each ``t_mul`` times as long and ``m_mul`` times as high as the one before."""

    initial_lr: float
    first_decay_steps: int
    end_lr: float
    t_mul: float = 2.0
    m_mul: float = 1.0

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        begin, length, height = 0.0, float(self.first_decay_steps), 1.0
        while epoch >= begin + length:
            begin, length, height = begin + length, length * self.t_mul, height * self.m_mul
        place = (epoch - begin) / length
        return self.end_lr + (self.initial_lr - self.end_lr) * 0.5 * height * (1 + math.cos(math.pi * place))


@dataclass(frozen=True, slots=True, kw_only=True)
class LRPolynomialDecay(_HoldAndDecay):
    """Holds the initial rate, then follows ``(1 - p) ** power``."""

    power: float = 0.5

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        if epoch < self.hold_steps - 1:
            return self.initial_lr
        return self.end_lr + (self.initial_lr - self.end_lr) * math.pow(1 - self._fraction(epoch), self.power)


@dataclass(frozen=True, slots=True, kw_only=True)
class LRPolynomialDecayRestarts(_HoldAndDecay):
    """As :class:`LRPolynomialDecay`, beginning anew from a lower place each ``decay_steps`` epochs."""

    power: float = 0.7

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        if epoch < self.hold_steps - 1:
            return self.initial_lr
        passed = epoch - self.hold_steps + 1
        fraction = passed / (self.decay_steps * math.ceil(passed / self.decay_steps)) if passed > 0 else 0.0
        return self.end_lr + (self.initial_lr - self.end_lr) * math.pow(1 - fraction, self.power)


@dataclass(frozen=True, slots=True, kw_only=True)
class LRPiecewiseConstantDecay(Schedule):
    """One of ``values``, told by the first of ``boundaries`` that lies behind the epoch."""

    boundaries: tuple[float, ...]
    values: tuple[float, ...]

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (from 0)."""
        for boundary, value in zip(self.boundaries, self.values, strict=False):
            if boundary > epoch:
                return value
        return self.values[-1]


SCHEDULES: Mapping[str, type[Schedule]] = {
    schedule.__name__: schedule
    for schedule in (
        LRLinearDecay,
        LRExponentialDecay,
        LRStepDecay,
        LRCosineDecay,
        LRWarmupCosineDecay,
        LRCosineDecayRestarts,
        LRPolynomialDecay,
        LRPolynomialDecayRestarts,
        LRPiecewiseConstantDecay,
    )
}
"""All schedules by the name that ``training.callbacks`` has for them."""

_COUNTS = {"decay_steps": 1, "step_size": 1, "first_decay_steps": 1, "hold_steps": 0, "warmup_steps": 0}
"""Arguments that count epochs, and the least value of each."""

_POSITIVE = {"t_mul", "power", "decay_rate"}


def build_schedule(name: str, arguments: Mapping[str, Any], where: str | None = None) -> Schedule:
    """A schedule by its name.

    Args:
        name: a key of :data:`SCHEDULES`.
        arguments: as in the YAML.
        where: the attribute, for messages; by default ``training.callbacks.<name>``.

    Raises:
        DataError: an argument is unknown, missing, or no sensible number; scheduler and argument are named.
    """
    where = where or f"training.callbacks.{name}"
    schedule = SCHEDULES[name]
    declared = {field.name: field for field in fields(schedule)}
    for key in arguments:
        if key not in declared:
            near = nearest_match(key, declared)
            raise DataError(
                f"{where}: there is no argument '{key}'" + (f" (did you mean '{near}'?)" if near else ""),
                hint="Arguments: " + ", ".join(sorted(set(declared) - {"verbose"})),
            )
    values: dict[str, Any] = {}
    for key, field in declared.items():
        if arguments.get(key) is not None:
            values[key] = _checked(arguments[key], key, where)
        elif field.default is MISSING:
            raise DataError(f"{where}: the argument '{key}' is required and missing")
    if schedule is LRPiecewiseConstantDecay and len(values["values"]) != len(values["boundaries"]) + 1:
        raise DataError(
            f"{where}: values must be one more than boundaries, got {len(values['values'])} values and "
            f"{len(values['boundaries'])} boundaries"
        )
    return schedule(**values)


def _checked(value: Any, key: str, where: str) -> Any:
    if key in {"boundaries", "values"}:
        items = list(value) if isinstance(value, list | tuple) else [value]
        numbers = tuple(_number(item, key, where) for item in items)
        if key == "boundaries" and list(numbers) != sorted(set(numbers)):
            raise DataError(f"{where}: boundaries must rise, got {list(numbers)}")
        return numbers
    number = _number(value, key, where)
    if key in _COUNTS:
        if number != int(number) or number < _COUNTS[key]:
            raise DataError(f"{where}: {key} is a number of epochs, at least {_COUNTS[key]}, got {value}")
        return int(number)
    if key in _POSITIVE and number <= 0:
        raise DataError(f"{where}: {key} must be above 0, got {value}")
    return number


def _number(value: Any, key: str, where: str) -> float:
    if isinstance(value, bool) and key == "verbose":
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {key} must be a number, got {value!r}")
    if value < 0 and key != "verbose":
        raise DataError(f"{where}: {key} must not be negative, got {value}")
    return float(value)


def _cosine(high: float, low: float, fraction: float) -> float:
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * fraction))


def warmed_up(rate: float, step: int, steps: int) -> float:
    """A rate during the first ``steps`` optimizer steps: a straight line from ``rate / steps`` up to ``rate``.

    Source: P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2 (gradual warm-up).

    Args:
        rate: the rate that the schedule asks for.
        step: optimizer steps done, from 0.
        steps: length of the warm-up in steps; 0 for none.
    """
    return rate if step >= steps else rate * (step + 1) / steps
