"""From the ``mlflow.uri`` of a configuration to what MLflow is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+):")  # two characters or more: C:\runs is a folder


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """Where runs are recorded.

    Attributes:
        tracking_uri: the store, as MLflow wants it.
        artifacts: folder for the files of runs; None leaves that to the store.
    """

    tracking_uri: str
    artifacts: Path | None = None

    @property
    def database(self) -> Path | None:
        """The SQLite file beside :attr:`artifacts`, None for stores that are no folder."""
        return None if self.artifacts is None else self.artifacts.parent / "mlflow.db"

    def __str__(self) -> str:
        """The store without user name and password."""
        return re.sub(r"//[^/@]*@", "//", self.tracking_uri)


def store_location(uri: str, working_dir: Path) -> StoreLocation:
    """Reads ``mlflow.uri``.

    A folder stands for the pair that ``mlflow ui``, started in its parent, shows: the database ``mlflow.db`` in the
    parent, artifacts in the folder. MLflow (since 3.7) reads nothing else there by default, and refuses to write the
    plain files of earlier versions.

    Args:
        uri: a folder, a ``file:`` URI, the address of a server or of a database.
        working_dir: what a relative folder starts from.
    """
    scheme = _SCHEME.match(uri)
    if scheme is not None and scheme[1].lower() != "file":
        return StoreLocation(uri)
    folder = Path(unquote(urlsplit(uri).path)) if scheme is not None else Path(uri).expanduser()
    folder = (working_dir / folder).resolve()
    return StoreLocation(f"sqlite:///{folder.parent / 'mlflow.db'}", folder)


def holds_file_store(folder: Path) -> bool:
    """Whether a folder holds experiments in the plain files of MLflow before 3.7."""
    return any(found.parent.name.isdigit() for found in folder.glob("*/meta.yaml"))


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database; an empty file is a fresh one."""
    with path.open("rb") as file:
        return file.read(16) in {b"", b"SQLite format 3\0"}
