"""Reader of CSV files that name each image and its identity."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reidfw_core.api import DataError, DatasetReader, Role, Samples, hookimpl, nearest_match
from reidfw_dataset_readers.folders import name_some, normalize_text, require_root, sort_key
from reidfw_dataset_readers.trainability import require_trainable

REQUIRED_COLUMNS = ("path", "identity")
OPTIONAL_COLUMNS = ("camera",)
RULE = "The file starts with a line 'path,identity' or 'path,identity,camera', then comes one line for each image."

_DELIMITERS = (",", ";", "\t")
_SHOWN_FAULTS = 5


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    path: str
    identity: str
    camera: str | None


class CsvManifest(DatasetReader):
    """A CSV file with the columns ``path``, ``identity`` and, if cameras are known, ``camera``.

    The dataset path is the file itself, or a folder with one file for each role, ``training.csv``, ``test_query.csv``
    and so on. Image paths are relative to the folder of the file. The file is UTF-8, with or without byte order mark;
    comma, semicolon and tab are understood as separators (spreadsheets write any of them); further columns are not
    read.
    """

    knows_cameras: ClassVar[bool] = False  # not always: they are in the samples where the column is there

    @hookimpl
    def read_samples(self, root: Path | None, role: Role) -> Samples:
        """Lists the images of a CSV file, sorted by path.

        Raises:
            DataError: no such file, a faulty header or line (named by their line numbers), an image that does not
                exist, or (for training) fewer than two identities or no identity with two images.
        """
        manifest = _manifest_of(require_root(root, role), role)
        rows = sorted(_read_rows(manifest, role), key=lambda row: sort_key(row.path))
        cameras = tuple(row.camera for row in rows if row.camera is not None)
        samples = Samples(
            role=role,
            root=manifest.parent,
            paths=tuple(manifest.parent / row.path for row in rows),
            identities=tuple(row.identity for row in rows),
            cameras=cameras or None,
        )
        return require_trainable(samples, rule=RULE)


def _manifest_of(root: Path, role: Role) -> Path:
    if root.is_file():
        return root
    manifest = root / f"{role}.csv"
    if manifest.is_file():
        return manifest
    if not root.is_dir():
        raise DataError(f"dataset.{role}_path: there is no file or folder {root}", hint=RULE)
    others = sorted(path.name for path in root.glob("*.csv"))
    hint = f"It holds {name_some(others)}: rename it, or give the path of the file." if others else RULE
    raise DataError(f"dataset.{role}_path: there is no {manifest.name} in {root}", hint=hint)


def _read_rows(manifest: Path, role: Role) -> list[_Row]:
    where = f"dataset.{role}_path: {manifest}"
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        raise DataError(f"{where} is not UTF-8 text (byte {cause.start})", hint="Save it as CSV UTF-8.") from cause
    except OSError as cause:
        raise DataError(f"{where} cannot be read: {cause.strerror or cause}") from cause
    delimiter = _delimiter_of(text.partition("\n")[0])
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _columns_of(next(lines, []), where)
        numbered = [(lines.line_num, cells) for cells in lines if any(cell.strip() for cell in cells)]
    except csv.Error as cause:
        raise DataError(f"{where}, line {lines.line_num}: {cause}", hint=RULE) from cause
    if not numbered:
        raise DataError(f"{where} has no line after the header", hint=RULE)
    rows = [_row_of(line, cells, columns) for line, cells in numbered]
    faults = list(_faults_of(rows, numbered, columns, manifest.parent))
    if faults:
        shown = "".join(f"\n  - line {line}: {fault}" for line, fault in faults[:_SHOWN_FAULTS])
        more = f"\n  and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
        raise DataError(f"{where} has {len(faults)} fault(s):{shown}{more}", hint=RULE)
    return rows


def _delimiter_of(header: str) -> str:
    """The separator with which the header holds most of the known columns; a comma where none does."""
    known = {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS}
    return max(
        _DELIMITERS, key=lambda mark: len(known & {name.strip().strip('"').lower() for name in header.split(mark)})
    )


def _columns_of(header: list[str], where: str) -> dict[str, int]:
    """Index of each known column.

    Raises:
        DataError: the header lacks a required column or names one twice.
    """
    names = [name.strip().lower() for name in header]
    if not any(names):
        raise DataError(f"{where}, line 1: the header is missing", hint=RULE)
    for column in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if names.count(column) > 1:
            raise DataError(f"{where}, line 1: the column '{column}' is there {names.count(column)} times", hint=RULE)
    for column in REQUIRED_COLUMNS:
        if column not in names:
            nearest = nearest_match(column, [name for name in names if name])
            guess = f" (is '{nearest}' meant to be it?)" if nearest else ""
            raise DataError(
                f"{where}, line 1: there is no column '{column}', only {', '.join(map(repr, names))}{guess}",
                hint=RULE,
            )
    return {column: names.index(column) for column in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if column in names}


def _row_of(line: int, cells: list[str], columns: dict[str, int]) -> _Row:
    def cell(column: str) -> str:
        index = columns[column]
        return cells[index].strip() if index < len(cells) else ""

    return _Row(
        line=line,
        path=cell("path"),
        identity=normalize_text(cell("identity")),
        camera=cell("camera") if "camera" in columns else None,
    )


def _faults_of(
    rows: list[_Row], numbered: list[tuple[int, list[str]]], columns: dict[str, int], folder: Path
) -> Iterator[tuple[int, str]]:
    """Line number and fault of each line that cannot be used."""
    needed = max(columns.values()) + 1
    first_line: dict[str, int] = {}
    for row, (_, cells) in zip(rows, numbered, strict=True):
        empty = [column for column in columns if not getattr(row, column)]
        if len(cells) < needed:
            yield row.line, f"{len(cells)} column(s), at least {needed} are expected"
        elif empty:
            yield row.line, f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty"
        elif row.path in first_line:
            yield row.line, f"{row.path} is there already, in line {first_line[row.path]}"
        elif not (folder / row.path).is_file():
            yield row.line, f"there is no file {folder / row.path}"
        first_line.setdefault(row.path, row.line)
