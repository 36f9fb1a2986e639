"""Centre loss as a Keras layer, since it has weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="reidfw_losses")
class CenterLoss(keras.layers.Layer):
    """Holds a centre for each identity.

    Args:
        num_identities: identities I.
        embedding_dim: length D of an embedding.
        center_rate: rate at which centres follow.
        kwargs: those of ``keras.layers.Layer``.
    """

    def __init__(self, num_identities: int, embedding_dim: int, center_rate: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**{"name": "center", "dtype": "float32", **kwargs})
        self.num_identities, self.embedding_dim, self.center_rate = num_identities, embedding_dim, center_rate
        self.centers = self.add_weight(
            shape=(num_identities, embedding_dim),
            initializer="zeros",
            trainable=False,
            aggregation="mean",
            name="centers",
        )

    def call(self, identities: Any, embeddings: Any, training: bool = False) -> Any:
        """The loss of a batch; in training the centres move after it.

        Args:
            identities: (B,) integers in [0, I).
            embeddings: (B, D) floats.
            training: whether the centres move.

        Returns:
            Scalar, non-negative.
        """
        identities = tf.reshape(identities, [-1])
        embeddings = tf.cast(embeddings, tf.float32)
        centers = tf.convert_to_tensor(self.centers)
        difference = embeddings - tf.gather(centers, identities)
        loss = 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(difference), axis=1))
        if training:
            self.centers.assign(centers + self._step(identities, tf.stop_gradient(difference)))
        return loss

    def _step(self, identities: Any, difference: Any) -> Any:
        # One is added to the number of images, as in the paper: a single odd image moves its centre half the way.
        total = tf.math.unsorted_segment_sum(difference, identities, self.num_identities)
        count = tf.math.unsorted_segment_sum(tf.ones_like(difference[:, :1]), identities, self.num_identities)
        return self.center_rate * total / (1.0 + count)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this layer."""
        return {
            **super().get_config(),
            "num_identities": self.num_identities,
            "embedding_dim": self.embedding_dim,
            "center_rate": self.center_rate,
        }
