"""The reader that draws its own images."""

from __future__ import annotations

import logging
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from reidfw_core.api import (
    ComponentParams,
    DataError,
    DatasetReader,
    Role,
    Samples,
    StorageError,
    atomic_folder,
    hookimpl,
)
from reidfw_dataset_readers.synthetic.cache import cache_root

if TYPE_CHECKING:
    from reidfw_dataset_readers.synthetic.collection import CollectionPlan, Part

logger = logging.getLogger(__name__)

PART_OF_ROLE: dict[Role, Part] = {
    "training": "training",
    "quantization": "training",
    "test_query": "query",
    "prediction_query": "query",
    "test_gallery": "gallery",
    "prediction_gallery": "gallery",
}
"""Which part of the collection serves which role. There is no validation part: it is split off the training part."""


class Synthetic(DatasetReader):
    """Drawn people, for a first run that needs no download and no path.

    The identity fixes build, skin, hair, clothes, number and bag; pose, side, place, light and camera vary from image
    to image. Groups of people wear tops of the same colours, and cameras change colours, so that a network has to learn
    what to look at. Training and test identities differ. The images are drawn once, kept as
    files (``p0001_00.jpg`` and so on, readable by ``identity_prefix`` too) in a cache folder, and found there by later
    runs. The same parameters give the same pixels on every computer.
    """

    knows_cameras: ClassVar[bool] = False
    needs_paths: ClassVar[bool] = False

    class Params(ComponentParams):
        """How many people to draw, how large, and how hard to tell apart."""

        identities: int = Field(64, ge=2, le=5000)
        """People in the training set."""
        images_per_identity: int = Field(12, ge=2, le=100)
        """Images of each person; a test person's are divided among query and gallery."""
        test_identities: int = Field(24, ge=1, le=4999)
        """Other people, in the query and gallery sets."""
        query_images: int = Field(2, ge=1)
        """Images of each test person that are queries; the others make the gallery."""
        image_height: int = Field(128, ge=32, le=1024)
        """Rows of an image, in pixels."""
        image_width: int = Field(64, ge=16, le=1024)
        """Columns of an image, in pixels."""
        cameras: int = Field(6, ge=1, le=64)
        """Cameras, each with its own place, colours, sharpness and noise."""
        camera_strength: float = Field(1.0, ge=0.0, le=2.0)
        """How much cameras differ in colour: 0 makes them alike, 1 is the default."""
        lookalikes: int = Field(1, ge=1, le=8)
        """Size of the groups of people who wear tops of the same colours; 1 dresses everybody on their own."""
        drawing_seed: int = Field(20240, ge=0)
        """Seed of the drawing (``dataset.seed`` is that of splitting)."""
        cache_dir: Path | None = None
        """Folder in which the images are kept; None takes $REIDFW_CACHE or the platform's cache folder."""

        @model_validator(mode="after")
        def _leave_a_gallery(self) -> Self:
            if self.query_images >= self.images_per_identity:
                raise ValueError(
                    f"query_images ({self.query_images}) must be less than images_per_identity "
                    f"({self.images_per_identity}), so that a gallery remains"
                )
            return self

    @hookimpl
    def read_samples(self, root: Path | None, role: Role) -> Samples:
        """Lists the drawn images of a role, sorted by file name; draws them all if that was not done before.

        Raises:
            DataError: a path was given, the role has no images, or the kept images are not complete.
            StorageError: the cache folder cannot be written.
        """
        if root is not None:
            raise DataError(
                f"dataset.{role}_path is {root}, but the reader 'synthetic' draws its own images",
                hint="Remove the path, or set dataset.reader: identity_prefix to read your images.",
            )
        part = PART_OF_ROLE.get(role)
        if part is None:
            raise DataError(
                f"The reader 'synthetic' has no {role} images",
                hint="Part of the training images is split off for validation (dataset.validation_split).",
            )
        from reidfw_dataset_readers.synthetic.collection import PART_FOLDERS, pictures_of

        chosen = [picture for picture in pictures_of(self._plan) if picture.part == part]
        paths = tuple(self._folder / picture.path for picture in chosen)
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(paths)} drawn images are missing, the first is {missing[0]}",
                hint=f"Delete the folder {self._folder}: it is drawn again.",
            )
        return Samples(
            role=role,
            root=self._folder / PART_FOLDERS[part],
            paths=paths,
            identities=tuple(picture.identity_name for picture in chosen),
        )

    @cached_property
    def _plan(self) -> CollectionPlan:
        from reidfw_dataset_readers.synthetic.collection import CollectionPlan

        chosen = self.params.model_dump(exclude={"cache_dir", "drawing_seed"})
        return CollectionPlan(seed=self.params.drawing_seed, **chosen)

    @cached_property
    def _folder(self) -> Path:
        """The collection's folder, drawn if need be; says once in the log where it is."""
        from reidfw_dataset_readers.synthetic.collection import write_collection

        cache = self.params.cache_dir
        parent = cache.expanduser().absolute() if cache is not None else cache_root()
        folder = parent / f"synthetic-{self._plan.digest}"
        if folder.is_dir():
            logger.info("The images are drawn, not photographs; they are kept in %s", folder)
            return folder
        started = time.perf_counter()
        try:
            with atomic_folder(folder) as unfinished:
                count = write_collection(self._plan, unfinished)
        except StorageError as cause:
            raise StorageError(
                cause.message, hint="Set dataset.cache_dir or the environment variable REIDFW_CACHE to another folder."
            ) from cause
        logger.info(
            "Drew %d images of people (no photographs) in %.1f s; they are kept in %s",
            count,
            time.perf_counter() - started,
            folder,
        )
        return folder
