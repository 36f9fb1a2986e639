"""Functions of the user's own, named in the YAML as ``module:function`` or ``path/to/file.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from reidfw_core.errors import DataError, nearest_match


def load_function(reference: str) -> Callable[..., Any]:
    """Imports a function.

    Args:
        reference: ``module:function`` (the current folder is looked in too) or ``file.py:function``.

    Raises:
        DataError: there is no such file, module or function, or importing it fails; the message says which.
    """
    source, colon, name = reference.rpartition(":")
    if not colon or not source or not name.isidentifier():
        raise DataError(f"'{reference}' is not of the form module:function or file.py:function")
    module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    function = getattr(module, name, None)
    if not callable(function):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        near = nearest_match(name, public)
        raise DataError(f"{source} has no function '{name}'" + (f" (did you mean '{near}'?)" if near else ""))
    result: Callable[..., Any] = function
    return result


def _load_file(path: Path) -> ModuleType:
    file = path.expanduser().absolute()
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    name = f"reidfw_user_{file.stem}_{abs(hash(str(file)))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes can be pickled and AutoGraph finds its source
    try:
        spec.loader.exec_module(module)
    except Exception as cause:  # the user's code may raise anything
        del sys.modules[name]
        raise DataError(f"{file} cannot be imported: {type(cause).__name__}: {cause}") from cause
    return module


def _load_module(name: str) -> ModuleType:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as cause:
        if cause.name != name.partition(".")[0] and cause.name != name:
            raise DataError(f"the module '{name}' needs '{cause.name}', which is not installed") from cause
        raise DataError(f"there is no module '{name}', neither installed nor in {here}") from cause
    except Exception as cause:  # the user's code may raise anything
        raise DataError(f"the module '{name}' cannot be imported: {type(cause).__name__}: {cause}") from cause
    finally:
        if added:
            sys.path.remove(here)
