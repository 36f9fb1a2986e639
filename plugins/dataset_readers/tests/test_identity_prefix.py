"""What a user relies on when file names tell the identity."""

from __future__ import annotations

import logging
import os
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reidfw_dataset_readers.identity_prefix import IdentityPrefix, has_identity, identity_of

from reidfw_core.api import DataError

CATTLE = Path(__file__).resolve().parents[3] / "../shared/data/cattle_reid.zip"


def read(root: Path, role: str = "training", **params):
    return IdentityPrefix(IdentityPrefix.Params(**params)).read_samples(root=root, role=role)


def test_reads_the_example_of_the_documentation(image_folder):
    root = image_folder("id1_1.jpg", "id1_2.jpg", "id2_1.jpg", "id2_2.jpg")
    samples = read(root)
    assert samples.role == "training"
    assert samples.root == root
    assert [path.name for path in samples.paths] == ["id1_1.jpg", "id1_2.jpg", "id2_1.jpg", "id2_2.jpg"]
    assert samples.identities == ("id1", "id1", "id2", "id2")
    assert samples.cameras is None


def test_takes_all_suffixes_in_any_letter_case(image_folder):
    names = ["a_1.jpg", "a_2.JPG", "a_3.Jpeg", "b_1.PNG", "b_2.bmp", "b_3.GIF"]
    assert [path.name for path in read(image_folder(*names)).paths] == names


def test_only_the_first_underscore_counts(image_folder):
    assert read(image_folder("a-7_c1_s2.jpg", "a-7_x.jpg", "b_c_d.jpg")).identities == ("a-7", "a-7", "b")


def test_order_does_not_depend_on_the_order_of_creation(image_folder):
    names = ["b_2.jpg", "a_10.jpg", "B_1.jpg", "a_1.jpg", "b_1.jpg"]
    first = [path.name for path in read(image_folder(*names, folder="one")).paths]
    second = [path.name for path in read(image_folder(*reversed(names), folder="two")).paths]
    assert first == second == sorted(names)


def test_spaces_and_umlauts(image_folder):
    root = image_folder("Jörg Müller_1.jpg", "Jörg Müller_2.jpg", "Änne_1.jpg", folder="Bilder für Öl & Größe")
    samples = read(root)
    assert set(samples.identities) == {"Jörg Müller", "Änne"}
    assert all(path.is_file() for path in samples.paths)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_one_identity(image_folder, form):
    root = image_folder(
        unicodedata.normalize("NFC", "Jürgen_1.jpg"),
        unicodedata.normalize("NFD", "Jürgen_2.jpg"),
        "x_1.jpg",
        folder=unicodedata.normalize(form, "für"),
    )
    samples = read(root)
    assert samples.identity_names == (unicodedata.normalize("NFC", "Jürgen"), "x")
    assert all(path.is_file() for path in samples.paths)  # paths keep the spelling of the disk


def test_hidden_files_are_not_images(image_folder):
    root = image_folder("a_1.jpg", "a_2.jpg", "b_1.jpg")
    (root / "._a_1.jpg").write_bytes(b"resource fork of macOS")
    assert len(read(root)) == 3


def test_ignored_files_and_folders_are_said_in_the_log(image_folder, caplog):
    root = image_folder("a_1.jpg", "a_2.jpg", "b_1.jpg", "more/c_1.jpg")
    (root / "notes.txt").write_text("hello")
    with caplog.at_level(logging.INFO):
        assert len(read(root)) == 3
    assert "notes.txt" in caplog.text
    assert "ignored 1 sub-folder(s): more" in caplog.text


@pytest.mark.parametrize("role", ["training", "validation", "test_query", "test_gallery", "prediction_gallery"])
def test_names_without_underscore_are_refused_where_identities_count(image_folder, role):
    root = image_folder("a_1.jpg", "a_2.jpg", *(f"img{number}.jpg" for number in range(5)))
    with pytest.raises(DataError, match=r"5 of 7 file names .* img0.jpg, img1.jpg, img2.jpg and 2 more") as caught:
        read(root, role)
    assert f"dataset.{role}_path" in caught.value.message
    assert "allow_no_underscore" in caught.value.hint


def test_a_name_that_begins_with_an_underscore_has_no_identity(image_folder):
    with pytest.raises(DataError, match=r"_1.jpg"):
        read(image_folder("_1.jpg", "a_1.jpg", "a_2.jpg"))


