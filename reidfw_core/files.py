"""Writing files so that nothing half-written is ever found under its final name."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reidfw_core.errors import StorageError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` (same suffix), renamed to it when the block ends well.

    The temporary file is removed when the block raises. Folders above ``path`` are made.

    Raises:
        StorageError: the file cannot be written (no space, no permission, read-only medium).
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise _storage_error(path, cause) from cause
    try:
        yield temporary
        temporary.replace(path)
    except OSError as cause:
        if _is_about(cause, temporary, path):
            raise _storage_error(path, cause) from cause
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def added_to_folder(path: Path) -> Iterator[Path]:
    """A temporary folder whose files move into ``path``, one by one, when the block ends well; others there stay.

    Where the block raises, nothing is left of it: neither its files nor a folder that was not there before.

    Raises:
        StorageError: the folder cannot be written.
    """
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=there))
    except OSError as cause:
        raise _storage_error(path, cause) from cause
    try:
        yield temporary
        for file in sorted(made for made in temporary.rglob("*") if made.is_file()):
            target = path / file.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
    except OSError as cause:
        if _is_about(cause, temporary, path):
            raise _storage_error(path, cause) from cause
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, renamed to it when the block ends well.

    Where another process made ``path`` meanwhile, that one is kept and ours is dropped.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as cause:
        raise _storage_error(path, cause) from cause
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    except OSError as cause:
        if _is_about(cause, temporary, path):
            raise _storage_error(path, cause) from cause
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically. Raises StorageError."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG})
"""Error numbers that mean: the medium takes no more, whichever file it was about."""


def _storage_error(path: Path, cause: OSError) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {cause.strerror or cause}",
        hint="Free some space, or choose another folder (hydra.run.dir in the YAML).",
    )


def _is_about(error: OSError, *paths: Path) -> bool:
    named = {str(name) for name in (error.filename, error.filename2) if name is not None}
    return error.errno in STORAGE_ERRNOS or any(str(path) in named or str(path.parent) in named for path in paths)


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal: what tells two models apart. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
            "There is no home folder in which to keep images",
            hint="Set the environment variable REIDFW_CACHE to a folder.",
        ) from cause
    if platform == "win32":
        return home / "AppData" / "Local" / "reidfw"
    return home / "Library" / "Caches" / "reidfw" if platform == "darwin" else home / ".cache" / "reidfw"
