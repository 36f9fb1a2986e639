"""Contract of dataset readers (entry point group ``reidfw.datasets``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reidfw_core.markers import hookspec
from reidfw_core.types import BadImage, Role, Samples


@hookspec(firstresult=True)
def read_samples(root: Path | None, role: Role) -> Samples | None:
    """Lists the images of one data set; decodes none of them.

    Args:
        root: absolute folder from ``dataset.<role>_path``; None for a reader with ``needs_paths = False``.
        role: what the set is used for.

    Returns:
        The samples, sorted by file name, so that the same folder gives the same order everywhere.

    Raises:
        DataError: the folder is not as this reader expects (what, where, what is expected).
    """


@hookspec(firstresult=True)
def verify_samples(samples: Samples) -> Sequence[BadImage] | None:
    """Optional: checks that go beyond decoding each file (which the core does itself).

    Returns:
        The images that cannot be used, each with its reason; empty when all are fine.
    """
