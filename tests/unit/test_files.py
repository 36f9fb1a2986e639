"""Atomic writing: a file is whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from reidfw_core.errors import StorageError
from reidfw_core.files import added_to_folder, atomic_folder, atomic_path, write_text


def test_a_file_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.keras"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["model.keras"]


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "set"
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "a").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    for content in ("first", "second"):
        with atomic_folder(path) as temporary:
            (temporary / content).touch()
    assert [p.name for p in path.iterdir()] == ["first"]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_no_space_left_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left"), atomic_path(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_an_error_of_another_file_is_not_called_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        (tmp_path / "elsewhere" / "missing").read_text()


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"):
        write_text(tmp_path / "file" / "x.txt", "text")


def test_files_are_added_to_a_folder_only_when_all_is_well(tmp_path) -> None:
    path = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError), added_to_folder(path) as temporary:
        (temporary / "half.c").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with added_to_folder(path) as temporary:
            (temporary / "c").mkdir()
            (temporary / "c" / "model.c").write_text(text)
            (temporary / f"{text}.h").write_text("")
    assert (path / "c" / "model.c").read_text() == "second"
    assert sorted(file.name for file in path.iterdir()) == ["c", "first.h", "second.h"]
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), added_to_folder(tmp_path / "file"):
        pass
