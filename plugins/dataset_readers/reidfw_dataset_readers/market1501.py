"""Reader of file names as in Market-1501 and DukeMTMC-reID."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import ClassVar

from reidfw_core.api import DataError, DatasetReader, Role, Samples, hookimpl
from reidfw_dataset_readers.folders import look_into, name_some, no_images, report_ignored, require_root
from reidfw_dataset_readers.trainability import require_trainable

logger = logging.getLogger(__name__)

JUNK, DISTRACTORS = "-1", "0000"
"""Identities that are none: bad detections, and people or things that are in the gallery only."""

RULE = "Names begin with identity and camera: 0002_c1s1_000451_03.jpg or 0005_c2_f0046985.jpg."

_NAME = re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>\d+)")
_ROLES_OF_IDENTITIES: frozenset[Role] = frozenset({"training", "validation"})


class Market1501(DatasetReader):
    """A flat folder of images named as in Market-1501: ``0002_c1s1_000451_03.jpg`` is identity 0002, camera 1.

    Names as in DukeMTMC-reID (``0005_c2_f0046985.jpg``) are read too. ``-1`` marks junk (bad detections) and ``0000``
    distractors. Neither is an identity, so both are left out of training and validation sets. In all other sets they
    keep these names as their identity: a query never matches them, since no query bears them. For figures as in the
    data set's publication, leave the junk images out of the gallery folder, as its protocol does.

    Source: Zheng, Shen, Tian, Wang, Wang, Tian, "Scalable Person Re-identification: A Benchmark", ICCV 2015.
    """

    knows_cameras: ClassVar[bool] = True

    @hookimpl
    def read_samples(self, root: Path | None, role: Role) -> Samples:
        """Lists the images of a flat folder with their cameras, sorted by file name.

        Raises:
            DataError: no such folder, a file instead, no images, names of another kind, or (for training) fewer than
                two identities or no identity with two images.
        """
        content = look_into(require_root(root, role), role)
        if not content.images:
            raise no_images(content, role)
        report_ignored(content, subfolders_used=False)
        matches = [(path, _NAME.match(path.name)) for path in content.images]
        unnamed = [path.name for path, match in matches if match is None]
        if unnamed:
            raise DataError(
                f"dataset.{role}_path: {len(unnamed)} of {len(matches)} file names in {content.folder} are not named "
                f"as in Market-1501: {name_some(unnamed)}",
                hint=f"{RULE} For other names set dataset.reader: identity_prefix.",
            )
        found = [(path, match["identity"], match["camera"]) for path, match in matches if match is not None]
        if role in _ROLES_OF_IDENTITIES:
            found = _without_junk(found, content.folder, role)
        samples = Samples(
            role=role,
            root=content.folder,
            paths=tuple(path for path, _, _ in found),
            identities=tuple(identity for _, identity, _ in found),
            cameras=tuple(camera for _, _, camera in found),
        )
        return require_trainable(samples, rule=RULE)


def _without_junk(found: list[tuple[Path, str, str]], folder: Path, role: Role) -> list[tuple[Path, str, str]]:
    kept = [item for item in found if item[1] not in (JUNK, DISTRACTORS)]
    if not kept:
        raise DataError(
            f"dataset.{role}_path: all {len(found)} images in {folder} are junk ({JUNK}) or distractors "
            f"({DISTRACTORS})",
            hint=RULE,
        )
    if len(kept) < len(found):
        logger.info("%s: left out %d junk and distractor images", folder, len(found) - len(kept))
    return kept


class Veri776(Market1501):
    """A flat folder of images named as in VeRi-776: ``0001_c001_00016450_0.jpg`` is vehicle 0001, camera 001.

    Its protocol leaves out all gallery images of the query's camera: set ``evaluation.protocol: veri``.

    Source: Liu, Liu, Mei, Ma, "A Deep Learning-Based Approach to Progressive Vehicle Re-identification for Urban
    Surveillance", ECCV 2016.
    """
