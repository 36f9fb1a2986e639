"""Triplet losses: images of one identity shall lie closer together than images of two, by a margin.

All three compare the same distances and differ in the triplets (anchor, positive, negative) that they pick from a
batch, and in what they divide by. For B embeddings of length D and at most K images of an identity they need
O(B (B + D)) memory and O(B^2 (D + K)) time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from reidfw_core.api import ComponentParams, DataError, Loss, hookimpl

if TYPE_CHECKING:
    from reidfw_losses._keras.triplet import TripletLoss


def _margin(value: Any) -> Any:
    # pydantic reads True as 1.0, so that `margin: yes` would train with the largest margin there is.
    if isinstance(value, str) and value.strip().lower() == "soft":
        return "soft"
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise ValueError(f"should be a number in [0, 1], or soft, got {value!r}")
    if not number >= 0.0:
        raise ValueError("should be greater than or equal to 0")
    if number > 1.0:
        raise ValueError("should be less than or equal to 1")
    return number


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class _Triplet(Loss):
    """What the three triplet losses share: parameters, facts, and the check of the training set."""

    consumes = "embeddings"
    min_instances = 2
    strategy: ClassVar[Literal["hard", "semi_hard", "simple"]]

    class Params(ComponentParams):
        """The ``training.triplet_loss`` block of the YAML, without its ``strategy``, which selects the component."""

        margin: Annotated[Annotated[float, Field(ge=0.0, le=1.0)] | Literal["soft"], BeforeValidator(_margin)] = 0.3
        """How much farther than a positive a negative shall lie, in units of the distance; in [0, 1]. ``soft`` takes
        the softplus of the difference instead of a hinge."""
        distance_metric: Annotated[Literal["cosine", "euclidean"], BeforeValidator(_lower)] = "cosine"
        """``cosine`` is 1 - a.b, ``euclidean`` is |a - b|, both in [0, 2] and both on embeddings scaled to length 1."""

    @hookimpl
    def build_loss(self, num_identities: int) -> TripletLoss:
        """Makes the Keras loss.

        Args:
            num_identities: identities in the training set.

        Returns:
            ``loss(identities, embeddings)`` of integers (B,) and floats (B, D) to a float32 scalar.

        Raises:
            DataError: the training set has a single identity, so that no triplet exists.
        """
        if num_identities < 2:
            raise DataError(
                f"A triplet loss compares images of two identities, the training set has {num_identities}",
                hint="Check dataset.training_path and which identities the reader finds there.",
            )
        from reidfw_losses._keras.triplet import TripletLoss

        return TripletLoss(
            strategy=self.strategy, margin=self.params.margin, distance_metric=self.params.distance_metric
        )


class TripletHard(_Triplet):
    """Batch-hard triplet loss: each anchor with its farthest positive and its closest negative.

    The mean over the anchors that have both. An anchor without positive or without negative is left out.

    Source: A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
        equation 5, with the hinge.
    """

    strategy = "hard"


class TripletSemiHard(_Triplet):
    """Semi-hard triplet loss: each anchor-positive pair with the closest negative that is farther than the positive.

    A pair whose negatives are all as close as the positive or closer takes the farthest of them. Such a pair is the
    worst of all violations, so it must not go without gradient; the farthest negative is the mildest of its
    triplets, and keeps the collapse away into which the hardest negatives of an untrained network lead. The mean
    over the pairs that violate the margin only, as for the other two strategies: divided by all pairs the gradient
    fades away long before the identities are apart (see docs/training.md for what that costs).

    Source: F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet: A Unified Embedding for Face Recognition and
        Clustering", 2015, section 3.2 and equation 4. The closest of the semi-hard negatives, and the farthest negative
        where none is semi-hard: ``triplet_semihard_loss`` of TensorFlow Addons, which averages over all pairs.
    """

    strategy = "semi_hard"


class TripletSimple(_Triplet):
    """Batch-all triplet loss: every triplet of the batch that violates the margin.

    The mean over the violating triplets only: most triplets of a trained network keep the margin, and dividing by
    all of them would let the gradient fade away.

    Source: A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
        equation 6, averaged over non-zero terms (there "BA != 0").
    """

    strategy = "simple"
