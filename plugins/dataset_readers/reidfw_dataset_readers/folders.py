"""Looking into a folder of images, with one clear message for each way in which it can be wrong."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import DataError, Role, nearest_match

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
"""Suffixes of image files, compared in lower case."""


@dataclass(frozen=True, slots=True)
class FolderContent:
    """What lies directly in a folder; hidden entries are left out.

    Attributes:
        folder: the folder.
        images: files with an image suffix, sorted by :func:`sort_key`.
        subfolders: folders in it, sorted likewise.
        other_files: names of all other files, sorted.
    """

    folder: Path
    images: tuple[Path, ...]
    subfolders: tuple[Path, ...]
    other_files: tuple[str, ...]


def normalize_text(text: str) -> str:
    """Unicode text in its composed form (NFC).

    One and the same name with an umlaut is stored composed by most systems and decomposed by some; without this,
    the two spellings would be two identities.
    """
    return unicodedata.normalize("NFC", text)


def sort_key(name: str) -> tuple[str, str]:
    """Key that sorts file names the same way on every file system."""
    return normalize_text(name), name


def is_image_name(name: str) -> bool:
    """Whether a file name ends like an image file, in any letter case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def name_some(names: Iterable[str], limit: int = 3) -> str:
    """The first few names for a message, for example ``a.jpg, b.jpg, c.jpg and 4 more``."""
    listed = [name.encode("utf-8", "replace").decode("utf-8") for name in names]  # names need not be valid Unicode
    shown = ", ".join(listed[:limit])
    return f"{shown} and {len(listed) - limit} more" if len(listed) > limit else shown


def require_root(root: Path | None, role: Role) -> Path:
    """The path given for ``role``.

    Raises:
        DataError: none was given.
    """
    if root is None:
        raise DataError(f"No path is given for the {role} images", hint=f"Set dataset.{role}_path.")
    return root


def look_into(folder: Path, role: Role) -> FolderContent:
    """Lists a folder, without going into its sub-folders.

    Raises:
        DataError: there is no such folder, it is a file, or it cannot be read.
    """
    images: list[Path] = []
    subfolders: list[Path] = []
    other_files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue  # .DS_Store and the ._* companions that macOS writes beside each image
                if entry.is_dir():
                    subfolders.append(folder / entry.name)
                elif is_image_name(entry.name):
                    images.append(folder / entry.name)
                else:
                    other_files.append(entry.name)
    except OSError as cause:
        raise _cannot_list(folder, role, cause) from cause
    return FolderContent(
        folder=folder,
        images=tuple(sorted(images, key=lambda path: sort_key(path.name))),
        subfolders=tuple(sorted(subfolders, key=lambda path: sort_key(path.name))),
        other_files=tuple(sorted(other_files)),
    )


def report_ignored(content: FolderContent, *, subfolders_used: bool) -> None:
    """Logs what in a folder is not used, so that a forgotten part of a data set does not go unnoticed."""
    if content.other_files:
        logger.info(
            "%s: ignored %d file(s) without an image suffix: %s",
            content.folder,
            len(content.other_files),
            name_some(content.other_files),
        )
    if content.subfolders and not subfolders_used:
        logger.warning(
            "%s: ignored %d sub-folder(s): %s",
            content.folder,
            len(content.subfolders),
            name_some(path.name for path in content.subfolders),
        )


def no_images(content: FolderContent, role: Role) -> DataError:
    """The error for a folder that should hold images and holds none."""
    if not content.other_files and not content.subfolders:
        what = "is empty"
    elif content.other_files:
        what = f"holds no image, only {name_some(content.other_files)}"
    else:
        what = f"holds no image, only sub-folders ({name_some(path.name for path in content.subfolders)})"
    return DataError(
        f"dataset.{role}_path: {content.folder} {what}",
        hint=f"Images end in {', '.join(IMAGE_SUFFIXES)}, in any letter case.",
    )


def _cannot_list(folder: Path, role: Role, cause: OSError) -> DataError:
    where = f"dataset.{role}_path"
    if folder.is_file():
        hints = {
            ".csv": "For a CSV file set dataset.reader: csv_manifest.",
            ".parquet": "For a Parquet file set dataset.reader: parquet_manifest.",
            ".zip": "Unpack it first.",
        }
        return DataError(
            f"{where}: {folder} is a file, a folder of images is expected", hint=hints.get(folder.suffix.lower())
        )
    if isinstance(cause, FileNotFoundError | NotADirectoryError):
        return DataError(f"{where}: there is no folder {folder}", hint=_nearest_sibling(folder))
    return DataError(f"{where}: cannot read {folder}: {cause.strerror or cause}")


def _nearest_sibling(folder: Path) -> str | None:
    existing = next((parent for parent in folder.parents if parent.is_dir()), None)
    if existing is None:
        return None
    missing = folder.relative_to(existing).parts[0]
    try:
        siblings = [entry.name for entry in existing.iterdir() if entry.is_dir()]
    except OSError:
        return f"The last folder that exists is {existing}."
    match = nearest_match(missing, siblings)
    return f"Did you mean {existing / match}?" if match else f"The last folder that exists is {existing}."
