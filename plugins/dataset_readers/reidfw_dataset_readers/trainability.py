"""Whether a set of images can train a re-identification model at all."""

from __future__ import annotations

import logging
from collections import Counter

from reidfw_core.api import DataError, Samples

logger = logging.getLogger(__name__)


def require_trainable(samples: Samples, *, rule: str) -> Samples:
    """Passes training samples on; samples of other roles are passed unchecked.

    A reader checks this itself because it alone can tell the user how it found the identities, and a wrong naming
    scheme is the usual cause.

    Args:
        samples: what the reader found.
        rule: how the reader finds identities, as a sentence for the hint.

    Raises:
        DataError: fewer than two identities, or no identity with two images: the triplet loss compares an anchor with
            another image of its identity (the positive) and with one of another identity (the negative).
    """
    if samples.role != "training":
        return samples
    images_of = Counter(samples.identities)
    where = f"dataset.training_path: {samples.root}"
    if len(images_of) < 2:
        raise DataError(
            f"{where}: all {len(samples)} image(s) show one identity, '{samples.identities[0]}'; training needs at "
            f"least two",
            hint=rule,
        )
    single = sum(1 for count in images_of.values() if count == 1)
    if single == len(images_of):
        raise DataError(
            f"{where}: each of the {single} identities has one image only; training needs identities with two images "
            f"or more, since the triplet loss compares an anchor with a positive, another image of the same identity",
            hint=rule,
        )
    if single:
        logger.info("%s: %d of %d identities have one image only and give no positive", where, single, len(images_of))
    return samples
