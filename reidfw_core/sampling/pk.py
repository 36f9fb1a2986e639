"""The PK sampler: batches of P identities with K images each, in epochs that cover every image.

Source: A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, section 2
(PK batches). Where the paper draws identities with replacement, an epoch here is a cover: every image is used at
least once, so that no image stays unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PKSampler:
    """Plans the batches of any epoch; the same seed and epoch give the same batches.

    Args:
        identities: the identity of each image, any hashable values.
        batch_size: images a batch, a multiple of ``instances``.
        instances: K, images of an identity in a batch.
        seed: seed of all draws.

    Raises:
        ValueError: no images, or ``batch_size`` is not a positive multiple of ``instances``.
    """

    identities: Sequence[str]
    batch_size: int
    instances: int
    seed: int

    def __post_init__(self) -> None:
        if not self.identities:
            raise ValueError("the PK sampler needs at least one image")
        if self.batch_size < 1 or self.instances < 1 or self.batch_size % self.instances:
            raise ValueError(f"batch size {self.batch_size} is not a multiple of K = {self.instances}")

    def epoch(self, number: int) -> NDArray[np.int64]:
        """The batches of one epoch.

        Each identity's images are shuffled and cut into groups of K; the last group is filled up with images of the
        same identity. Groups of an identity go to different batches; where an identity has more groups than the set
        fills batches, the epoch gets more batches (twice as many at the most). Places that stay free are filled
        with further groups of those identities that have had the fewest, so that identities with few images are not
        drowned. An identity with fewer than K images gives all it has, never an image twice in one group; what is then
        missing to the batch size is filled with images that the batch lacks (with repeats only where the whole set is
        smaller than a batch).

        Args:
            number: the epoch, counted from 0.

        Returns:
            (number of batches, batch_size) int64 indices into ``identities``.
        """
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, number]))
        members = self._members(rng)
        groups = [group for images in members for group in self._groups(images, rng)]
        per_batch = self.batch_size // self.instances
        num_batches = self.batches_per_epoch
        batches = self._spread(groups, num_batches, rng)
        self._top_up(batches, members, per_batch, rng)
        plan = np.stack([self._fill(np.concatenate(batch), rng) for batch in batches])
        return plan[rng.permutation(num_batches)]

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in each epoch; it does not depend on the draws."""
        sizes = np.unique(np.asarray(self.identities, dtype=object).astype(str), return_counts=True)[1]
        groups = -(-sizes // self.instances)
        filled = -(-int(groups.sum()) // (self.batch_size // self.instances))
        return min(max(filled, int(groups.max())), 2 * filled)

    def _members(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        codes = np.unique(np.asarray(self.identities, dtype=object).astype(str), return_inverse=True)[1]
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order])) + 1
        return [rng.permutation(images) for images in np.split(order.astype(np.int64), starts)]

    def _groups(self, images: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
        k = self.instances
        groups = [images[start : start + k] for start in range(0, len(images), k)]
        missing = k - len(groups[-1])
        if missing and len(images) > len(groups[-1]):
            earlier = images[: len(images) - len(groups[-1])]
            fill = rng.choice(earlier, size=min(missing, len(earlier)), replace=False)
            groups[-1] = np.concatenate([groups[-1], fill])
        return groups

    def _spread(
        self, groups: list[NDArray[np.int64]], num_batches: int, rng: np.random.Generator
    ) -> list[list[NDArray[np.int64]]]:
        # Groups of an identity stand together in `groups`: dealing them out in turn, over batches in a fixed cyclic
        # order, puts them into different batches unless an identity has more groups than there are batches.
        batches: list[list[NDArray[np.int64]]] = [[] for _ in range(num_batches)]
        by_identity: dict[str, list[NDArray[np.int64]]] = {}
        for group in groups:
            by_identity.setdefault(str(self.identities[group[0]]), []).append(group)
        dealt = [group for name in rng.permutation(list(by_identity)) for group in by_identity[str(name)]]
        for place, group in enumerate(dealt):
            batches[place % num_batches].append(group)
        return batches

    def _top_up(
        self,
        batches: list[list[NDArray[np.int64]]],
        members: list[NDArray[np.int64]],
        per_batch: int,
        rng: np.random.Generator,
    ) -> None:
        owner = {int(image): number for number, images in enumerate(members) for image in images}
        given = np.zeros(len(members), dtype=np.int64)
        for batch in batches:
            for group in batch:
                given[owner[int(group[0])]] += 1
        for batch in batches:
            present = {owner[int(group[0])] for group in batch}
            absent = np.array([number for number in range(len(members)) if number not in present], dtype=np.int64)
            absent = rng.permutation(absent)
            fewest = absent[np.argsort(given[absent], kind="stable")][: per_batch - len(batch)]
            given[fewest] += 1
            for number in fewest:
                images = members[number]
                batch.append(rng.choice(images, size=min(self.instances, len(images)), replace=False))

    def _fill(self, batch: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        missing = self.batch_size - len(batch)
        if missing <= 0:
            return batch
        unused = np.setdiff1d(np.arange(len(self.identities)), batch)
        extra = rng.permutation(unused)[:missing]
        if len(extra) < missing:
            extra = np.concatenate([extra, rng.choice(len(self.identities), size=missing - len(extra))])
        return np.concatenate([batch, extra])
