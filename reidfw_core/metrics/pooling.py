"""Multi-query retrieval: the images of one person from one camera ask together.

Source: L. Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015, section 4 (multiple queries,
average pooling).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.metrics.distances import normalised_embeddings
from reidfw_core.metrics.identities import check_one_each


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PooledQueries:
    """One query for each identity and camera, in the order of their first images.

    Attributes:
        embeddings: (P, D), means of L2-normalised embeddings; float64 where the input is, else float32. They are no
            longer of length one: images that disagree give a short mean.
        identities: P identities.
        cameras: P cameras, None where they are not known.
        members: indices of the pooled images, for each of the P queries.
    """

    embeddings: NDArray[np.floating[Any]]
    identities: tuple[str, ...]
    cameras: tuple[str, ...] | None
    members: tuple[tuple[int, ...], ...]


def pool_queries(embeddings: ArrayLike, identities: Sequence[str], cameras: Sequence[str] | None) -> PooledQueries:
    """Joins the queries of the same identity and camera, or of the same identity where cameras are not known.

    Args:
        embeddings: (Q, D); a zero vector stays zero.
        identities: one a query; compared by their texts.
        cameras: one a query, or None.

    Raises:
        DataError: embeddings of unusable shape or with values that are not finite, lists of other lengths.
    """
    vectors = normalised_embeddings("query", embeddings)
    check_one_each("identities", identities, "query", len(vectors))
    if cameras is not None:
        check_one_each("cameras", cameras, "query", len(vectors))
    groups: dict[tuple[str, str | None], list[int]] = {}
    for index, identity in enumerate(identities):
        camera = None if cameras is None else str(cameras[index])
        groups.setdefault((str(identity), camera), []).append(index)
    return PooledQueries(
        embeddings=np.stack([vectors[members].mean(axis=0) for members in groups.values()]),
        identities=tuple(identity for identity, _ in groups),
        cameras=None if cameras is None else tuple(str(camera) for _, camera in groups),
        members=tuple(tuple(members) for members in groups.values()),
    )
