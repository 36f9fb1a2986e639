"""Cross-entropy over the identities of the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reidfw_core.api import ComponentParams, Loss, hookimpl

if TYPE_CHECKING:
    from reidfw_losses._keras.cross_entropy import IdentityCrossEntropyLoss


class IdentityCrossEntropy(Loss):
    """Softmax cross-entropy with label smoothing, computed from logits.

    The target is ``1 - label_smoothing + label_smoothing / I`` for the identity of the image and
    ``label_smoothing / I`` for each of the other identities of the training set, I in number.

    Source: C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016, section 7.
    """

    consumes = "logits"
    min_instances = 1

    class Params(ComponentParams):
        """Parameters of the cross-entropy."""

        label_smoothing: float = Field(0.1, ge=0.0, lt=1.0)
        """Share of the target that is spread evenly over all identities, in [0, 1)."""

    @hookimpl
    def build_loss(self) -> IdentityCrossEntropyLoss:
        """Makes the Keras loss.

        Returns:
            ``loss(identities, logits)`` of integers (B,) in [0, I) and floats (B, I) to a float32 scalar.
        """
        from reidfw_losses._keras.cross_entropy import IdentityCrossEntropyLoss

        return IdentityCrossEntropyLoss(label_smoothing=self.params.label_smoothing)
