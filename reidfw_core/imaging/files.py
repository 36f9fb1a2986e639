"""Finding image files that cannot be used, before and after somebody trips over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reidfw_core.errors import DataError
from reidfw_core.types import BadImage

_TAIL_BYTES = 64 * 1024
_SHOWN = 10


def sniff_image(path: Path) -> str | None:
    """Why a file cannot be a whole image, judged by its first and last bytes; None where nothing speaks against it.

    Costs two short reads, so that it can be done for every file before a run. It finds empty files, files of another
    kind behind an image's name, and JPEG and PNG files that were cut off; it does not decode anything.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
    except OSError as cause:
        return f"cannot be read: {cause.strerror or cause}"
    if not size:
        return "is empty"
    if head.startswith(b"\xff\xd8\xff"):
        return None if b"\xff\xd9" in tail else "is a JPEG that was cut off (no end marker)"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None if b"IEND" in tail else "is a PNG that was cut off (no end chunk)"
    if head.startswith((b"BM", b"GIF87a", b"GIF89a")):
        return None
    return "is not a JPEG, PNG, BMP or GIF image"


def decode_image_fully(path: Path) -> str | None:
    """Why a file cannot be decoded, or None where it can: reads every pixel once."""
    from PIL import Image, UnidentifiedImageError

    reason = sniff_image(path)
    if reason:
        return reason
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return "is not an image that can be decoded"
    except Image.DecompressionBombError:
        return "is larger than any sensible photograph"
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
    bad: list[BadImage] = []
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor() as pool:
        for done, (path, reason) in enumerate(zip(unique, pool.map(check, unique), strict=True), start=1):
            if reason:
                bad.append(BadImage(path=path, reason=reason))
            if advanced and done % 64 == 0:
                advanced(done)
    return bad


def bad_images_error(bad: Iterable[BadImage]) -> DataError:
    """One error that lists the first bad images, and how many there are."""
    bad = list(bad)
    lines = [f"  - {image.path} {image.reason}" for image in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        lines.append(f"  ... and {len(bad) - _SHOWN} more")
    count = "1 image file" if len(bad) == 1 else f"{len(bad)} image files"
    return DataError(
        f"{count} cannot be used:\n" + "\n".join(lines), hint="Repair or remove these files, then run again."
    )