def test_names_without_underscore_can_be_allowed(image_folder):
    samples = read(image_folder("a_1.jpg", "a_2.jpg", "front.door.jpg"), allow_no_underscore=True)
    assert samples.identities == ("a", "a", "front.door")


@pytest.mark.parametrize("role", ["quantization", "prediction_query"])
def test_names_are_free_where_no_identity_is_needed(image_folder, role):
    assert read(image_folder("snapshot.jpg", "_.png"), role).identities == ("_", "snapshot")


def test_empty_folder(image_folder):
    with pytest.raises(DataError, match=r"dataset.training_path: .*images is empty"):
        read(image_folder())


def test_folder_without_images(image_folder):
    root = image_folder()
    (root / "labels.txt").write_text("")
    with pytest.raises(DataError, match=r"holds no image, only labels.txt"):
        read(root)


def test_missing_folder_names_the_nearest_one(image_folder):
    root = image_folder("a_1.jpg", folder="data/reid_training")
    with pytest.raises(DataError, match="there is no folder") as caught:
        read(root.with_name("reid_trainig"))
    assert str(root) in caught.value.hint


def test_missing_folder_far_below_names_the_last_one_that_exists(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path / "x" / "y" / "z")
    assert caught.value.hint == f"The last folder that exists is {tmp_path}."


@pytest.mark.parametrize(("name", "hint"), [("a.csv", "csv_manifest"), ("a.zip", "Unpack")])
def test_a_file_in_place_of_a_folder(tmp_path, name, hint):
    (tmp_path / name).write_text("")
    with pytest.raises(DataError, match="is a file") as caught:
        read(tmp_path / name)
    assert hint in caught.value.hint


def test_only_sub_folders_with_images_hints_at_the_other_reader(image_folder):
    with pytest.raises(DataError, match="only sub-folders") as caught:
        read(image_folder("ann/1.jpg", "bob/1.jpg"))
    assert "dataset.reader: folder_per_identity" in caught.value.hint


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may read all")
def test_a_folder_without_permission(image_folder):
    root = image_folder("a_1.jpg")
    root.chmod(0)
    try:
        with pytest.raises(DataError, match="cannot read"):
            read(root)
    finally:
        root.chmod(0o755)


def test_no_path_at_all():
    with pytest.raises(DataError, match="No path is given") as caught:
        read(None)
    assert "dataset.training_path" in caught.value.hint


def test_one_identity_cannot_train(image_folder):
    root = image_folder("img_1.jpg", "img_2.jpg", "img_3.jpg")
    with pytest.raises(DataError, match=r"all 3 image.* one identity, 'img'") as caught:
        read(root)
    assert "before its first underscore" in caught.value.hint
    assert len(read(root, "test_gallery")) == 3


def test_one_image_per_identity_cannot_train(image_folder):
    root = image_folder("1_a.jpg", "2_a.jpg", "3_a.jpg")
    with pytest.raises(DataError, match="each of the 3 identities has one image only"):
        read(root)
    assert len(read(root, "test_query")) == 3


def test_a_few_identities_with_one_image_may_train(image_folder, caplog):
    with caplog.at_level(logging.INFO):
        assert len(read(image_folder("a_1.jpg", "a_2.jpg", "b_1.jpg"))) == 3
    assert "1 of 2 identities have one image only" in caplog.text


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20))
def test_identity_is_what_str_partition_finds(name):
    before, underscore, _ = name.partition("_")
    assert has_identity(name) == bool(before and underscore)
    if before and underscore:
        assert identity_of(name) == unicodedata.normalize("NFC", before)


def test_a_name_that_is_no_valid_unicode_can_be_reported(image_folder, tmp_path):
    root = image_folder("a_1.jpg", "b_1.jpg")
    try:
        (root / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes valid Unicode only")
    with pytest.raises(DataError) as caught:
        read(root)
    caught.value.message.encode("utf-8")


def test_reads_real_data(tmp_path):
    if not CATTLE.is_file():
        pytest.skip("the cattle images are not here")
    with zipfile.ZipFile(CATTLE) as archive:
        archive.extractall(tmp_path)
    root = tmp_path / "cattle_reid"
    training = read(root / "reid_training")
    query = read(root / "reid_test" / "query", "test_query")
    gallery = read(root / "reid_test" / "gallery", "test_gallery")
    assert (len(training), len(query), len(gallery)) == (591, 46, 368)
    assert [len(samples.identity_names) for samples in (training, query, gallery)] == [23, 23, 23]
    assert query.identity_names == gallery.identity_names
    assert not set(training.identities) & set(query.identities)
