"""Triplet losses as Keras losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from reidfw_losses._keras.distances import Metric, embedding_gradient, pairwise_distances, unit_vectors
from reidfw_losses._keras.mining import MINERS, SOFT_MINERS, Miner, SoftMiner


def triplet_loss(
    identities: Any, embeddings: Any, margin: float, metric: Metric, miner: Miner, soft_miner: SoftMiner | None = None
) -> Any:
    """A triplet loss and its gradient.

    Mining sees the distances as constants. The gradient is then one product of the pair weights with the
    embeddings, half of what differentiating the distance matrix costs.

    Args:
        identities: (B,) integers.
        embeddings: (B, D) floats, of any length.
        margin: of the hinge.
        metric: distance between embeddings.
        miner: gives the weight of each pair, see :mod:`reidfw_losses._keras.mining`.
        soft_miner: used instead, without a margin, where given.

    Returns:
        Scalar of the type of ``embeddings``; 0 where the batch holds no triplet.
    """
    same = identities[:, tf.newaxis] == identities[tf.newaxis, :]
    positives = tf.linalg.set_diag(same, tf.zeros_like(identities, dtype=tf.bool))

    @tf.custom_gradient
    def loss_of(embeddings: Any) -> tuple[Any, Callable[[Any], Any]]:
        units, scales = unit_vectors(embeddings)
        distances = pairwise_distances(units, metric)
        if soft_miner is not None:
            loss, weights = soft_miner(distances, positives, ~same)
        else:
            weights = miner(distances, positives, ~same, margin)
            loss = tf.reduce_sum(weights * tf.where(positives, distances + margin, distances))

        def gradient(upstream: Any) -> Any:
            return upstream * embedding_gradient(weights, distances, units, scales, metric)

        return loss, gradient

    return loss_of(embeddings)


@keras.saving.register_keras_serializable(package="reidfw_losses")
class TripletLoss(keras.losses.Loss):
    """Triplet loss over the embeddings of one batch.

    Args:
        strategy: which triplets are picked: ``hard``, ``semi_hard`` or ``simple`` (all of them).
        margin: how much farther than a positive a negative shall lie, in [0, 1]; ``soft`` for the softplus of the
            difference instead of a hinge.
        distance_metric: ``cosine`` or ``euclidean``, both on embeddings scaled to length 1.
        name: Keras name; ``triplet_<strategy>`` where None.
        dtype: floating point type of the computation, whatever the type of the embeddings.

    Raises:
        ValueError: an unknown strategy or distance metric.
    """

    def __init__(
        self,
        strategy: Literal["hard", "semi_hard", "simple"] = "hard",
        margin: float | Literal["soft"] = 0.3,
        distance_metric: Metric = "cosine",
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        if strategy not in MINERS:
            raise ValueError(f"strategy is '{strategy}', allowed are {', '.join(MINERS)}")
        if distance_metric not in get_args(Metric):
            raise ValueError(f"distance_metric is '{distance_metric}', allowed are {', '.join(get_args(Metric))}")
        super().__init__(name=name or f"triplet_{strategy}", dtype=dtype)
        self.strategy = strategy
        self.margin = margin
        self.distance_metric = distance_metric

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Keras's own ``__call__`` turns identities into floats and averages over images; a triplet loss needs them
        exact and is one number for the whole batch.

        Args:
            y_true: (B,) or (B, 1) integer identities.
            y_pred: (B, D) embeddings.
            sample_weight: must be None.

        Returns:
            Scalar, non-negative up to rounding.

        Raises:
            ValueError: embeddings that are not (B, D), or sample weights.
        """
        if sample_weight is not None:
            raise ValueError("a triplet belongs to three images: sample weights have no meaning for a triplet loss")
        with tf.name_scope(self.name):
            return self.call(tf.convert_to_tensor(y_true), tf.cast(y_pred, self.dtype))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As :meth:`__call__`, on tensors of the right type."""
        if y_pred.shape.rank not in (None, 2):
            raise ValueError(f"a triplet loss takes embeddings of shape (B, D), got {y_pred.shape}")
        soft = self.margin == "soft"
        return triplet_loss(
            tf.reshape(y_true, [-1]),
            y_pred,
            0.0 if soft else float(self.margin),
            self.distance_metric,
            MINERS[self.strategy],
            SOFT_MINERS[self.strategy] if soft else None,
        )

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            "strategy": self.strategy,
            "margin": self.margin,
            "distance_metric": self.distance_metric,
            "name": self.name,
            "dtype": self.dtype,
        }
