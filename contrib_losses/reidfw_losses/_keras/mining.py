"""Picks the triplets of a batch and says how much each pair of images weighs in the loss.

A triplet loss is a mean of hinges ``max(d_ap - d_an + margin, 0)``. Between two changes of the picked triplets it is
linear in the distances, so it is fully described by its derivatives, one for each pair of images:

    loss = sum over a, j of  W[a, j] * (d[a, j] + margin * [j is a positive of a])

``W[a, j]`` counts the picked triplets of anchor ``a`` that hold ``j`` and violate the margin: positively as their
positive, negatively as their negative, divided by what the strategy averages over. Each function here finds W from
the distances. None holds more than B x B numbers in one tensor, and none needs to be differentiated.

Arguments of all of them:
    distances: (B, B) floats.
    positives: (B, B) booleans, [a, j] is true where j shows the identity of a and is another image.
    negatives: (B, B) booleans, [a, j] is true where j shows another identity.
    margin: of the hinge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Miner = Callable[[Any, Any, Any, float], Any]


def batch_hard_weights(distances: Any, positives: Any, negatives: Any, margin: float) -> Any:
    """Each anchor with its farthest positive and its closest negative; mean over the anchors that have both."""
    dtype = distances.dtype
    positive_distances = tf.where(positives, distances, -dtype.max)
    negative_distances = tf.where(negatives, distances, dtype.max)
    farthest = tf.reduce_max(positive_distances, axis=1, keepdims=True)
    closest = tf.reduce_min(negative_distances, axis=1, keepdims=True)
    valid = (farthest >= 0.0) & (closest < dtype.max)
    violating = valid & (farthest - closest + margin > 0.0)
    share = tf.math.divide_no_nan(tf.cast(violating, dtype), _count(valid, dtype))
    return share * (_evenly(positive_distances == farthest, dtype) - _evenly(negative_distances == closest, dtype))


def semi_hard_weights(distances: Any, positives: Any, negatives: Any, margin: float) -> Any:
    """Each anchor-positive pair with the closest negative beyond the positive, else with the farthest negative.

    Mean over the pairs that violate the margin.
    """
    dtype = distances.dtype
    pairs = positives & tf.reduce_any(negatives, axis=1, keepdims=True)
    negative_distances = tf.where(negatives, distances, dtype.max)
    farthest = tf.reduce_max(tf.where(negatives, distances, -dtype.max), axis=1, keepdims=True)

    def triplets_of(positive: Any, positive_distance: Any) -> Any:
        beyond = tf.where(negative_distances > positive_distance, negative_distances, dtype.max)
        closest = tf.reduce_min(beyond, axis=1, keepdims=True)
        chosen = tf.where(closest < dtype.max, closest, farthest)
        violating = tf.cast(positive_distance - chosen + margin > 0.0, dtype)
        return violating * (tf.cast(positive, dtype) - _evenly(negative_distances == chosen, dtype))

    weights = _sum_over_positives(triplets_of, distances, pairs)
    return tf.math.divide_no_nan(weights, tf.reduce_sum(tf.where(pairs, weights, 0.0)))


def batch_all_weights(distances: Any, positives: Any, negatives: Any, margin: float) -> Any:
    """All triplets; mean over those that violate the margin."""
    dtype = distances.dtype
    negative_distances = tf.where(negatives, distances, dtype.max)

    def triplets_of(positive: Any, positive_distance: Any) -> Any:
        violating = tf.cast(negative_distances < positive_distance + margin, dtype)
        return tf.where(positive, tf.reduce_sum(violating, axis=1, keepdims=True), -violating)

    weights = _sum_over_positives(triplets_of, distances, positives)
    return tf.math.divide_no_nan(weights, tf.reduce_sum(tf.nn.relu(weights)))


MINERS: dict[str, Miner] = {
    "hard": batch_hard_weights,
    "semi_hard": semi_hard_weights,
    "simple": batch_all_weights,
}
"""The miner of each strategy, by the name that ``training.triplet_loss.strategy`` has for it."""


def soft_batch_hard(distances: Any, positives: Any, negatives: Any) -> tuple[Any, Any]:
    """As :func:`batch_hard_weights` with softplus instead of a hinge: the loss, and its derivatives (B, B)."""
    dtype = distances.dtype
    positive_distances = tf.where(positives, distances, -dtype.max)
    negative_distances = tf.where(negatives, distances, dtype.max)
    farthest = tf.reduce_max(positive_distances, axis=1, keepdims=True)
    closest = tf.reduce_min(negative_distances, axis=1, keepdims=True)
    valid = (farthest >= 0.0) & (closest < dtype.max)
    gap = tf.where(valid, farthest - closest, 0.0)
    count = _count(valid, dtype)
    loss = tf.math.divide_no_nan(tf.reduce_sum(tf.where(valid, tf.nn.softplus(gap), 0.0)), count)
    share = tf.math.divide_no_nan(tf.where(valid, tf.sigmoid(gap), 0.0), count)
    return loss, share * (
        _evenly(positive_distances == farthest, dtype) - _evenly(negative_distances == closest, dtype)
    )


def soft_semi_hard(distances: Any, positives: Any, negatives: Any) -> tuple[Any, Any]:
    """As :func:`semi_hard_weights` with softplus instead of a hinge; mean over all pairs that have a negative."""
    dtype = distances.dtype
    pairs = positives & tf.reduce_any(negatives, axis=1, keepdims=True)
    negative_distances = tf.where(negatives, distances, dtype.max)
    farthest = tf.reduce_max(tf.where(negatives, distances, -dtype.max), axis=1, keepdims=True)

    def triplets_of(positive: Any, positive_distance: Any) -> tuple[Any, Any]:
        beyond = tf.where(negative_distances > positive_distance, negative_distances, dtype.max)
        closest = tf.reduce_min(beyond, axis=1, keepdims=True)
        chosen = tf.where(closest < dtype.max, closest, farthest)
        has_pair = tf.reduce_any(positive, axis=1, keepdims=True)
        gap = tf.where(has_pair, positive_distance - chosen, 0.0)
        share = tf.where(has_pair, tf.sigmoid(gap), 0.0)
        weights = share * (tf.cast(positive, dtype) - _evenly(negative_distances == chosen, dtype))
        return tf.reduce_sum(tf.where(has_pair, tf.nn.softplus(gap), 0.0)), weights

    return _mean_over_positives(triplets_of, distances, pairs, _count(pairs, dtype))


def soft_batch_all(distances: Any, positives: Any, negatives: Any) -> tuple[Any, Any]:
    """As :func:`batch_all_weights` with softplus instead of a hinge; mean over all triplets."""
    dtype = distances.dtype

    def triplets_of(positive: Any, positive_distance: Any) -> tuple[Any, Any]:
        chosen = negatives & tf.reduce_any(positive, axis=1, keepdims=True)
        gap = tf.where(chosen, positive_distance - distances, 0.0)
        share = tf.where(chosen, tf.sigmoid(gap), 0.0)
        weights = tf.where(positive, tf.reduce_sum(share, axis=1, keepdims=True), -share)
        return tf.reduce_sum(tf.where(chosen, tf.nn.softplus(gap), 0.0)), weights

    triplets = _count(positives, dtype, axis=1) * _count(negatives, dtype, axis=1)
    return _mean_over_positives(triplets_of, distances, positives, tf.reduce_sum(triplets))


SoftMiner = Callable[[Any, Any, Any], tuple[Any, Any]]

SOFT_MINERS: dict[str, SoftMiner] = {
    "hard": soft_batch_hard,
    "semi_hard": soft_semi_hard,
    "simple": soft_batch_all,
}
"""The same strategies with a soft margin: ``log(1 + exp(d_ap - d_an))``.

