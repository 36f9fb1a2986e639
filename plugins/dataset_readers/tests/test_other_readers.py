"""Folder per identity, Market-1501 names, CSV manifests."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from reidfw_dataset_readers.csv_manifest import CsvManifest
from reidfw_dataset_readers.folder_per_identity import FolderPerIdentity
from reidfw_dataset_readers.market1501 import Market1501

from reidfw_core.api import DataError


def manifest(folder: Path, text: str | bytes, name: str = "training.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


class TestFolderPerIdentity:
    def read(self, root: Path, role: str = "training"):
        return FolderPerIdentity().read_samples(root=root, role=role)

    def test_folder_names_are_the_identities(self, image_folder):
        samples = self.read(image_folder("bob/z.jpg", "ann/2.JPG", "ann/1.png", "Jörg K/1.jpg"))
        assert [path.name for path in samples.paths] == ["1.jpg", "1.png", "2.JPG", "z.jpg"]
        assert samples.identities == ("Jörg K", "ann", "ann", "bob")

    def test_flat_folder_hints_at_the_other_reader(self, image_folder):
        with pytest.raises(DataError, match="no sub-folder") as caught:
            self.read(image_folder("ann_1.jpg"))
        assert "identity_prefix" in caught.value.hint

    def test_images_beside_the_folders_are_not_dropped_silently(self, image_folder):
        with pytest.raises(DataError, match=r"outside the folder of an identity: stray.jpg"):
            self.read(image_folder("ann/1.jpg", "bob/1.jpg", "stray.jpg"))

    def test_empty_folder_of_an_identity(self, image_folder):
        root = image_folder("ann/1.jpg", "ann/2.jpg", "bob/1.jpg")
        (root / "eve").mkdir()
        with pytest.raises(DataError, match=r"1 of 3 folders .* hold no image: eve"):
            self.read(root)

    @pytest.mark.parametrize("names", [(), ("ann/deep/1.jpg",)])
    def test_no_images_at_all(self, image_folder, names):
        with pytest.raises(DataError):
            self.read(image_folder(*names))

    def test_deeper_folders_are_said_in_the_log(self, image_folder, caplog):
        with caplog.at_level(logging.WARNING):
            assert len(self.read(image_folder("ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/old/2.jpg"))) == 3
        assert "ignored 1 sub-folder(s): old" in caplog.text

    def test_one_identity_cannot_train(self, image_folder):
        with pytest.raises(DataError, match="one identity, 'ann'"):
            self.read(image_folder("ann/1.jpg", "ann/2.jpg"))

    def test_one_image_each_cannot_train(self, image_folder):
        with pytest.raises(DataError, match="one image only"):
            self.read(image_folder("ann/1.jpg", "bob/1.jpg"))


class TestMarket1501:
    NAMES = ("0002_c1s1_000451_03.jpg", "0002_c2s1_000776_01.jpg", "0007_c10s3_077419_03.jpg")
    JUNK = ("-1_c1s1_000401_03.jpg", "0000_c3s2_105228_03.jpg")

    def read(self, root: Path, role: str):
        return Market1501().read_samples(root=root, role=role)

    def test_identity_and_camera(self, image_folder):
        samples = self.read(image_folder(*self.NAMES), "training")
        assert samples.identities == ("0002", "0002", "0007")
        assert samples.cameras == ("1", "2", "10")
        assert Market1501.knows_cameras

    @pytest.mark.parametrize("role", ["training", "validation"])
    def test_junk_and_distractors_do_not_train(self, image_folder, role, caplog):
        with caplog.at_level(logging.INFO):
            samples = self.read(image_folder(*self.NAMES, *self.JUNK), role)
        assert samples.identity_names == ("0002", "0007")
        assert len(samples.cameras) == 3
        assert "left out 2 junk and distractor images" in caplog.text

    @pytest.mark.parametrize("role", ["test_gallery", "prediction_gallery"])
    def test_junk_and_distractors_stay_in_galleries(self, image_folder, role):
        samples = self.read(image_folder(*self.NAMES, *self.JUNK), role)
        assert samples.identity_names == ("-1", "0000", "0002", "0007")

    def test_names_of_duke(self, image_folder):
        samples = self.read(image_folder("0005_c2_f0046985.jpg", "0005_c5_f0046985.jpg", "0006_c2_f1.jpg"), "training")
        assert samples.identities == ("0005", "0005", "0006")
        assert samples.cameras == ("2", "5", "2")

    def test_other_names_are_refused(self, image_folder):
        with pytest.raises(DataError, match=r"1 of 4 .*: ann_1.jpg") as caught:
            self.read(image_folder(*self.NAMES, "ann_1.jpg"), "test_query")
        assert "identity_prefix" in caught.value.hint

    def test_only_junk_cannot_train(self, image_folder):
        with pytest.raises(DataError, match=r"all 2 images .* junk"):
            self.read(image_folder(*self.JUNK), "training")

    def test_empty_folder(self, image_folder):
        with pytest.raises(DataError, match="is empty"):
            self.read(image_folder(), "training")


class TestCsvManifest:
    def read(self, root: Path, role: str = "training"):
        return CsvManifest().read_samples(root=root, role=role)

    @pytest.fixture
    def root(self, image_folder) -> Path:
        return image_folder("ann 1.jpg", "b/ann2.jpg", "b/bob.jpg")

    def test_folder_with_a_file_for_the_role(self, root):
        manifest(root, "path,identity\nb/bob.jpg,bob\nann 1.jpg,Jörg\nb/ann2.jpg,Jörg\n")
        samples = self.read(root)
        assert samples.paths == (root / "ann 1.jpg", root / "b" / "ann2.jpg", root / "b" / "bob.jpg")
        assert samples.identities == ("Jörg", "Jörg", "bob")
        assert samples.cameras is None

    def test_file_itself_with_cameras_and_further_columns(self, root):
        path = manifest(
            root,
            "camera,note,path,identity\r\nc1,,b/bob.jpg,bob\r\nc2,x,ann 1.jpg,ann\r\n\r\nc1,y,b/ann2.jpg,ann\r\n",
            "list.csv",
        )
        samples = self.read(path, "test_query")
        assert samples.cameras == ("c2", "c1", "c1")
        assert samples.identities == ("ann", "ann", "bob")

    @pytest.mark.parametrize("mark", [",", ";", "\t"])
    def test_as_spreadsheets_write_it(self, root, mark):
        lines = ["Path,Identity", "b/bob.jpg,bob", "ann 1.jpg,ann", "b/ann2.jpg,ann"]
        manifest(root, b"\xef\xbb\xbf" + "\r\n".join(lines).replace(",", mark).encode())
        assert self.read(root).identity_names == ("ann", "bob")

    def test_quoted_cells(self, image_folder):
        root = image_folder("a, 1.jpg", "a2.jpg", "b.jpg")
        manifest(root, 'path,identity\n"a, 1.jpg","Smith, Ann"\na2.jpg,"Smith, Ann"\nb.jpg,Bob\n')
        assert self.read(root).identity_names == ("Bob", "Smith, Ann")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: the header is missing"),
            ("path,identity\n", "no line after the header"),
            ("path,idenity\nann 1.jpg,ann\n", "line 1: there is no column 'identity'.*is 'idenity' meant"),
            ("ann 1.jpg,ann\nb/bob.jpg,bob\n", "line 1: there is no column 'path'"),
            ("path,identity,path\nann 1.jpg,ann,x\n", "line 1: the column 'path' is there 2 times"),
            ("path,identity\nann 1.jpg,ann\n\nb/bob.jpg\n", "line 4: 1 column.s., at least 2 are expected"),
            ("path,identity\nann 1.jpg,\nb/bob.jpg,bob\n", "line 2: identity is empty"),
            ("path,identity,camera\nann 1.jpg,ann,\n", "line 2: camera is empty"),
            ("path,identity\nann 1.jpg,ann\nann 1.jpg,bob\n", "line 3: ann 1.jpg is there already, in line 2"),
            ("path,identity\nann 1.jpg,ann\ngone.jpg,bob\n", "line 3: there is no file .*gone.jpg"),
            ('path,identity\n"ann 1.jpg,ann\n', "unexpected end of data"),
            (b"path,identity\nann 1.jpg,J\xf6rg\n", "not UTF-8"),
        ],
    )
    def test_faults_are_named_with_their_line(self, root, text, message):
        manifest(root, text)
        with pytest.raises(DataError, match=message):
            self.read(root)

    def test_many_faults_are_shown_at_once_but_not_all(self, root):
        manifest(root, "path,identity\n" + "".join(f"gone{number}.jpg,ann\n" for number in range(8)))
        with pytest.raises(DataError, match="8 fault") as caught:
            self.read(root)
        assert caught.value.message.count("- line ") == 5
        assert "and 3 more" in caught.value.message

    def test_folder_without_the_file_of_the_role(self, root):
        manifest(root, "path,identity\n", "train.csv")
        with pytest.raises(DataError, match=r"there is no training.csv") as caught:
            self.read(root)
        assert "train.csv" in caught.value.hint

    def test_nothing_there(self, tmp_path):
        with pytest.raises(DataError, match="no file or folder"):
            self.read(tmp_path / "none")

    def test_one_identity_cannot_train(self, root):
        manifest(root, "path,identity\nb/bob.jpg,bob\nann 1.jpg,bob\n")
        with pytest.raises(DataError, match="one identity, 'bob'"):
            self.read(root)
