"""Whether ClearML is set up on this computer; found out without importing it."""

from __future__ import annotations

import os
from pathlib import Path

_VARIABLES = ("CLEARML_CONFIG_FILE", "TRAINS_CONFIG_FILE")
_FILES = ("~/clearml.conf", "~/trains.conf")


def configuration_file() -> Path | None:
    """The configuration file that ClearML would read, None where there is none."""
    named = next((value for name in _VARIABLES if (value := os.environ.get(name))), None)
    candidates = ([named] if named else []) + list(_FILES)
    paths = (Path(os.path.expandvars(text)).expanduser() for text in candidates)
    return next((path for path in paths if path.is_file()), None)
