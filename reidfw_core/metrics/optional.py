"""Packages that only some functions need."""

from __future__ import annotations

import importlib
from types import ModuleType

from reidfw_core.errors import ToolNotFound


def import_package(module: str, *, purpose: str, pip: str) -> ModuleType:
    """Imports a module of an optional package.

    Args:
        module: dotted name, for example ``sklearn.manifold``.
        purpose: what needs it, as the start of the message.
        pip: what to give to ``pip install``.

    Raises:
        ToolNotFound: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        name = module.partition(".")[0]
        raise ToolNotFound(
            f"{purpose} needs the package {name}, which cannot be imported: {cause}",
            hint=f"Install it: pip install {pip}",
        ) from cause
