"""Reader of Parquet files that name each image and its identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from reidfw_core.api import DataError, DatasetReader, Role, Samples, hookimpl
from reidfw_dataset_readers.folders import require_root
from reidfw_dataset_readers.manifest import Row, checked_rows, columns_of, manifest_of, samples_of

RULE = "The file has the columns path and identity, and camera where cameras are known: one row for each image."


class ParquetManifest(DatasetReader):
    """A Parquet file with the columns ``path``, ``identity`` and, if cameras are known, ``camera``.

    The dataset path is the file itself, or a folder with one file for each role, ``training.parquet``,
    ``test_query.parquet`` and so on. Image paths are relative to the folder of the file. Identities and cameras may be
    texts or whole numbers; further columns are not read. Needs pyarrow.
    """

    knows_cameras: ClassVar[bool] = False  # not always: they are in the samples where the column is there

    @hookimpl
    def read_samples(self, root: Path | None, role: Role) -> Samples:
        """Lists the images of a Parquet file, sorted by path.

        Raises:
            DataError: pyarrow is missing, no such file, a missing column, a faulty row (named by its number, from 1),
                an image that does not exist, or (for training) fewer than two identities or no identity with two
                images.
        """
        manifest = manifest_of(require_root(root, role), role, ".parquet", RULE)
        return samples_of(_read_rows(manifest, role), manifest, role, RULE)


def _read_rows(manifest: Path, role: Role) -> list[Row]:
    where = f"dataset.{role}_path: {manifest}"
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as cause:
        raise DataError(f"{where} needs pyarrow", hint='pip install "reidfw-dataset-readers[parquet]"') from cause
    try:
        with pyarrow.parquet.ParquetFile(manifest) as file:
            names = list(file.schema_arrow.names)
            columns = columns_of(names, where, RULE)
            known = {column: file.schema_arrow.field(index) for column, index in columns.items()}
            table = file.read(columns=[field.name for field in known.values()])
    except (pyarrow.ArrowException, OSError) as cause:
        raise DataError(f"{where} cannot be read: {str(cause).splitlines()[0]}", hint=RULE) from cause
    for column, field in known.items():
        if not _is_text_or_integer(field.type):
            raise DataError(f"{where}: the column '{column}' holds {field.type}, texts or whole numbers are expected")
    if not table.num_rows:
        raise DataError(f"{where} has no rows", hint=RULE)
    cells = zip(*(table.column(field.name).to_pylist() for field in known.values()), strict=True)
    numbered = [
        (number, ["" if value is None else str(value) for value in row]) for number, row in enumerate(cells, start=1)
    ]
    return checked_rows(numbered, {column: place for place, column in enumerate(known)}, manifest, role, "row", RULE)


def _is_text_or_integer(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind))
