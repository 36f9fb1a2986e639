"""Where drawn images are kept between runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from reidfw_core.api import StorageError


def cache_root(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """The folder for files that can be made again.

    ``$REIDFW_CACHE`` where it is set, else the platform's own place: ``%LOCALAPPDATA%\\reidfw`` on Windows,
    ``~/Library/Caches/reidfw`` on macOS, ``$XDG_CACHE_HOME/reidfw`` or ``~/.cache/reidfw`` elsewhere.

    Args:
        environment: environment variables.
        platform: as ``sys.platform``.

    Raises:
        StorageError: there is no home folder to put it in.
    """
    if chosen := environment.get("REIDFW_CACHE"):
        return Path(chosen).expanduser().absolute()
    if platform == "win32" and (local := environment.get("LOCALAPPDATA")):
        return Path(local) / "reidfw"
    if platform not in ("win32", "darwin") and (xdg := environment.get("XDG_CACHE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg) / "reidfw"
    try:
        home = Path.home()
    except RuntimeError as cause:
        raise StorageError(
            "There is no home folder in which to keep the drawn images",
            hint="Set the environment variable REIDFW_CACHE or dataset.cache_dir to a folder.",
        ) from cause
    if platform == "win32":
        return home / "AppData" / "Local" / "reidfw"
    return home / "Library" / "Caches" / "reidfw" if platform == "darwin" else home / ".cache" / "reidfw"
