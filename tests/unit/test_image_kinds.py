"""Every kind of image file that users have is decoded as they expect, the same everywhere, or refused with a reason."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from reidfw_core.errors import DataError
from reidfw_core.figures.sheet import draw_prediction_sheet
from reidfw_core.imaging.decoding import decoding_problem, image_batches
from reidfw_core.imaging.files import BAD_IMAGES_NAME, bad_images_error, find_bad_images, sniff_image, why_undecodable
from reidfw_core.imaging.opening import ORIENTATION_TAG, open_upright, turned
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.types import BadImage

HEIGHT, WIDTH = 40, 24


def scene() -> Image.Image:
    """Smooth colours, different in every corner, so that JPEG keeps them and every turn shows."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([40 + rows * 5, 20 + columns * 9, 250 - rows * 2 - columns * 5], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def half_transparent(mode: str) -> Image.Image:
    image = scene().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.asarray(scene().convert("L")).astype(np.uint16) * 256 + 99)


Kind = tuple[Callable[[], Image.Image], dict[str, Any], float]

KINDS: dict[str, Kind] = {
    # name: the image, how it is saved, how far (mean of all values) it may be from the scene it was made of
    "plain.jpg": (scene, {"quality": 95}, 4.0),
    "progressive.jpg": (scene, {"quality": 95, "progressive": True}, 4.0),
    "cmyk.jpg": (lambda: scene().convert("CMYK"), {"quality": 95}, 3.0),
    "gray.jpg": (lambda: scene().convert("L"), {"quality": 95}, 4.0),
    "gray.png": (lambda: scene().convert("L"), {}, 0.0),
    "16 bit.png": (sixteen_bits, {}, 0.0),
    "palette.png": (lambda: scene().quantize(), {}, 8.0),
    "palette with transparency.png": (lambda: scene().quantize(), {"transparency": 3}, 8.0),
    "alpha.png": (lambda: half_transparent("RGBA"), {}, 0.0),
    "gray alpha.png": (lambda: half_transparent("LA"), {}, 0.0),
    "bilevel.png": (lambda: scene().convert("1"), {}, 0.0),
    "animated.png": (scene, {"save_all": True, "append_images": [ImageOps.mirror(scene())]}, 0.0),
    "plain.gif": (lambda: scene().quantize(), {}, 8.0),
    "animated.gif": (lambda: scene().quantize(), {"save_all": True, "append_images": [ImageOps.mirror(scene())]}, 8.0),
    "plain.bmp": (scene, {}, 0.0),
    "palette.bmp": (lambda: scene().quantize(), {}, 8.0),
    "gray.bmp": (lambda: scene().convert("L"), {}, 0.0),
    "32 bit.bmp": (lambda: half_transparent("RGBA"), {}, 0.0),
    "plain.webp": (scene, {"lossless": True}, 0.0),
    "alpha.webp": (lambda: half_transparent("RGBA"), {"lossless": True, "exact": True}, 0.0),
    "animated.webp": (scene, {"lossless": True, "save_all": True, "append_images": [ImageOps.mirror(scene())]}, 0.0),
}


def expected(make: Callable[[], Image.Image]) -> np.ndarray:
    image = make()
    if image.mode == "I;16":
        image = scene().convert("L")
    if image.mode in ("L", "LA", "1"):
        return np.asarray(image.convert("L").convert("RGB"), np.float32)
    return np.asarray(scene(), np.float32)


def network_sees(path: Path, **spec: object) -> np.ndarray:
    settings = {"height": HEIGHT, "width": WIDTH, "channels": 3, **spec}
    [batch] = image_batches([path], ImageSpec(**settings), 1)
    return batch[0]


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("disguise", [False, True], ids=["", "named jpg"])
def test_a_kind_is_decoded_alike_everywhere(name: str, disguise: bool, tmp_path: Path) -> None:
    """The name says nothing on the content: WebP named .jpg is what many downloads are."""
    make, options, tolerance = KINDS[name]
    path = tmp_path / name
    make().save(path, **options)
    if disguise:
        path = path.rename(tmp_path / "disguised.jpg")
    for check in (sniff_image, why_undecodable, decoding_problem):
        assert check(path) is None
    seen = network_sees(path)
    assert np.abs(seen - expected(make)).mean() <= tolerance
    picture = np.asarray(open_upright(path, (WIDTH, HEIGHT)), np.float32)
    assert np.abs(picture - seen).mean() < 3.0  # JPEG decoders differ by a rounding or two
    gray = network_sees(path, channels=1)
    assert np.abs(gray[..., 0] - seen @ [0.299, 0.587, 0.114]).max() <= 1.0


