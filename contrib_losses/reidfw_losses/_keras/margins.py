"""Margin softmax losses as Keras losses."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import tensorflow as tf

from reidfw_losses._keras.cross_entropy import IdentityCrossEntropyLoss

_LARGEST_COSINE = 1.0 - 1e-6
"""Where the sine has no bounded derivative any more."""


def angular_margin(cosines: Any, margin: float) -> Any:
    """``cos(theta + m)``, continued by a straight line where theta + m passes a half turn.

    Args:
        cosines: floats in [-1, 1].
        margin: m in radians, in [0, pi/2].
    """
    inside = tf.clip_by_value(cosines, -_LARGEST_COSINE, _LARGEST_COSINE)
    turned = inside * math.cos(margin) - tf.sqrt(1.0 - tf.square(inside)) * math.sin(margin)
    return tf.where(cosines > -math.cos(margin), turned, cosines - margin * math.sin(margin))


@keras.saving.register_keras_serializable(package="reidfw_losses")
class MarginLoss(IdentityCrossEntropyLoss):
    """Cross-entropy over scaled cosines, that of an image's own identity lessened by a margin.

    Args:
        kind: ``angle`` (ArcFace) or ``cosine`` (CosFace).
        margin: radians, or a cosine.
        scale: factor from cosines to logits.
        label_smoothing: share of the target that is spread evenly.
        name: Keras name.
        dtype: floating point type of the computation.
    """

    def __init__(
        self,
        kind: Literal["angle", "cosine"] = "angle",
        margin: float = 0.5,
        scale: float = 30.0,
        label_smoothing: float = 0.0,
        name: str = "margin_softmax",
        dtype: str = "float32",
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, name=name, dtype=dtype)
        if kind not in ("angle", "cosine"):
            raise ValueError(f"kind is '{kind}', allowed are angle, cosine")
        self.kind, self.margin, self.scale = kind, margin, scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each image.

        Args:
            y_true: (B,) identities in [0, I).
            y_pred: (B, I) cosines.

        Returns:
            (B,) non-negative values.
        """
        lessened = angular_margin(y_pred, self.margin) if self.kind == "angle" else y_pred - self.margin
        own = tf.one_hot(
            tf.cast(tf.reshape(y_true, [-1]), tf.int64), tf.shape(y_pred)[1], on_value=True, off_value=False
        )
        return super().call(y_true, self.scale * tf.where(own, lessened, y_pred))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            "kind": self.kind,
            "margin": self.margin,
            "scale": self.scale,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
            "dtype": self.dtype,
        }
