"""How numbers read on the pages: two decimals for percentages, an en dash where there is no number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NOTHING = "–"
"""What stands for a number that does not exist."""

_MINUS = "−"
_THIN = "\u202f"


def decimal(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A number with a fixed count of decimals; thousands are set apart from 10 000 on.

    Args:
        value: the number, None where there is none.
        digits: decimals.
        sign: also write the plus of a positive number.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    rounded = f"{abs(value):,.{digits}f}"
    if abs(value) < 10_000:
        rounded = rounded.replace(",", "")
    rounded = rounded.replace(",", _THIN)
    zero = float(f"{abs(value):.{digits}f}") == 0
    prefix = _MINUS if value < 0 and not zero else "+" if sign and not zero else ""
    return prefix + rounded


def whole(value: float | None) -> str:
    """A count."""
    return decimal(value, 0)


def kibibytes(size_bytes: float | None) -> str:
    """A size in KiB, one decimal."""
    return decimal(None if size_bytes is None else size_bytes / 1024, 1)


def compact(value: float | None) -> str:
    """A distance or another number of unknown scale: four significant digits."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.4g}".replace("-", _MINUS)


def interval(low: float | None, high: float | None) -> str:
    """A range, for example a confidence interval in percent; empty where one of its ends is missing."""
    if low is None or high is None:
        return ""
    return f"{decimal(low)} to {decimal(high)}"


def spread(low: float | None, high: float | None) -> str:
    """A range, or one number where both ends are the same."""
    return decimal(low) if low == high else interval(low, high)


def duration(seconds: float | None) -> str:
    """A time in the two largest units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def moment(text: str) -> str:
    """A point in time (ISO 8601) to the minute in UTC; as it is where it cannot be read."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{read.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if read.tzinfo else f"{read:%Y-%m-%d %H:%M}"


def number_format(model_format: str, kind: str | None) -> str:
    """In what numbers a model computes: ``int8`` for ``tflite/int8``, ``float`` where its format leaves it open.

    Args:
        model_format: the format of the model file.
        kind: ``float``, ``int`` or None where that is not known.
    """
    numbers = model_format.rpartition("/")[2] if "/" in model_format else ""
    if numbers in {"", "*"}:
        return {"float": "float", "int": "quantized"}.get(kind or "", "any numbers")
    return numbers


def rate_percent(rate: str) -> str:
    """The rate ``"0.01"`` as ``1 %``, which does not break; as it is where it is no number."""
    try:
        return f"{100 * float(rate):g}\u00a0%"
    except ValueError:
        return rate


def plain(value: Any) -> str:
    """A value of the configuration in one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(plain(part) for part in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {plain(part)}" for key, part in value.items()) + "}"
    return str(value)


def chosen_options(options: Mapping[str, Any]) -> str:
    """The evaluation options that are switched on, ``none`` where all are off."""
    chosen = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        shown = name.replace("_", " ")
        chosen.append(shown if value is True else f"{shown} {plain(value)}")
    return ", ".join(chosen) or "none"


def flattened(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted names; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping) and value:
            flat.update(flattened(value, name))
        else:
            flat[name] = value
    return flat
