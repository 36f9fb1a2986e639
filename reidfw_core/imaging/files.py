"""Finding image files that cannot be used, before and after somebody trips over them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from reidfw_core.errors import DataError
from reidfw_core.files import atomic_path
from reidfw_core.types import BadImage

BAD_IMAGES_NAME = "bad_images.txt"
"""The file beside the run folders that lists all bad images, where they are more than the screen shows."""

_SHOWN = 10
_CHUNK = 64
_HEAD_BYTES = 16
_TAIL_BYTES = (512, 64 * 1024)
_SMALLEST_BOMB_BYTES = 256 * 1024
"""A file with more pixels than are decoded has at least this size, in every format: zlib packs at most 1032:1."""

_OTHER_KINDS = (
    (4, b"ftyp", "HEIC, AVIF or a video"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
)


def sniff_image(path: Path) -> str | None:
    """Why a file cannot be a whole image, judged by its first and last bytes; None where nothing speaks against it.

    Costs two short reads, so that it can be done for every file before a run. It finds empty files, files of another
    kind behind an image's name, JPEG, PNG and WebP files that were cut off, and images with more pixels than are
    decoded; it does not decode anything.
    """
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(_HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            if not size:
                return "is empty"
            kind = _kind_of(head)
            if kind is None:
                return f"is not a JPEG, PNG, BMP, GIF or WebP image{_what_else(head)}"
            if _is_cut(kind, head, size, lambda wanted: _tail(file, size, wanted)):
                return f"is a {kind} that was cut off"
    except OSError as cause:
        return f"cannot be read: {cause.strerror or cause}"
    return _too_many_pixels(path) if size >= _SMALLEST_BOMB_BYTES else None


def why_undecodable(path: Path) -> str | None:
    """What Pillow finds wrong with a file, or None where it reads every pixel. Needs no TensorFlow."""
    from PIL import Image, UnidentifiedImageError

    reason = sniff_image(path)
    if reason:
        return reason
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return "is not an image that can be decoded"
    except (OSError, SyntaxError, ValueError) as cause:  # Pillow raises all three for damaged files
        return f"cannot be decoded: {cause}"
    return None


def find_bad_images(
    paths: Iterable[Path],
    check: Callable[[Path], str | None] = sniff_image,
    advanced: Callable[[int], None] | None = None,
) -> list[BadImage]:
    """Runs a check over many files in parallel threads.

    Args:
        paths: the files.
        check: gives the reason why a file is bad, or None.
        advanced: told how many files are done, now and then.

    Returns:
        The bad ones, in the order of ``paths``.
    """
    unique = list({str(path): path for path in paths}.values())  # a path that was hashed takes twice the memory
    chunks = [unique[start : start + _CHUNK] for start in range(0, len(unique), _CHUNK)]  # a task a file costs more

    def check_all(some: Sequence[Path]) -> list[BadImage]:
        found = ((path, check(path)) for path in some)
        return [BadImage(path=path, reason=reason) for path, reason in found if reason]

    bad: list[list[BadImage]] = []
    pool = ThreadPoolExecutor()
    try:
        with warnings.catch_warnings():
            # Pillow warns of photographs with 90 million pixels, which are fine.
            warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")
            for number, found in enumerate(pool.map(check_all, chunks), start=1):
                bad.append(found)
                if advanced:
                    advanced(min(number * _CHUNK, len(unique)))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest
    return list(chain.from_iterable(bad))


def bad_images_error(bad: Iterable[BadImage], folder: Path | None = None) -> DataError:
    """One error that shows the first bad images, and how many there are.

    Args:
        bad: all of them.
        folder: where they are listed in :data:`BAD_IMAGES_NAME` if they are more than the error shows.

    Raises:
        StorageError: the list cannot be written.
    """
    bad = list(bad)
    lines = [f"  - {image.path} {image.reason}" for image in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        more = f"  ... and {len(bad) - _SHOWN} more"
        if folder is not None:
            listing = (folder / BAD_IMAGES_NAME).absolute()
            with atomic_path(listing) as temporary:
                text = "".join(f"{image.path}\t{image.reason}\n" for image in bad)
                temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
            more += f"; all of them are listed in {listing}"
        lines.append(more)
    count = "1 image file" if len(bad) == 1 else f"{len(bad)} image files"
    return DataError(
        f"{count} cannot be used:\n" + "\n".join(lines), hint="Repair or remove these files, then run again."
    )


def _kind_of(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "BMP" if head.startswith(b"BM") else None


def _what_else(head: bytes) -> str:
    known = [name for start, mark, name in _OTHER_KINDS if head[start : start + len(mark)] == mark]
    return f" (it is {known[0]})" if known else ""


def _is_cut(kind: str, head: bytes, size: int, tail: Callable[[int], bytes]) -> bool:
    if kind == "WebP":
        return size < 8 + int.from_bytes(head[4:8], "little")
    mark = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(kind)
    return mark is not None and not any(mark in tail(wanted) for wanted in _TAIL_BYTES)


def _tail(file: Any, size: int, wanted: int) -> bytes:
    file.seek(max(0, size - wanted))
    return bytes(file.read(wanted))


def _too_many_pixels(path: Path) -> str | None:
    """Looks at the header only, and leaves everything else that may be wrong with it to decoding."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path):
            return None
    except Image.DecompressionBombError:
        return f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000} million pixels"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None
