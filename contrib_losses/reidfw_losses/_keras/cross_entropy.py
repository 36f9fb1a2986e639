"""Cross-entropy over identities as a Keras loss."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="reidfw_losses")
class IdentityCrossEntropyLoss(keras.losses.Loss):
    """Softmax cross-entropy with label smoothing, from logits; the mean over the batch.

    Args:
        label_smoothing: share of the target that is spread evenly over all identities, in [0, 1).
        name: Keras name.
        reduction: how Keras joins the values of the images; the mean by default.
        dtype: floating point type of the computation, whatever the type of the logits.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        name: str = "identity_cross_entropy",
        reduction: str = "sum_over_batch_size",
        dtype: str = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Cross-entropy of each image.

        Args:
            y_true: (B,) identities in [0, I).
            y_pred: (B, I) logits.

        Returns:
            (B,) non-negative values.
        """
        identities = tf.cast(tf.reshape(y_true, [-1]), tf.int64)
        hard_target = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=identities, logits=y_pred)
        # Not left to a factor of zero: an infinitely unlikely identity would make 0 * inf of it.
        if self.label_smoothing == 0.0:
            return hard_target
        even_target = -tf.reduce_mean(tf.nn.log_softmax(y_pred, axis=-1), axis=-1)
        return (1.0 - self.label_smoothing) * hard_target + self.label_smoothing * even_target

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing, "dtype": self.dtype}
