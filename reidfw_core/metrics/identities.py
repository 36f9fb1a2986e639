"""Which gallery images show the identity of a query, without a Q x G matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reidfw_core.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class IdentityGroups:
    """Gallery images grouped by identity.

    Attributes:
        query_codes: (Q,) int64, the identity of each query as a number.
        order: (G,) int64, gallery indices sorted by identity, then by index.
        starts: (identities + 1,) int64, where each identity's group begins in ``order``.
    """

    query_codes: NDArray[np.int64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, query_identities: Sequence[str], gallery_identities: Sequence[str]) -> IdentityGroups:
        """Groups a gallery; identities are equal when their texts are, so 7 and ``"7"`` are the same."""
        query_codes, gallery_codes = shared_codes(query_identities, gallery_identities)
        order = np.argsort(gallery_codes, kind="stable").astype(np.int64)
        count = 1 + int(max(query_codes.max(initial=-1), gallery_codes.max(initial=-1)))
        starts = np.searchsorted(gallery_codes[order], np.arange(count + 1)).astype(np.int64)
        return cls(query_codes, order, starts)

    def positives(self, query: int) -> NDArray[np.int64]:
        """Ascending gallery indices of the images that show the identity of a query; a view, not to be written to."""
        code = self.query_codes[query]
        return self.order[self.starts[code] : self.starts[code + 1]]

    def count_pairs(self) -> int:
        """How many pairs of a query and a gallery image show the same identity."""
        return int(np.sum(np.diff(self.starts)[self.query_codes]))


def shared_codes(first: Iterable[object], second: Iterable[object]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers for the values of two lists, equal where the values' texts are equal."""
    codes: dict[str, int] = {}
    coded = [[codes.setdefault(str(value), len(codes)) for value in values] for values in (first, second)]
    return np.array(coded[0], dtype=np.int64), np.array(coded[1], dtype=np.int64)


def check_one_each(what: str, values: Sequence[object], name: str, images: int) -> None:
    """Raises DataError unless there is one value for each of the ``images`` images of the set ``name``."""
    if len(values) != images:
        raise DataError(f"The {name} has {images} embeddings but {len(values)} {what}")
