"""Types of the arguments that are drawn from a range.

The YAML gives a pair ``(a, b)`` or ``[a, b]`` with b > a. What a single number v stands for differs between the
functions, and so there is one type for each meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator


def _number(value: Any) -> float | int | None:
    """The number that ``value`` is or spells (YAML reads ``1e-3`` as text), or None for anything else."""
    if isinstance(value, bool):
        raise ValueError("expected a number or a pair of numbers, got a truth value")
    if isinstance(value, int | float):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _read_pair(
    scalar_means: Callable[[Any], tuple[Any, Any]] | None, *, may_be_equal: bool = False
) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        number = _number(value)
        if number is not None:
            if scalar_means is None:
                raise ValueError(f"expected a pair (a, b) with b > a, got the single number {value}")
            return scalar_means(number)
        if not isinstance(value, list | tuple) or len(value) != 2:
            allowed = "a pair (a, b)" if scalar_means is None else "a number or a pair (a, b)"
            raise ValueError(f"expected {allowed} with b > a, got {value!r}")
        low, high = (_number(end) for end in value)
        if low is None or high is None:
            raise ValueError(f"expected numbers, got {value!r}")
        if not (high > low or (may_be_equal and high == low)):
            raise ValueError(f"the second number of the range must be greater than the first, got ({low}, {high})")
        return low, high

    return read


def _symmetric(value: float) -> tuple[float, float]:
    return -_positive(value), value


def _around_one(value: float) -> tuple[float, float]:
    return 1 - _positive(value), 1 + value


def _from_zero(value: float) -> tuple[float, float]:
    return 0.0, _positive(value)


def _fixed(value: Any) -> tuple[Any, Any]:
    return value, value


def _factor(value: float) -> tuple[float, float]:
    return max(0.0, 1 - _not_negative(value)), 1 + value


def _offset(value: float) -> tuple[float, float]:
    return 0.0 - _not_negative(value), value


def _not_negative(value: float) -> float:
    if not value >= 0:
        raise ValueError(f"a single number must be at least 0, got {value}")
    return value


def _positive(value: float) -> float:
    if not value > 0:
        raise ValueError(f"a single number must be greater than 0, got {value}")
    return value


def within(low: float | None = None, high: float | None = None, *, exclusive: bool = False) -> AfterValidator:
    """A pydantic validator that keeps both ends of a range between ``low`` and ``high``.

    Args:
        low: smallest value, None for no limit.
        high: largest value, None for no limit.
        exclusive: whether the limits themselves are refused.
    """

    def check(pair: tuple[float, float]) -> tuple[float, float]:
        for end in pair:
            too_low = low is not None and (end <= low if exclusive else end < low)
            too_high = high is not None and (end >= high if exclusive else end > high)
            if too_low or too_high:
                raise ValueError(f"{end} is out of range; allowed: {allowed}")
        return pair

    than = ("greater than", "less than") if exclusive else ("at least", "at most")
    limits = [f"{word} {limit}" for word, limit in zip(than, (low, high), strict=True) if limit is not None]
    allowed = " and ".join(limits)
    return AfterValidator(check)


_NumberOrPair = float | tuple[float, float]
_IntOrPair = int | tuple[int, int]

SymmetricRange = Annotated[
    tuple[float, float], BeforeValidator(_read_pair(_symmetric), json_schema_input_type=_NumberOrPair)
]
"""A pair; v means (-v, v)."""

RangeAroundOne = Annotated[
    tuple[float, float], BeforeValidator(_read_pair(_around_one), json_schema_input_type=_NumberOrPair)
]
"""A pair; v means (1 - v, 1 + v)."""

FactorRange = Annotated[
    tuple[float, float], BeforeValidator(_read_pair(_factor, may_be_equal=True), json_schema_input_type=_NumberOrPair)
]
"""A pair; v means (max(0, 1 - v), 1 + v), and 0 no change; both ends may be equal."""

OffsetRange = Annotated[
    tuple[float, float], BeforeValidator(_read_pair(_offset, may_be_equal=True), json_schema_input_type=_NumberOrPair)
]
"""A pair; v means (-v, v), and 0 no change; both ends may be equal."""

RangeFromZero = Annotated[
    tuple[float, float], BeforeValidator(_read_pair(_from_zero), json_schema_input_type=_NumberOrPair)
]
"""A pair; v means (0, v)."""

RangeOrValue = Annotated[tuple[float, float], BeforeValidator(_read_pair(_fixed), json_schema_input_type=_NumberOrPair)]
"""A pair; v means always v."""

Range = Annotated[tuple[float, float], BeforeValidator(_read_pair(None), json_schema_input_type=tuple[float, float])]
"""A pair only."""

IntRange = Annotated[tuple[int, int], BeforeValidator(_read_pair(None), json_schema_input_type=tuple[int, int])]
"""A pair of integers only; both ends can be drawn."""

IntRangeOrValue = Annotated[tuple[int, int], BeforeValidator(_read_pair(_fixed), json_schema_input_type=_IntOrPair)]
"""A pair of integers; both ends can be drawn; n means always n."""
