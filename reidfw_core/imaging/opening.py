"""Opening images with Pillow: for pictures, and where TensorFlow's decoder does not do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION_TAG = 0x0112
"""How a camera was held, 1 to 8 (EXIF 2.32, section 4.6.4)."""

UNKNOWN_TO_TENSORFLOW = ("BMP", "WEBP")
"""Formats that Pillow decodes: TensorFlow ignores the palette of a BMP file, and refuses WebP or transparency in it."""


def open_upright(path: Path, size: tuple[int, int]) -> Image:
    """An image for a picture, as training and evaluation see it: turned as its EXIF orientation says, in 8-bit RGB.

    Args:
        path: the file.
        size: width and height that are needed; a large JPEG is decoded at the next larger eighth of its size.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        image.draft("RGB", (max(size), max(size)))
        return _converted(ImageOps.exif_transpose(image), "RGB")


def orientation(content: bytes) -> int | None:
    """The EXIF orientation of an image file's content, 1 (upright) where it says nothing.

    None for a file that :func:`decode` is for.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format in UNKNOWN_TO_TENSORFLOW:
                return None
            value = image.getexif().get(ORIENTATION_TAG, 1)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):  # whether it can be decoded is not said here
        return 1
    return value if value in range(1, 9) else 1


def turned(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """An (H, W, C) image turned upright, from how the camera was held: 1 to 8."""
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if turn in (3, 4, 7, 8) else 1
    columns = -1 if turn in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def decode(content: bytes, channels: int) -> NDArray[np.uint8]:
    """The pixels of an image file's content, turned upright: (H, W, 3) or (H, W, 4) uint8; of animations the first
    picture."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image)
        pixels: NDArray[np.uint8] = np.asarray(_converted(upright, "RGBA" if channels == 4 else "RGB"))
    return pixels


def _converted(image: Image, mode: str) -> Image:
    if image.mode.startswith("I"):  # 16 bits of gray: Pillow would cut all values at 255
        image = _eight_bits(image)
    return image.convert(mode)


def _eight_bits(image: Any) -> Image:
    from PIL import Image

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
