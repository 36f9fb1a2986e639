"""From the values of a run to names and texts that MLflow takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

MAX_KEY_LENGTH = 250
MAX_VALUE_LENGTH = 6000
MAX_PARAMS_PER_BATCH = 100
MAX_METRICS_PER_BATCH = 1000

_NOT_IN_KEYS = re.compile(r"[^\w.\- :/]")


def record_key(name: str) -> str:
    """``name`` with what MLflow refuses replaced by ``_``, cut to its limit of length."""
    return _NOT_IN_KEYS.sub("_", name)[:MAX_KEY_LENGTH]


def record_value(value: object) -> str:
    """A value as text, cut to MLflow's limit; lists and mappings as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, default=str) if _is_nested(value) else str(value)
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…"


def flat_params(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The values of nested mappings under dotted names: ``training.optimizer.Adam.learning_rate``."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat_params(value, f"{prefix}{name}.")
        else:
            yield record_key(f"{prefix}{name}"), record_value(value)


def _is_nested(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple))