@pytest.mark.parametrize("name", ["alpha.png", "alpha.webp", "gray alpha.png"])
def test_rgba_keeps_transparency(name: str, tmp_path: Path) -> None:
    make, options, _ = KINDS[name]
    make().save(tmp_path / name, **options)
    seen = network_sees(tmp_path / name, channels=4)
    assert np.array_equal(seen, np.asarray(make().convert("RGBA"), np.float32))


@pytest.mark.parametrize("name", ["cmyk.jpg", "16 bit.png", "animated.gif", "palette.bmp", "animated.webp"])
def test_rgba_of_opaque_images(name: str, tmp_path: Path) -> None:
    make, options, _ = KINDS[name]
    make().save(tmp_path / name, **options)
    seen = network_sees(tmp_path / name, channels=4)
    assert np.array_equal(seen[..., :3], network_sees(tmp_path / name))
    assert (seen[..., 3] == 255).all()


# --- orientation ----------------------------------------------------------------------------------------------------


def held(turn: int, path: Path, **options: Any) -> Path:
    """The scene as a camera held in some way stores it, with the tag that says how to turn it back."""
    inverse = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[turn]
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = turn
    stored = Image.fromarray(turned(np.asarray(scene()), inverse))
    stored.save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("turn", range(1, 9))
def test_turning_is_pillows(turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = turn
    content = io.BytesIO()
    scene().save(content, format="PNG", exif=exif)
    assert np.array_equal(turned(np.asarray(scene()), turn), np.asarray(ImageOps.exif_transpose(Image.open(content))))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {"quality": 97}),
        ("jpg", {"quality": 97, "progressive": True}),
        ("png", {}),
        ("webp", {"lossless": True}),
    ],
)
def test_photographs_are_turned_upright(turn: int, suffix: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = held(turn, tmp_path / f"a_1.{suffix}", **options)
    assert np.abs(network_sees(path) - np.asarray(scene(), np.float32)).mean() < 4.0
    assert np.abs(np.asarray(open_upright(path, (WIDTH, HEIGHT)), np.float32) - network_sees(path)).mean() < 4.0
    assert decoding_problem(path) is None


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("jfif", [False, True], ids=["", "behind a JFIF header"])
def test_orientation_as_cameras_write_it(byte_order: str, jfif: bool, tmp_path: Path) -> None:
    """Both byte orders, several tags, with or without a JFIF header before."""
    mark = b"II" if byte_order == "<" else b"MM"
    entries = struct.pack(byte_order + "HHHLHHHHLHH", 2, 0x0106, 3, 1, 6, 0, 0x0112, 3, 1, 6, 0)
    tiff = mark + struct.pack(byte_order + "HL", 42, 8) + entries + struct.pack(byte_order + "L", 0)
    segment = b"Exif\0\0" + tiff
    content = io.BytesIO()
    Image.fromarray(turned(np.asarray(scene()), 8)).save(content, format="JPEG", quality=97)
    plain = content.getvalue()
    at = 20 if jfif else 2
    assert plain[2:4] == b"\xff\xe0"
    rest = plain[at:] if jfif else plain[20:]
    path = tmp_path / "a_1.jpg"
    path.write_bytes(plain[:at] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + rest)
    assert np.abs(network_sees(path) - np.asarray(scene(), np.float32)).mean() < 4.0


@pytest.mark.parametrize("tag", [b"\x00\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff", b""])
def test_damaged_exif_data_do_not_make_a_photograph_unusable(tag: bytes, tmp_path: Path) -> None:
    content = io.BytesIO()
    scene().save(content, format="JPEG", quality=97)
    plain, segment = content.getvalue(), b"Exif\0\0II*\0\x08\0\0\0" + tag
    path = tmp_path / "a_1.jpg"
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:])
    assert decoding_problem(path) is None
    assert np.abs(network_sees(path) - np.asarray(scene(), np.float32)).mean() < 4.0
    open_upright(path, (WIDTH, HEIGHT))


