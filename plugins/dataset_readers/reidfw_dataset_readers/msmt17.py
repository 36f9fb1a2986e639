"""Reader of MSMT17 as it is distributed: list files beside folders of images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from reidfw_core.api import DataError, DatasetReader, Role, Samples, hookimpl, nearest_match
from reidfw_dataset_readers.folders import name_some, require_root
from reidfw_dataset_readers.trainability import require_trainable

LISTS: Mapping[Role, str] = {
    "training": "list_train.txt",
    "validation": "list_val.txt",
    "test_query": "list_query.txt",
    "test_gallery": "list_gallery.txt",
    "quantization": "list_train.txt",
    "prediction_query": "list_query.txt",
    "prediction_gallery": "list_gallery.txt",
}
"""List file of each set."""

FOLDERS = {"list_train.txt": "train", "list_val.txt": "train", "list_query.txt": "test", "list_gallery.txt": "test"}
"""What the names in a list are below; ``mask_<name>_v2`` in the second version."""

RULE = "Lines are: 0000/0000_000_01_0303morning_0015_0.jpg 0 (file below train or test, identity); the third part of "
RULE += "the file's name is the camera."

_CAMERA = re.compile(r"[^_]+_[^_]+_(?P<camera>\d+)_")


class Msmt17(DatasetReader):
    """MSMT17 (versions 1 and 2): every ``dataset.<role>_path`` is the folder that holds ``list_train.txt`` and so on.

    The list of the role tells the images and their identities, the third part of a file's name the camera.

    Source: Wei, Zhang, Gao, Tian, "Person Transfer GAN to Bridge Domain Gap for Person Re-Identification", CVPR 2018.
    """

    knows_cameras: ClassVar[bool] = True

    @hookimpl
    def read_samples(self, root: Path | None, role: Role) -> Samples:
        """Lists the images of a set, sorted by file name.

        Raises:
            DataError: no such folder or list file, a line of another form, files that are not there, or (for training)
                too few identities; file and line are named.
        """
        folder = require_root(root, role)
        file = folder / LISTS[role]
        if not file.is_file():
            there = [path.name for path in folder.glob("*.txt")] if folder.is_dir() else []
            near = nearest_match(file.name, there)
            raise DataError(
                f"dataset.{role}_path: there is no {file.name} in {folder}"
                + (f" (did you mean '{near}'?)" if near else ""),
                hint="Give the folder MSMT17_V1 or MSMT17_V2 itself, for every role.",
            )
        images = _image_folder(folder, FOLDERS[file.name], role)
        found = [
            _line(file, number, text) for number, text in enumerate(file.read_text().splitlines(), start=1) if text
        ]
        if not found:
            raise DataError(f"dataset.{role}_path: {file} names no images")
        missing = [name for name, _, _ in found if not (images / name).is_file()]
        if missing:
            raise DataError(f"{file} names {len(missing)} files that are not in {images}: {name_some(missing)}")
        found.sort()
        samples = Samples(
            role=role,
            root=folder,
            paths=tuple(images / name for name, _, _ in found),
            identities=tuple(identity for _, identity, _ in found),
            cameras=tuple(camera for _, _, camera in found),
        )
        return require_trainable(samples, rule=RULE)


def _image_folder(folder: Path, name: str, role: Role) -> Path:
    for candidate in (folder / name, folder / f"mask_{name}_v2"):
        if candidate.is_dir():
            return candidate
    raise DataError(f"dataset.{role}_path: there is no folder {name} or mask_{name}_v2 in {folder}")


def _line(file: Path, number: int, text: str) -> tuple[str, str, str]:
    name, _, identity = text.strip().rpartition(" ")
    camera = _CAMERA.match(Path(name).name)
    if not name or not identity.isdigit():
        raise DataError(f"{file}:{number}: '{text}' is no file name with an identity behind it", hint=RULE)
    if camera is None:
        raise DataError(f"{file}:{number}: the name '{name}' tells no camera", hint=RULE)
    return name.strip(), f"{int(identity):04d}", camera["camera"]
