"""Losses over all pairs of a batch, in O(B (B + D)) memory."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import tensorflow as tf

from reidfw_losses._keras.distances import unit_vectors

_NEVER = -1e30
"""A logarithm of zero that still has a difference to itself."""


class _PairLoss(keras.losses.Loss):
    """One number for a batch, from the cosine similarities of its pairs."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Args:
            y_true: (B,) or (B, 1) integer identities.
            y_pred: (B, D) embeddings of any length.
            sample_weight: must be None.

        Returns:
            Scalar; 0 where no anchor has what it needs.

        Raises:
            ValueError: sample weights.
        """
        if sample_weight is not None:
            raise ValueError("a pair belongs to two images: sample weights have no meaning for this loss")
        with tf.name_scope(self.name):
            return self.call(tf.convert_to_tensor(y_true), tf.cast(y_pred, self.dtype))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As :meth:`__call__`, on tensors of the right type."""
        identities = tf.reshape(y_true, [-1])
        units, _ = unit_vectors(y_pred)
        similarities = tf.clip_by_value(tf.matmul(units, units, transpose_b=True), -1.0, 1.0)
        same = identities[:, tf.newaxis] == identities[tf.newaxis, :]
        positives = tf.linalg.set_diag(same, tf.zeros_like(identities, dtype=tf.bool))
        losses, valid = self.anchor_losses(similarities, positives, ~same)
        count = tf.reduce_sum(tf.cast(valid, losses.dtype))
        return tf.math.divide_no_nan(tf.reduce_sum(tf.where(valid, losses, 0.0)), count)

    @abstractmethod
    def anchor_losses(self, similarities: Any, positives: Any, negatives: Any) -> tuple[Any, Any]:
        """Loss (B,) of each anchor, and whether it counts (B,), from (B, B) similarities and booleans."""


@keras.saving.register_keras_serializable(package="reidfw_losses")
class CircleLoss(_PairLoss):
    """Circle loss.

    Args:
        margin: relaxation m.
        gamma: scale of the similarities.
        name: Keras name.
        dtype: floating point type of the computation.
    """

    def __init__(
        self, margin: float = 0.25, gamma: float = 128.0, name: str = "circle", dtype: str = "float32"
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.margin, self.gamma = margin, gamma

    def anchor_losses(self, similarities: Any, positives: Any, negatives: Any) -> tuple[Any, Any]:
        """``softplus(logsumexp over negatives + logsumexp over positives)`` of the weighted similarities."""
        # The weights are no part of the derivative (the paper's footnote on alpha): they say how much a pair counts.
        weight_p = tf.stop_gradient(tf.nn.relu(1.0 + self.margin - similarities))
        weight_n = tf.stop_gradient(tf.nn.relu(similarities + self.margin))
        logit_p = -self.gamma * weight_p * (similarities - (1.0 - self.margin))
        logit_n = self.gamma * weight_n * (similarities - self.margin)
        total = _logsumexp(logit_p, positives) + _logsumexp(logit_n, negatives)
        valid = tf.reduce_any(positives, axis=1) & tf.reduce_any(negatives, axis=1)
        return tf.nn.softplus(tf.where(valid, total, 0.0)), valid

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {"margin": self.margin, "gamma": self.gamma, "name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="reidfw_losses")
class SupervisedContrastiveLoss(_PairLoss):
    """Supervised contrastive loss.

    Args:
        temperature: what similarities are divided by.
        name: Keras name.
        dtype: floating point type of the computation.
    """

    def __init__(self, temperature: float = 0.1, name: str = "supervised_contrastive", dtype: str = "float32") -> None:
        super().__init__(name=name, dtype=dtype)
        self.temperature = temperature

    def anchor_losses(self, similarities: Any, positives: Any, negatives: Any) -> tuple[Any, Any]:
        """Minus the mean log-probability of the positives among all other images."""
        logits = similarities / self.temperature
        others = positives | negatives
        log_probabilities = logits - _logsumexp(logits, others)[:, tf.newaxis]
        count = tf.reduce_sum(tf.cast(positives, logits.dtype), axis=1)
        summed = tf.reduce_sum(tf.where(positives, log_probabilities, 0.0), axis=1)
        return -tf.math.divide_no_nan(summed, count), count > 0

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {"temperature": self.temperature, "name": self.name, "dtype": self.dtype}


def _logsumexp(logits: Any, chosen: Any) -> Any:
    """Over the chosen columns of each row; very negative where none is."""
    return tf.reduce_logsumexp(tf.where(chosen, logits, _NEVER), axis=1)
