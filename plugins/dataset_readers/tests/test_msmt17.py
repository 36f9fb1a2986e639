"""MSMT17 and VeRi-776 in their own layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from reidfw_dataset_readers.market1501 import Veri776
from reidfw_dataset_readers.msmt17 import Msmt17

from reidfw_core.api import DataError

NAMES = {
    "train": [
        "0000/0000_000_01_0303morning_0015_0.jpg",
        "0000/0000_001_02_0303noon_0016_0.jpg",
        "0001/0001_000_01_0303morning_0017_0.jpg",
        "0001/0001_001_15_0303noon_0018_2.jpg",
    ],
    "test": ["0000/0000_000_03_0114morning_0019_1.jpg", "0000/0000_001_04_0114noon_0020_1.jpg"],
}


@pytest.fixture(params=["train test", "mask_train_v2 mask_test_v2"])
def msmt17(tmp_path: Path, request) -> Path:
    for folder, names in zip(request.param.split(), NAMES.values(), strict=True):
        for name in names:
            file = tmp_path / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 16)).save(file)
    lines = [f"{name} {int(name[:4])}" for name in NAMES["train"]]
    (tmp_path / "list_train.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "list_query.txt").write_text(f"{NAMES['test'][0]} 0\n")
    (tmp_path / "list_gallery.txt").write_text(f"{NAMES['test'][1]} 0\n\n")
    return tmp_path


def test_lists_tell_images_identities_and_cameras(msmt17):
    train = Msmt17().read_samples(root=msmt17, role="training")
    assert train.identities == ("0000", "0000", "0001", "0001")
    assert train.cameras == ("01", "02", "01", "15")
    assert all(path.is_file() for path in train.paths)
    query = Msmt17().read_samples(root=msmt17, role="test_query")
    assert (query.identities, query.cameras) == (("0000",), ("03",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000/0000_000_01_x.jpg", "list_train.txt:1: .* no file name with an identity"),
        ("0000/0000_000_01_x.jpg one", "list_train.txt:1"),
        ("0000/portrait.jpg 0", "tells no camera"),
        ("0000/0000_000_01_absent.jpg 0", "names 1 files that are not in"),
    ],
)
def test_wrong_lines_are_told(msmt17, line, message):
    (msmt17 / "list_train.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        Msmt17().read_samples(root=msmt17, role="training")


def test_a_missing_list_is_told(msmt17):
    with pytest.raises(DataError, match=r"no list_val\.txt"):
        Msmt17().read_samples(root=msmt17, role="validation")
    with pytest.raises(DataError, match=r"no list_train\.txt"):
        Msmt17().read_samples(root=msmt17 / "train", role="training")


def test_vehicles_and_their_cameras(tmp_path):
    for name in ("0001_c001_00016450_0.jpg", "0001_c012_00016460_0.jpg", "0002_c001_00016470_1.jpg"):
        Image.new("RGB", (8, 16)).save(tmp_path / name)
    vehicles = Veri776().read_samples(root=tmp_path, role="test_gallery")
    assert vehicles.identities == ("0001", "0001", "0002")
    assert vehicles.cameras == ("001", "012", "001")
