"""Which pictures a collection holds, and writing them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from reidfw_dataset_readers.synthetic.camera import camera_of
from reidfw_dataset_readers.synthetic.draws import Draws
from reidfw_dataset_readers.synthetic.people import person_of
from reidfw_dataset_readers.synthetic.portrait import DRAWING_VERSION, draw_portrait

Part = Literal["training", "query", "gallery"]

PART_FOLDERS: dict[Part, str] = {"training": "training", "query": "test/query", "gallery": "test/gallery"}
"""Folder of each part, relative to the collection's; each is flat and names identities as the user's data would."""

JPEG_QUALITY = 90

_CAMERA_ORDER, _PICTURE = 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionPlan:
    """All that decides the pixels of a collection.

    Attributes:
        identities: people in the training part.
        images_per_identity: pictures of each, and of each test person over query and gallery together.
        test_identities: other people, in query and gallery.
        query_images: pictures of each test person that are queries.
        image_height: rows of a picture in pixels.
        image_width: columns of a picture in pixels.
        cameras: number of cameras.
        camera_strength: how much cameras differ in colour.
        lookalikes: size of the groups of people who wear tops of the same colours.
        seed: seed of all draws.
    """

    identities: int
    images_per_identity: int
    test_identities: int
    query_images: int
    image_height: int
    image_width: int
    cameras: int
    camera_strength: float
    lookalikes: int
    seed: int

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change with every attribute and with the way of drawing."""
        content = json.dumps([DRAWING_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a plan: number of the identity, of the picture among its, and of the camera."""

    part: Part
    identity: int
    number: int
    camera: int

    @property
    def identity_name(self) -> str:
        """The identity as file names tell it, ``p0001`` for the first."""
        return f"p{self.identity + 1:04d}"

    @property
    def path(self) -> Path:
        """The file, relative to the collection's folder."""
        return Path(PART_FOLDERS[self.part]) / f"{self.identity_name}_{self.number:02d}.jpg"


def pictures_of(plan: CollectionPlan) -> Iterator[Picture]:
    """All pictures of a plan, each identity's in order of their numbers.

    Each person is seen by the cameras in turn, in an order of their own. The queries of a test person come from
    cameras that do not serve their gallery pictures (as long as there are more cameras than queries), as the usual
    protocol asks for: finding the same camera again is no re-identification.
    """
    for identity in range(plan.identities + plan.test_identities):
        order = Draws(plan.seed, _CAMERA_ORDER, identity).shuffled(range(plan.cameras))
        if identity < plan.identities:
            for number in range(plan.images_per_identity):
                yield Picture("training", identity, number, order[number % len(order)])
            continue
        query_cameras = order[: plan.query_images] if plan.cameras > plan.query_images else order
        gallery_cameras = order[plan.query_images :] or order
        for number in range(plan.query_images):
            yield Picture("query", identity, number, query_cameras[number % len(query_cameras)])
        for number in range(plan.query_images, plan.images_per_identity):
            camera = gallery_cameras[(number - plan.query_images) % len(gallery_cameras)]
            yield Picture("gallery", identity, number, camera)


def draw_picture(plan: CollectionPlan, picture: Picture) -> np.ndarray:
    """The pixels of one picture.

    Returns:
        (image_height, image_width, 3) uint8, RGB; the same on every platform.
    """
    return draw_portrait(
        person_of(picture.identity, seed=plan.seed, lookalikes=plan.lookalikes),
        camera_of(picture.camera, seed=plan.seed, strength=plan.camera_strength),
        Draws(plan.seed, _PICTURE, picture.identity, picture.number),
        height=plan.image_height,
        width=plan.image_width,
    )


def write_collection(plan: CollectionPlan, folder: Path) -> int:
    """Draws all pictures into an existing, empty folder.

    Returns:
        How many.

    Raises:
        OSError: the folder cannot be written.
    """
    from PIL import Image

    for sub_folder in PART_FOLDERS.values():
        (folder / sub_folder).mkdir(parents=True)
    count = 0
    for count, picture in enumerate(pictures_of(plan), start=1):  # noqa: B007
        Image.fromarray(draw_picture(plan, picture)).save(folder / picture.path, quality=JPEG_QUALITY)
    return count
