"""Reader of CSV files that name each image and its identity."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import ClassVar

from reidfw_core.api import DataError, DatasetReader, Role, Samples, hookimpl
from reidfw_dataset_readers.folders import require_root
from reidfw_dataset_readers.manifest import (
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    Row,
    checked_rows,
    columns_of,
    manifest_of,
    samples_of,
)

RULE = "The file starts with a line 'path,identity' or 'path,identity,camera', then comes one line for each image."

_DELIMITERS = (",", ";", "\t")


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
        manifest = manifest_of(require_root(root, role), role, ".csv", RULE)
        return samples_of(_read_rows(manifest, role), manifest, role, RULE)


def _read_rows(manifest: Path, role: Role) -> list[Row]:
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
        columns = columns_of(next(lines, []), f"{where}, line 1", RULE)
        numbered = [(lines.line_num, cells) for cells in lines if any(cell.strip() for cell in cells)]
    except csv.Error as cause:
        raise DataError(f"{where}, line {lines.line_num}: {cause}", hint=RULE) from cause
    if not numbered:
        raise DataError(f"{where} has no line after the header", hint=RULE)
    return checked_rows(numbered, columns, manifest, role, "line", RULE)


def _delimiter_of(header: str) -> str:
    """The separator with which the header holds most of the known columns; a comma where none does."""
    known = {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS}
    return max(
        _DELIMITERS, key=lambda mark: len(known & {name.strip().strip('"').lower() for name in header.split(mark)})
    )
