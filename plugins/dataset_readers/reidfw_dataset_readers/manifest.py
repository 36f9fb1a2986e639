"""What manifests have in common: files that name each image and its identity, in whatever format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import DataError, Role, Samples, nearest_match
from reidfw_dataset_readers.folders import name_some, normalize_text, sort_key
from reidfw_dataset_readers.trainability import require_trainable

REQUIRED_COLUMNS = ("path", "identity")
OPTIONAL_COLUMNS = ("camera",)

_SHOWN_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """An image of a manifest.

    Attributes:
        number: the line or row that it stands in, for messages.
        path: file, relative to the manifest's folder.
        identity, camera: as written; camera is None where there is no such column.
    """

    number: int
    path: str
    identity: str
    camera: str | None


def manifest_of(root: Path, role: Role, suffix: str, rule: str) -> Path:
    """The manifest of a role: ``root`` itself where it is a file, else ``<role><suffix>`` in it.

    Raises:
        DataError: there is none.
    """
    if root.is_file():
        return root
    manifest = root / f"{role}{suffix}"
    if manifest.is_file():
        return manifest
    if not root.is_dir():
        raise DataError(f"dataset.{role}_path: there is no file or folder {root}", hint=rule)
    others = sorted(path.name for path in root.glob(f"*{suffix}"))
    hint = f"It holds {name_some(others)}: rename it, or give the path of the file." if others else rule
    raise DataError(f"dataset.{role}_path: there is no {manifest.name} in {root}", hint=hint)


def samples_of(rows: Sequence[Row], manifest: Path, role: Role, rule: str) -> Samples:
    """The images of all rows, sorted by path.

    Raises:
        DataError: for training, fewer than two identities or no identity with two images.
    """
    ordered = sorted(rows, key=lambda row: sort_key(row.path))
    cameras = tuple(row.camera for row in ordered if row.camera is not None)
    samples = Samples(
        role=role,
        root=manifest.parent,
        paths=tuple(manifest.parent / row.path for row in ordered),
        identities=tuple(row.identity for row in ordered),
        cameras=cameras or None,
    )
    return require_trainable(samples, rule=rule)


def checked_rows(
    numbered: Sequence[tuple[int, Sequence[str]]],
    columns: dict[str, int],
    manifest: Path,
    role: Role,
    unit: str,
    rule: str,
) -> list[Row]:
    """The rows of a manifest.

    Args:
        numbered: number and cells of each row.
        columns: index of each known column.
        manifest: the file.
        role: what it is used for.
        unit: what numbers count: ``line`` or ``row``.
        rule: how such a file has to look.

    Raises:
        DataError: cells that are empty, images that are named twice or are not there.
    """
    where = f"dataset.{role}_path: {manifest}"
    rows = [_row_of(number, cells, columns) for number, cells in numbered]
    faults = list(_faults_of(rows, numbered, columns, manifest.parent, unit))
    if faults:
        shown = "".join(f"\n  - {unit} {number}: {fault}" for number, fault in faults[:_SHOWN_FAULTS])
        more = f"\n  and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
        raise DataError(f"{where} has {len(faults)} fault(s):{shown}{more}", hint=rule)
    return rows


def columns_of(header: Sequence[str], where: str, rule: str) -> dict[str, int]:
    """Index of each known column.

    Raises:
        DataError: the header lacks a required column or names one twice.
    """
    names = [name.strip().lower() for name in header]
    if not any(names):
        raise DataError(f"{where}: the header is missing", hint=rule)
    for column in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if names.count(column) > 1:
            raise DataError(f"{where}: the column '{column}' is there {names.count(column)} times", hint=rule)
    for column in REQUIRED_COLUMNS:
        if column not in names:
            nearest = nearest_match(column, [name for name in names if name])
            guess = f" (is '{nearest}' meant to be it?)" if nearest else ""
            raise DataError(
                f"{where}: there is no column '{column}', only {', '.join(map(repr, names))}{guess}",
                hint=rule,
            )
    return {column: names.index(column) for column in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if column in names}


def _row_of(number: int, cells: Sequence[str], columns: dict[str, int]) -> Row:
    def cell(column: str) -> str:
        index = columns[column]
        return cells[index].strip() if index < len(cells) else ""

    return Row(
        number=number,
        path=cell("path"),
        identity=normalize_text(cell("identity")),
        camera=cell("camera") if "camera" in columns else None,
    )


def _faults_of(
    rows: Sequence[Row],
    numbered: Sequence[tuple[int, Sequence[str]]],
    columns: dict[str, int],
    folder: Path,
    unit: str,
) -> Iterator[tuple[int, str]]:
    """Number and fault of each row that cannot be used."""
    needed = max(columns.values()) + 1
    first: dict[str, int] = {}
    for row, (_, cells) in zip(rows, numbered, strict=True):
        empty = [column for column in columns if not getattr(row, column)]
        if len(cells) < needed:
            yield row.number, f"{len(cells)} column(s), at least {needed} are expected"
        elif empty:
            yield row.number, f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty"
        elif row.path in first:
            yield row.number, f"{row.path} is there already, in {unit} {first[row.path]}"
        elif not (folder / row.path).is_file():
            yield row.number, f"there is no file {folder / row.path}"
        first.setdefault(row.path, row.number)
