"""The PK sampler and the splits: what training relies on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidfw_core.sampling.pk import PKSampler
from reidfw_core.sampling.splits import choose_calibration, split_by_identity, split_by_image
from reidfw_core.types import Samples

sizes = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def names(counts: list[int]) -> list[str]:
    return [f"p{number:02d}" for number, count in enumerate(counts) for _ in range(count)]


def samples(counts: list[int]) -> Samples:
    identities = names(counts)
    paths = tuple(Path(f"/data/{identity}_{index:03d}.jpg") for index, identity in enumerate(identities))
    return Samples(role="training", root=Path("/data"), paths=paths, identities=tuple(identities))


@given(sizes, st.sampled_from([(4, 4), (8, 4), (16, 4), (6, 2), (5, 1)]), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_an_epoch_covers_every_image_in_full_batches(counts: list[int], shape: tuple[int, int], epoch: int) -> None:
    batch_size, k = shape
    sampler = PKSampler(names(counts), batch_size, k, seed=1)
    batches = sampler.epoch(epoch)
    assert batches.shape == (sampler.batches_per_epoch, batch_size)
    assert set(batches.ravel()) == set(range(sum(counts)))


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_large_identities_give_k_distinct_images_a_batch(seed: int) -> None:
    identities = names([8] * 16)
    for batch in PKSampler(identities, batch_size=16, instances=4, seed=seed).epoch(0):
        assert len(set(batch)) == 16
        assert set(Counter(identities[index] for index in batch).values()) == {4}


def test_groups_of_an_identity_go_to_different_batches_while_they_can() -> None:
    identities = names([20, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4])
    for batch in PKSampler(identities, batch_size=16, instances=4, seed=3).epoch(0):
        assert max(Counter(identities[index] for index in batch).values()) == 4


def test_the_same_seed_and_epoch_give_the_same_batches_and_others_differ() -> None:
    identities = names([5, 7, 9, 11])
    first = PKSampler(identities, 8, 4, seed=5)
    assert np.array_equal(first.epoch(3), PKSampler(identities, 8, 4, seed=5).epoch(3))
    assert not np.array_equal(first.epoch(3), first.epoch(4))
    assert not np.array_equal(first.epoch(3), PKSampler(identities, 8, 4, seed=6).epoch(3))


def test_an_identity_with_one_image_contributes_it_once() -> None:
    identities = names([1, 8, 8, 8])
    batch = next(batch for batch in PKSampler(identities, 16, 4, seed=0).epoch(0) if 0 in batch)
    assert list(batch).count(0) == 1


@pytest.mark.parametrize(("batch", "k"), [(10, 4), (0, 4), (4, 0)])
def test_a_batch_that_is_not_p_times_k_is_refused(batch: int, k: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        PKSampler(names([4, 4]), batch, k, seed=0)


@given(st.lists(st.integers(1, 20), min_size=2, max_size=10), st.floats(0.05, 0.6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_split_by_image_parts_the_set_and_keeps_every_identity_in_training(
    counts: list[int], share: float, seed: int
) -> None:
    whole = samples(counts)
    train, validation = split_by_image(whole, share, seed)
    assert sorted((*train.paths, *validation.paths)) == sorted(whole.paths)
    assert set(train.identities) == set(whole.identities)
    assert validation.role == "validation"
    if min(counts) > 1:
        assert abs(len(validation) - share * len(whole)) <= max(1.0, len(whole) * share)


def test_split_by_image_holds_out_the_asked_share() -> None:
    train, validation = split_by_image(samples([10] * 10), 0.2, 123)
    assert (len(train), len(validation)) == (80, 20)
    assert split_by_image(samples([10] * 10), 0.2, 123)[0].paths == train.paths
    assert split_by_image(samples([10] * 10), 0.2, 124)[0].paths != train.paths


def test_split_by_identity_shares_no_identity() -> None:
    train, validation = split_by_identity(samples([10] * 10), 0.2, 123)
    assert not set(train.identities) & set(validation.identities)
    assert len(validation) == 20


def test_calibration_takes_identities_in_turns() -> None:
    chosen = choose_calibration(samples([50, 2, 2, 2]), 8 / 56, 7)
    assert Counter(chosen.identities) == {"p00": 2, "p01": 2, "p02": 2, "p03": 2}
    assert len(choose_calibration(samples([3, 3]), 1.0, 7)) == 6
    assert len(choose_calibration(samples([3, 3]), 0.01, 7)) == 1
