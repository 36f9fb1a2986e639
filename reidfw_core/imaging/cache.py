"""Keeping decoded, resized images between epochs, and between runs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reidfw_core.errors import StorageError
from reidfw_core.imaging.spec import ImageSpec

logger = logging.getLogger(__name__)

_DECODING = 2
"""Goes up when the same file decodes to other pixels than before, so that old stores are not used."""


class PixelCache:
    """A bounded store of (H, W, C) uint8 images by their number; the first images get its places.

    Args:
        pixels: (P, H, W, C) uint8 array for P images, possibly a file mapped into memory.
        filled: (P,) uint8 array, 1 where the image is there.
    """

    def __init__(self, pixels: NDArray[np.uint8], filled: NDArray[np.uint8]) -> None:
        self._pixels, self._filled = pixels, filled

    @classmethod
    def in_memory(cls, num_images: int, spec: ImageSpec, limit_bytes: float) -> PixelCache:
        """An empty store in this process; memory is taken as images come in."""
        places = places_for(num_images, spec, limit_bytes)
        return cls(np.zeros((places, *spec.shape), np.uint8), np.zeros(places, np.uint8))

    @classmethod
    def on_disk(cls, paths: Sequence[Path], spec: ImageSpec, limit_bytes: float, folder: Path) -> PixelCache:
        """The store that these files and this treatment have on disk; what earlier runs decoded is there already.

        It is another one as soon as a file's size or time of change differs.

        Raises:
            StorageError: it cannot be made.
        """
        places = places_for(len(paths), spec, limit_bytes)
        name = cache_key(paths, spec)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pixels = _mapped(folder / f"{name}.pixels", (places, *spec.shape))
            filled = _mapped(folder / f"{name}.filled", (places,))
        except OSError as cause:
            raise StorageError(
                f"The cache of images {folder / name}.pixels cannot be made: {cause.strerror or cause}",
                hint="Free some space, lower dataset.cache_limit, or set dataset.cache: none.",
            ) from cause
        logger.info("Decoded images are kept in %s (%d of %d are there)", folder, int(filled.sum()), len(paths))
        return cls(pixels, filled)

    @property
    def places(self) -> int:
        """Images that fit."""
        return len(self._filled)

    def get(self, number: int) -> NDArray[np.uint8]:
        """The (H, W, C) image, or an array of size 0 where it is not there."""
        if number < len(self._filled) and self._filled[number]:
            image: NDArray[np.uint8] = self._pixels[number]
            return image
        return np.zeros((0,), np.uint8)

    def put(self, number: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Keeps an image if there is a place for it; returns it."""
        if number < len(self._filled):
            self._pixels[number] = image
            self._filled[number] = 1  # after the pixels: another thread may read them from now on
        return image


def places_for(num_images: int, spec: ImageSpec, limit_bytes: float) -> int:
    """How many images of this shape fit into ``limit_bytes``, at most ``num_images``."""
    return min(num_images, int(limit_bytes // (spec.height * spec.width * spec.channels)))


def cache_key(paths: Sequence[Path], spec: ImageSpec) -> str:
    """Tells files and their treatment from all others: names, sizes and times of change, and the resizing."""
    digest = hashlib.sha256(repr((_DECODING, spec.shape, spec.aspect_ratio, spec.interpolation)).encode())
    for path in paths:
        facts = path.stat()
        digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    size = int(np.prod(shape))
    if size == 0:
        return np.zeros(shape, np.uint8)
    exists = path.is_file() and path.stat().st_size == size
    return np.memmap(path, dtype=np.uint8, mode="r+" if exists else "w+", shape=shape)
