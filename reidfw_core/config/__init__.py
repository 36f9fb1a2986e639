"""The configuration: from the user's YAML to checked sections and bound components.

Importing this package is cheap: its modules are imported when one of the names is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent, BoundComponents, BoundLoss, bind_components
    from reidfw_core.config.expressions import ExpressionError, parse_lambda, parse_layer_slices, parse_value
    from reidfw_core.config.loading import LoadedConfig, load_config
    from reidfw_core.config.modes import OPERATION_MODES, OperationMode
    from reidfw_core.config.reading import Configuration, read_config
    from reidfw_core.config.schema import config_schema
    from reidfw_core.config.sections import RunConfig

_HOMES = {
    "BoundComponent": "binding",
    "BoundComponents": "binding",
    "BoundLoss": "binding",
    "bind_components": "binding",
    "ExpressionError": "expressions",
    "parse_lambda": "expressions",
    "parse_layer_slices": "expressions",
    "parse_value": "expressions",
    "LoadedConfig": "loading",
    "load_config": "loading",
    "OPERATION_MODES": "modes",
    "OperationMode": "modes",
    "Configuration": "reading",
    "read_config": "reading",
    "config_schema": "schema",
    "RunConfig": "sections",
}

__all__ = [
    "OPERATION_MODES",
    "BoundComponent",
    "BoundComponents",
    "BoundLoss",
    "Configuration",
    "ExpressionError",
    "LoadedConfig",
    "OperationMode",
    "RunConfig",
    "bind_components",
    "config_schema",
    "load_config",
    "parse_lambda",
    "parse_layer_slices",
    "parse_value",
    "read_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
