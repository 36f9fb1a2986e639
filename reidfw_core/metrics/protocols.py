"""Which pairs of a query and a gallery image a protocol compares; retrieval and verification share this.

============ ================================================================ =========================================
protocol     left out of a query's gallery                                    cameras
============ ================================================================ =========================================
all          nothing                                                          not looked at
market1501   images of its identity from its camera; junk (identity ``-1``)   needed
veri         images of its identity from its camera                           needed
cuhk03       images of its identity from its camera, where cameras are known; optional, of both sets or of neither
             of what is left, retrieval sees one drawn image an identity
============ ================================================================ =========================================

With ``leave_one_out`` query and gallery are one list, and beside all this an image is never compared with itself.

Sources: L. Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015 (market1501); X. Liu et al., "A
Deep Learning-Based Approach to Progressive Vehicle Re-identification for Urban Surveillance", ECCV 2016 (veri: a query
image looks for the tracks of its vehicle in other cameras; junk is not known there); W. Li et al., "DeepReID: Deep
Filter Pairing Neural Network for Person Re-Identification", CVPR 2014 (cuhk03: single gallery shot).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reidfw_core.errors import DataError
from reidfw_core.metrics.distances import check_choice
from reidfw_core.metrics.identities import IdentityGroups, check_one_each, shared_codes

PROTOCOLS = ("all", "market1501", "cuhk03", "veri")

JUNK_IDENTITY = "-1"
"""The identity of images that the ``market1501`` protocol takes out: detections that show nobody in particular."""

_NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class PairRules:
    """Positives and excluded images of each query, in the numbering of the gallery without junk.

    Attributes:
        groups: the gallery without junk, by identity.
        kept: (K,) int64, ascending gallery indices without junk; None where all images stay.
        cameras: (Q,) and (K,) int64, cameras as numbers; None where they do not count.
        own: (Q,) int64, where each query itself stands among the kept images, -1 where it is junk; None where query
            and gallery are different sets.
    """

    groups: IdentityGroups
    kept: NDArray[np.int64] | None
    cameras: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    own: NDArray[np.int64] | None

    @classmethod
    def of(
        cls,
        protocol: str,
        query_identities: Sequence[str],
        gallery_identities: Sequence[str],
        query_cameras: Sequence[str] | None,
        gallery_cameras: Sequence[str] | None,
        *,
        sizes: tuple[int, int],
        leave_one_out: bool,
    ) -> PairRules:
        """Checks the lists of two sets of ``sizes`` (Q, G) images and applies a protocol to them.

        Raises:
            DataError: lists of other lengths, cameras missing where the protocol needs them, or two different lists
                with ``leave_one_out``.
            ValueError: unknown protocol.
        """
        check_choice("protocol", protocol, PROTOCOLS)
        num_queries, num_gallery = sizes
        check_one_each("identities", query_identities, "query", num_queries)
        check_one_each("identities", gallery_identities, "gallery", num_gallery)
        if leave_one_out:
            _check_same_list(query_identities, gallery_identities)
        cameras = _camera_codes(protocol, query_cameras, gallery_cameras, num_queries, num_gallery)
        own = np.arange(num_queries, dtype=np.int64) if leave_one_out else None
        kept = None
        if protocol == "market1501":
            real = np.array([str(identity) != JUNK_IDENTITY for identity in gallery_identities], dtype=bool)
            if not real.all():
                kept = np.flatnonzero(real).astype(np.int64)
                gallery_identities = [gallery_identities[index] for index in kept.tolist()]
                cameras = None if cameras is None else (cameras[0], cameras[1][kept])
                own = None if own is None else np.where(real, np.cumsum(real) - 1, -1).astype(np.int64)
        return cls(IdentityGroups.of(query_identities, gallery_identities), kept, cameras, own)

    def split(self, query: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ascending indices of the images that a query shall find, and of those it must not be compared with."""
        positives = self.groups.positives(query)
        if self.cameras is None and self.own is None:
            return positives, _NOTHING
        excluded = np.zeros(positives.size, dtype=bool)
        if self.cameras is not None:
            excluded |= self.cameras[1][positives] == self.cameras[0][query]
        if self.own is not None:
            excluded |= positives == self.own[query]
        return positives[~excluded], positives[excluded]


def _check_same_list(query_identities: Sequence[str], gallery_identities: Sequence[str]) -> None:
    same = len(query_identities) == len(gallery_identities) and all(
        str(first) == str(second) for first, second in zip(query_identities, gallery_identities, strict=True)
    )
    if not same:
        raise DataError(
            f"leave_one_out compares a set with itself, but {len(query_identities)} queries and "
            f"{len(gallery_identities)} gallery images of other identities were given",
            hint="Give the same embeddings and identities as query and as gallery.",
        )


def _camera_codes(
    protocol: str,
    query_cameras: Sequence[str] | None,
    gallery_cameras: Sequence[str] | None,
    num_queries: int,
    num_gallery: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    if protocol == "all" or (protocol == "cuhk03" and query_cameras is None and gallery_cameras is None):
        return None
    if query_cameras is None or gallery_cameras is None:
        missing = [name for name, of in (("query", query_cameras), ("gallery", gallery_cameras)) if of is None]
        raise DataError(
            f"The protocol '{protocol}' needs the camera of each image; unknown for: {' and '.join(missing)}",
            hint="Take a dataset.reader that knows cameras, or the protocol 'all'.",
        )
    check_one_each("cameras", query_cameras, "query", num_queries)
    check_one_each("cameras", gallery_cameras, "gallery", num_gallery)
    return shared_codes(query_cameras, gallery_cameras)