Source: A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, section 2.
"""


def _mean_over_positives(
    triplets_of: Callable[[Any, Any], tuple[Any, Any]], distances: Any, positives: Any, count: Any
) -> tuple[Any, Any]:
    """As :func:`_sum_over_positives` for a value and its weights together, both divided by ``count``."""
    places = tf.where(positives, tf.cumsum(tf.cast(positives, tf.int32), axis=1), 0)

    def add_next(place: Any, value: Any, weights: Any) -> tuple[Any, Any, Any]:
        positive = places == place
        positive_distance = tf.reduce_max(tf.where(positive, distances, -distances.dtype.max), axis=1, keepdims=True)
        more, more_weights = triplets_of(positive, positive_distance)
        return place + 1, value + more, weights + more_weights

    last = tf.reduce_max(places)
    start = (tf.constant(1), tf.zeros([], distances.dtype), tf.zeros_like(distances))
    _, value, weights = tf.while_loop(lambda place, *_: place <= last, add_next, start)
    return tf.math.divide_no_nan(value, count), tf.math.divide_no_nan(weights, count)


def _sum_over_positives(triplets_of: Callable[[Any, Any], Any], distances: Any, positives: Any) -> Any:
    """Adds up the weights of one positive of each anchor at a time: the first ones, the second ones, and so on.

    A step handles B anchors x B negatives, so memory stays O(B^2), and there are as many steps as an identity has
    further images in the batch: K - 1 of them, three for K = 4. Sorting each row instead costs as much as about
    twenty steps, and its number of sorted positives would have to be known before XLA compiles it.

    Args:
        triplets_of: gives the (B, B) weights from (B, B) booleans with one positive a row at most, and from its
            distance (B, 1), a huge negative number where the row has none.
        distances: (B, B) floats.
        positives: (B, B) booleans.
    """
    places = tf.where(positives, tf.cumsum(tf.cast(positives, tf.int32), axis=1), 0)

    def add_next(place: Any, weights: Any) -> tuple[Any, Any]:
        positive = places == place
        positive_distance = tf.reduce_max(tf.where(positive, distances, -distances.dtype.max), axis=1, keepdims=True)
        return place + 1, weights + triplets_of(positive, positive_distance)

    last = tf.reduce_max(places)
    _, weights = tf.while_loop(lambda place, _: place <= last, add_next, (tf.constant(1), tf.zeros_like(distances)))
    return weights


def _evenly(chosen: Any, dtype: Any) -> Any:
    """Shares a weight of 1 among the chosen columns of each row: several where distances are equal."""
    chosen = tf.cast(chosen, dtype)
    return tf.math.divide_no_nan(chosen, tf.reduce_sum(chosen, axis=1, keepdims=True))


def _count(mask: Any, dtype: Any, axis: int | None = None) -> Any:
    return tf.reduce_sum(tf.cast(mask, dtype), axis=axis)
