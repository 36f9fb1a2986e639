"""Reader of Parquet files: the same images as from a CSV file, and faults by their rows."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reidfw_dataset_readers.csv_manifest import CsvManifest
from reidfw_dataset_readers.parquet_manifest import ParquetManifest

from reidfw_core.api import DataError

ROWS = {"path": ["b/bob.jpg", "ann 1.jpg", "b/ann2.jpg"], "identity": ["bob", "ann", "ann"]}


@pytest.fixture
def root(image_folder) -> Path:
    return image_folder("ann 1.jpg", "b/ann2.jpg", "b/bob.jpg")


def write(root: Path, columns: dict[str, Any], name: str = "training.parquet") -> Path:
    pq.write_table(pa.table(columns), root / name)
    return root / name


def read(root: Path, role: str = "training"):
    return ParquetManifest().read_samples(root=root, role=role)


def test_it_gives_what_the_csv_file_gives(root):
    cameras = ["c1", "c2", "c1"]
    write(root, {"note": [1.5, 2.5, None], **ROWS, "camera": cameras})
    lines = ["path,identity,camera", *(",".join(row) for row in zip(*ROWS.values(), cameras, strict=True))]
    (root / "training.csv").write_text("\n".join(lines))
    assert read(root) == CsvManifest().read_samples(root=root, role="training")


def test_the_file_itself_with_numbers_and_categories(root):
    table = {
        "path": pa.array(ROWS["path"]).dictionary_encode(),
        "identity": pa.array([7, 3, 3]),
        "camera": pa.array([1, 2, 1], pa.int8()),
    }
    samples = read(write(root, table, "list.parquet"), "test_query")
    assert samples.identities == ("3", "3", "7")
    assert samples.cameras == ("2", "1", "1")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ROWS["path"], "idenity": ROWS["identity"]}, "no column 'identity'.*is 'idenity' meant"),
        ({**ROWS, "identity": [1.5, 2.5, 2.5]}, "'identity' holds double, texts or whole numbers"),
        ({**ROWS, "identity": ["bob", None, "ann"]}, "row 2: identity is empty"),
        (
            {**ROWS, "path": ["b/bob.jpg", "gone.jpg", "b/bob.jpg"]},
            "2 fault.*row 2: there is no file.*row 3: .* in row 1",
        ),
        ({"path": pa.array([], pa.string()), "identity": pa.array([], pa.string())}, "has no rows"),
    ],
)
def test_faults_are_named_with_their_row(root, columns, message):
    write(root, columns)
    with pytest.raises(DataError, match=f"(?s){message}"):
        read(root)


def test_a_file_of_another_kind_and_none_at_all(root):
    (root / "training.parquet").write_text("path,identity\n")
    with pytest.raises(DataError, match="cannot be read"):
        read(root)
    (root / "training.parquet").rename(root / "train.parquet")
    with pytest.raises(DataError, match=r"there is no training.parquet") as refused:
        read(root)
    assert "train.parquet" in refused.value.hint


def test_without_pyarrow_it_says_what_to_install(root, monkeypatch):
    write(root, ROWS)
    load = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return load(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match="needs pyarrow") as refused:
        read(root)
    assert "reidfw-dataset-readers[parquet]" in refused.value.hint
