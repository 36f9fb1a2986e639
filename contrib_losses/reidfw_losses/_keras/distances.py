"""Distances between the embeddings of a batch, and how a gradient comes back from them to the embeddings."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

Metric = Literal["cosine", "euclidean"]

_SMALLEST_SQUARED_NORM = 1e-12


def unit_vectors(embeddings: Any) -> tuple[Any, Any]:
    """Scales each embedding to length 1.

    A vector shorter than 1e-6 has no direction to speak of: it becomes zero, and so does its gradient, which would
    have no bound otherwise. NaN stays NaN.

    Args:
        embeddings: (B, D) floats.

    Returns:
        The scaled embeddings (B, D) and the factors (B, 1).
    """
    squared_norms = tf.reduce_sum(tf.square(embeddings), axis=1, keepdims=True)
    scales = tf.where(squared_norms < _SMALLEST_SQUARED_NORM, 0.0, tf.math.rsqrt(squared_norms))
    return embeddings * scales, scales


def pairwise_distances(units: Any, metric: Metric) -> Any:
    """Distances of all pairs of vectors of length 1.

    Args:
        units: (B, D) floats, rows of length 1 (or 0, which counts as a right angle to all others).
        metric: ``cosine`` for 1 - a.b, ``euclidean`` for |a - b| = sqrt(2 (1 - a.b)).

    Returns:
        (B, B) of the same type, in [0, 2].
    """
    cosine = tf.clip_by_value(1.0 - tf.matmul(units, units, transpose_b=True), 0.0, 2.0)
    return cosine if metric == "cosine" else tf.sqrt(2.0 * cosine)


def embedding_gradient(weights: Any, distances: Any, units: Any, scales: Any, metric: Metric) -> Any:
    """Carries the derivatives by the distances back to the embeddings (chain rule).

    A euclidean distance of zero has no derivative. Zero is taken, a subgradient: two embeddings that are equal have
    no direction in which to part.

    Args:
        weights: (B, B) derivatives of a loss by ``distances``.
        distances: (B, B) as :func:`pairwise_distances` gives them.
        units: (B, D) as :func:`unit_vectors` gives them, with ``scales`` (B, 1).
        metric: of ``distances``.

    Returns:
        (B, D) derivatives of the loss by the embeddings.
    """
    by_cosine = weights if metric == "cosine" else tf.math.divide_no_nan(weights, distances)
    by_units = -tf.matmul(by_cosine + tf.transpose(by_cosine), units)
    # Scaling to length 1 swallows whatever points along the vector itself.
    along = tf.reduce_sum(by_units * units, axis=1, keepdims=True)
    return scales * (by_units - units * along)
