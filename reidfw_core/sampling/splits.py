"""Splitting a training set, and choosing calibration images."""

from __future__ import annotations

import numpy as np

from reidfw_core.types import Samples


def split_by_image(samples: Samples, validation_split: float, seed: int) -> tuple[Samples, Samples]:
    """Shuffles the images and holds out a share of them; identities appear on both sides.

    At least one image stays on each side where there are two or more, and no identity loses its last training image:
    the classifier is scored on the validation images, and cannot know an identity that it never saw.

    Args:
        samples: the training set, N images.
        validation_split: share of images to hold out, in (0, 1).
        seed: seed of the shuffle (``dataset.seed``).

    Returns:
        Training samples and validation samples, each in the shuffled order.
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    wanted = max(1, round(len(samples) * validation_split))
    left = dict.fromkeys(samples.identity_names, 0)
    for identity in samples.identities:
        left[identity] += 1
    held_out: list[int] = []
    for index in order[::-1]:
        if len(held_out) == wanted:
            break
        if left[samples.identities[index]] > 1:
            left[samples.identities[index]] -= 1
            held_out.append(int(index))
    kept_out = set(held_out)
    train = [int(index) for index in order if int(index) not in kept_out]
    return samples.take(train), _as_validation(samples.take(held_out[::-1]))


def split_by_identity(samples: Samples, validation_split: float, seed: int) -> tuple[Samples, Samples]:
    """Holds out whole identities, as retrieval of unseen identities asks for.

    Identities are shuffled and held out until the share of images is reached; at least one identity stays in
    training. Identities with a single image stay in training: they cannot be retrieved.

    Args:
        samples: the training set.
        validation_split: share of images to hold out, in (0, 1).
        seed: seed of the shuffle (``dataset.seed``).
    """
    counts: dict[str, int] = {}
    for identity in samples.identities:
        counts[identity] = counts.get(identity, 0) + 1
    candidates = [name for name in sorted(counts) if counts[name] > 1]
    candidates = [candidates[i] for i in np.random.default_rng(seed).permutation(len(candidates))]
    wanted = len(samples) * validation_split
    held_out: set[str] = set()
    taken = 0
    for name in candidates[: max(0, len(counts) - 2)]:
        if taken >= wanted:
            break
        held_out.add(name)
        taken += counts[name]
    train = [i for i, identity in enumerate(samples.identities) if identity not in held_out]
    validation = [i for i, identity in enumerate(samples.identities) if identity in held_out]
    return samples.take(train), _as_validation(samples.take(validation))


def choose_calibration(samples: Samples, quantization_split: float, seed: int) -> Samples:
    """A share of the images in a seeded order, spread evenly over the identities.

    Identities take turns, so that any share holds each identity about equally often.

    Args:
        samples: the calibration or training set.
        quantization_split: share of images to use, in (0, 1]; at least one image is used.
        seed: seed of the order (``dataset.seed``).
    """
    rng = np.random.default_rng(seed)
    turns: dict[str, list[int]] = {}
    for index in rng.permutation(len(samples)):
        turns.setdefault(samples.identities[index], []).append(int(index))
    turn_of = {index: turn for images in turns.values() for turn, index in enumerate(images)}
    order = sorted(turn_of, key=turn_of.__getitem__)
    return samples.take(order[: max(1, round(len(samples) * quantization_split))])


def _as_validation(samples: Samples) -> Samples:
    return Samples(
        role="validation",
        root=samples.root,
        paths=samples.paths,
        identities=samples.identities,
        cameras=samples.cameras,
    )