def test_the_word_exif_elsewhere_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a_1.jpg"
    scene().save(path, quality=97, comment=b"Exif\0\0 is not here")
    assert np.abs(network_sees(path) - np.asarray(scene(), np.float32)).mean() < 4.0


# --- size -----------------------------------------------------------------------------------------------------------


def blank_png(path: Path, width: int, height: int) -> Path:
    """A gray PNG of any size, written row by row."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(b"\0" + b"\x80" * width) for _ in range(height)) + packer.flush()
    header = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def test_fifty_and_a_hundred_megapixels_are_photographs(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    paths = [blank_png(tmp_path / "a_1.png", 8688, 5792), blank_png(tmp_path / "a_2.png", 11648, 8736)]
    assert not find_bad_images(paths, decoding_problem)
    assert not [warning for warning in recwarn if "bomb" in str(warning.message)]
    seen = network_sees(paths[0], height=64, width=32)
    assert seen.shape == (64, 32, 3)
    assert (seen == 128).all()


def test_more_pixels_than_any_camera_has_are_refused_unread(tmp_path: Path) -> None:
    path = blank_png(tmp_path / "a_1.png", 20_000, 20_000)
    for check in (sniff_image, why_undecodable, decoding_problem):
        assert check(path) == "has more than 178 million pixels"


# --- what cannot be used --------------------------------------------------------------------------------------------


def cut_webp() -> bytes:
    content = io.BytesIO()
    scene().save(content, format="WEBP", lossless=True)
    return content.getvalue()[:-20]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "is not a JPEG, PNG, BMP, GIF or WebP image (it is HEIC, AVIF or a video)",
        ),
        (b"II*\0" + b"\0" * 40, "is not a JPEG, PNG, BMP, GIF or WebP image (it is TIFF)"),
        (b"GIF89a", "is not an image that can be decoded"),
        (b"BM" + b"\0" * 60, "cannot be decoded: Unsupported BMP header type (0)"),
        (cut_webp(), "is a WebP that was cut off"),
        (b"RIFF\x04\0\0\0WEBP", "is not an image that can be decoded"),
    ],
)
def test_what_cannot_be_decoded_has_a_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a_1.jpg"
    path.write_bytes(content)
    assert decoding_problem(path) == reason
    with pytest.raises(DataError, match=r"a_1\.jpg"):
        network_sees(path)


def test_damage_in_the_middle_is_found_by_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a_1.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    assert sniff_image(path) is None
    reason = decoding_problem(path)
    assert reason is not None
    assert reason.startswith("cannot be decoded")
    with pytest.raises(DataError, match=r"a_1\.png cannot be decoded"):
        network_sees(path)


def test_all_bad_files_are_listed_the_first_ten_shown(tmp_path: Path) -> None:
    bad = [BadImage(path=tmp_path / f"a_{number}.jpg", reason="is empty") for number in range(25)]
    message = bad_images_error(bad, tmp_path / "outputs").message
    listing = tmp_path / "outputs" / BAD_IMAGES_NAME
    assert message.count("is empty") == 10
    assert f"and 15 more; all of them are listed in {listing}" in message
    assert listing.read_text().splitlines() == [f"{one.path}\tis empty" for one in bad]
    assert "and 15 more" in bad_images_error(bad).message
    bad_images_error(bad[:10], tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_checking_tells_how_far_it_is_and_keeps_the_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"a_{number}.jpg" for number in range(300)]
    for path in paths:
        path.touch()
    told: list[int] = []
    bad = find_bad_images([*paths, paths[0]], sniff_image, told.append)
    assert [one.path for one in bad] == paths
    assert told == sorted(told)
    assert told[-1] == len(paths)


def test_the_prediction_sheet_shows_photographs_upright(tmp_path: Path) -> None:
    from reidfw_core.artifacts import Prediction

    path = held(6, tmp_path / "a_1.jpg", quality=97)
    logging.getLogger("PIL").setLevel(logging.WARNING)
    sheet = Image.open(draw_prediction_sheet(Prediction(image=path, neighbours=()), tmp_path / "sheet.png"))
    shown = np.asarray(sheet.convert("RGB"), np.int32)
    colored = np.argwhere(np.ptp(shown[80:], axis=2) > 40)  # below the captions; paper and frame corner aside
    extent = colored.max(axis=0) - colored.min(axis=0)
    assert extent[0] > 1.4 * extent[1]  # taller than wide, as the scene is
