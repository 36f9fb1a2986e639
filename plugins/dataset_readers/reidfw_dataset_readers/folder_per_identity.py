"""Reader of folders that hold one folder of images for each identity."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from reidfw_core.api import DataError, DatasetReader, Role, Samples, hookimpl
from reidfw_dataset_readers.folders import (
    FolderContent,
    look_into,
    name_some,
    no_images,
    normalize_text,
    report_ignored,
    require_root,
)
from reidfw_dataset_readers.trainability import require_trainable

RULE = "Each sub-folder is one identity: <identity>/<any name>.jpg."


class FolderPerIdentity(DatasetReader):
    """A folder with one sub-folder for each identity, named after it; file names do not matter.

    ``root/ann/1.jpg`` and ``root/ann/2.jpg`` show identity ``ann``. Images end in .jpg, .jpeg, .png, .bmp, .gif or
    .webp, in any letter case; folders inside an identity's folder and hidden files are not read.
    """

    knows_cameras: ClassVar[bool] = False

    @hookimpl
    def read_samples(self, root: Path | None, role: Role) -> Samples:
        """Lists the images of all sub-folders, sorted by sub-folder, then by file name.

        Raises:
            DataError: no such folder, a file instead, images beside or instead of the sub-folders, no images, or (for
                training) fewer than two identities or no identity with two images.
        """
        content = look_into(require_root(root, role), role)
        if content.images:
            raise _images_outside_identities(content, role)
        report_ignored(content, subfolders_used=True)
        found: list[tuple[str, Path]] = []
        empty: list[str] = []
        for folder in content.subfolders:
            inside = look_into(folder, role)
            report_ignored(inside, subfolders_used=False)
            found += [(normalize_text(folder.name), path) for path in inside.images]
            if not inside.images:
                empty.append(folder.name)
        if not found:
            raise DataError(no_images(content, role).message, hint=RULE)
        if empty:
            raise DataError(
                f"dataset.{role}_path: {len(empty)} of {len(content.subfolders)} folders in {content.folder} hold no "
                f"image: {name_some(empty)}",
                hint=f"{RULE} Remove the empty folders, or move their images up.",
            )
        samples = Samples(
            role=role,
            root=content.folder,
            paths=tuple(path for _, path in found),
            identities=tuple(identity for identity, _ in found),
        )
        return require_trainable(samples, rule=RULE)


def _images_outside_identities(content: FolderContent, role: Role) -> DataError:
    names = name_some(path.name for path in content.images)
    if content.subfolders:
        return DataError(
            f"dataset.{role}_path: {len(content.images)} image(s) lie in {content.folder} outside the folder of an "
            f"identity: {names}",
            hint=RULE,
        )
    return DataError(
        f"dataset.{role}_path: {content.folder} holds {len(content.images)} image(s) ({names}) and no sub-folder",
        hint=f"{RULE} If the file names tell the identity, set dataset.reader: identity_prefix.",
    )
