"""Decoding, resizing and finding bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidfw_core.errors import DataError
from reidfw_core.imaging.decoding import decoding_problem, image_batches
from reidfw_core.imaging.files import bad_images_error, find_bad_images, sniff_image, why_undecodable
from reidfw_core.imaging.spec import ImageSpec


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "a_1.png"
    Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(path)
    return path


def one(path: Path, **spec: object) -> np.ndarray:
    settings = {"height": 40, "width": 20, "channels": 3, **spec}
    return next(iter(image_batches([path], ImageSpec(**settings), 1)))[0]


def test_pixels_reach_the_network_unchanged_but_rescaled(photo: Path) -> None:
    pixels = np.asarray(Image.open(photo), dtype=np.float32)
    assert np.array_equal(one(photo), pixels)
    assert np.allclose(one(photo, scale=1 / 127.5, offset=-1.0), pixels / 127.5 - 1.0, atol=1e-6)


def test_fit_stretches_to_height_and_width(photo: Path) -> None:
    pixels = np.asarray(Image.open(photo), dtype=np.float32)
    assert np.array_equal(
        one(photo, height=20, width=10, interpolation="area"),
        np.round(pixels.reshape(20, 2, 10, 2, 3).mean(axis=(1, 3))),
    )


@pytest.mark.parametrize("aspect_ratio", ["crop", "padding"])
def test_crop_and_padding_cut_and_pad_around_the_centre(photo: Path, aspect_ratio: str) -> None:
    pixels = np.asarray(Image.open(photo), dtype=np.float32)
    image = one(photo, height=20, width=30, aspect_ratio=aspect_ratio)
    assert np.array_equal(image[:, 5:25], pixels[10:30])
    assert not image[:, :5].any()
    assert not image[:, 25:].any()


@pytest.mark.parametrize(
    "method", ["bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"]
)
def test_every_interpolation_of_the_document_works(photo: Path, method: str) -> None:
    image = one(photo, height=33, width=17, interpolation=method)
    assert image.shape == (33, 17, 3)
    assert np.array_equal(image, np.round(image))
    assert 0 <= image.min() < image.max() <= 255


def test_grayscale_and_rgba(photo: Path, tmp_path: Path) -> None:
    assert one(photo, channels=1).shape == (40, 20, 1)
    assert np.all(one(photo, channels=4)[..., 3] == 255)
    jpeg = tmp_path / "b_1.jpg"
    Image.open(photo).save(jpeg)
    assert np.all(one(jpeg, channels=4)[..., 3] == 255)


def test_order_and_batch_sizes(tmp_path: Path) -> None:
    paths = []
    for value in range(7):
        path = tmp_path / f"x_{value}.png"
        Image.new("RGB", (4, 4), (value, value, value)).save(path)
        paths.append(path)
    batches = list(image_batches(paths, ImageSpec(height=4, width=4, channels=3), 3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [int(image[0, 0, 0]) for batch in batches for image in batch] == list(range(7))
    assert not list(image_batches([], ImageSpec(height=4, width=4, channels=3), 3))


def bad_files(folder: Path, photo: Path) -> dict[str, Path]:
    jpeg = folder / "good ü_1.jpg"
    Image.open(photo).save(jpeg)
    cut = folder / "cut_1.jpg"
    cut.write_bytes(jpeg.read_bytes()[:-300])
    text = folder / "text_1.jpg"
    text.write_text("this is no image")
    empty = folder / "empty_1.jpg"
    empty.touch()
    cut_png = folder / "cut_2.png"
    cut_png.write_bytes(photo.read_bytes()[:-100])
    return {"good": jpeg, "cut off": cut, "not a JPEG": text, "is empty": empty, "PNG that was cut": cut_png}


@pytest.mark.parametrize("check", [sniff_image, why_undecodable, decoding_problem])
def test_bad_files_are_found_with_their_reason(tmp_path: Path, photo: Path, check: object) -> None:
    files = bad_files(tmp_path, photo)
    bad = find_bad_images(files.values(), check)
    assert [image.path for image in bad] == [path for name, path in files.items() if name != "good"]
    for image in bad:
        assert any(reason in image.reason for reason in files)
    message = bad_images_error(bad).message
    assert "4 image files" in message
    assert str(files["is empty"]) in message


def test_a_damaged_file_is_named_when_decoding_stumbles_over_it(tmp_path: Path, photo: Path) -> None:
    files = bad_files(tmp_path, photo)
    with pytest.raises(DataError, match=r"cut_1\.jpg"):
        list(image_batches([files["good"], files["cut off"]], ImageSpec(height=8, width=8, channels=3), 1))
