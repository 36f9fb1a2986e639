"""Reader of flat folders in which the file name tells the identity: the default."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from reidfw_core.api import ComponentParams, DataError, DatasetReader, Role, Samples, hookimpl
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

RULE = "The identity is the part of a file name before its first underscore: id1_1.jpg, id1_2.jpg, id2_1.jpg."

ROLES_WITHOUT_IDENTITY: frozenset[Role] = frozenset({"quantization", "prediction_query"})
"""Roles for which nobody looks at the identity, so that any file name will do."""


class IdentityPrefix(DatasetReader):
    """A flat folder of images; the identity is the part of the file name before the first underscore.

    ``id1_1.jpg`` and ``id1_2.jpg`` show identity ``id1``. Images end in .jpg, .jpeg, .png, .bmp, .gif or .webp, in any
    letter case; sub-folders and hidden files are not read. A name without an underscore is an error where identities
    count (it would silently become an identity of its own); calibration images and prediction queries may be named
    freely, their identity is then the whole name without its suffix.

    Source: "Re-Identification STM32 Model Zoo", section 1.
    """

    knows_cameras: ClassVar[bool] = False

    class Params(ComponentParams):
        """What to do with file names that do not follow the rule."""

        allow_no_underscore: bool = False
        """Take a file name without underscore as an identity of its own (its name without suffix) instead of raising
        an error."""

    @hookimpl
    def read_samples(self, root: Path | None, role: Role) -> Samples:
        """Lists the images of a flat folder, sorted by file name.

        Raises:
            DataError: no such folder, a file instead, no images, names without identity, or (for training) fewer than
                two identities or no identity with two images.
        """
        content = look_into(require_root(root, role), role)
        if not content.images:
            raise _no_flat_images(content, role)
        report_ignored(content, subfolders_used=False)
        tolerant = self.params.allow_no_underscore or role in ROLES_WITHOUT_IDENTITY
        unnamed = [path.name for path in content.images if not has_identity(path.name)]
        if unnamed and not tolerant:
            raise DataError(
                f"dataset.{role}_path: {len(unnamed)} of {len(content.images)} file names in {content.folder} have no "
                f"identity before an underscore: {name_some(unnamed)}",
                hint=f"{RULE} Rename them, or set dataset.allow_no_underscore: true to make each an identity of its "
                "own.",
            )
        samples = Samples(
            role=role,
            root=content.folder,
            paths=content.images,
            identities=tuple(identity_of(path.name) for path in content.images),
        )
        return require_trainable(samples, rule=RULE)


def has_identity(file_name: str) -> bool:
    """Whether there is text before a first underscore."""
    return file_name.find("_") > 0


def identity_of(file_name: str) -> str:
    """The text before the first underscore, or else the name without its suffix; composed Unicode (NFC)."""
    identity = file_name.partition("_")[0] if has_identity(file_name) else Path(file_name).stem
    return normalize_text(identity)


def _no_flat_images(content: FolderContent, role: Role) -> DataError:
    error = no_images(content, role)
    with_images = [folder.name for folder in content.subfolders if look_into(folder, role).images]
    if not with_images:
        return error
    return DataError(
        error.message,
        hint=f"Sub-folders such as '{with_images[0]}' hold images: if each is one identity, set dataset.reader: "
        "folder_per_identity; else give the path of one of them.",
    )
