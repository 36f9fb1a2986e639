"""Losses over all pairs of a batch: circle loss and supervised contrastive loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reidfw_core.api import ComponentParams, Loss, hookimpl

if TYPE_CHECKING:
    from reidfw_losses._keras.pairs import CircleLoss, SupervisedContrastiveLoss


class Circle(Loss):
    """Circle loss: each anchor's positives against its negatives, a pair weighing the more the worse it is.

    The mean over the anchors that have both. An image alone with its identity counts for nothing as an anchor.

    Source: Y. Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", 2020, equation 6
        with O_p = 1 + m, O_n = -m, Delta_p = 1 - m, Delta_n = m (section 3.3).
    """

    consumes = "embeddings"
    min_instances = 2

    class Params(ComponentParams):
        """Parameters of the circle loss."""

        margin: float = Field(0.25, ge=0.0, le=1.0)
        """Relaxation m, in [0, 1]: similarities are wanted above 1 - m and below m."""
        gamma: float = Field(128.0, gt=0.0)
        """Scale of the similarities; 128 in the paper's re-identification."""

    @hookimpl
    def build_loss(self) -> CircleLoss:
        """Makes the Keras loss.

        Returns:
            ``loss(identities, embeddings)`` of integers (B,) and floats (B, D) to a float32 scalar.
        """
        from reidfw_losses._keras.pairs import CircleLoss

        return CircleLoss(margin=self.params.margin, gamma=self.params.gamma)


class SupervisedContrastive(Loss):
    """Supervised contrastive loss: each anchor tells its positives from all other images by a softmax.

    The mean over the anchors that have a positive.

    Source: P. Khosla et al., "Supervised Contrastive Learning", 2020, equation 2 (the sum outside of the logarithm).
    """

    consumes = "embeddings"
    min_instances = 2

    class Params(ComponentParams):
        """Parameters of the supervised contrastive loss."""

        temperature: float = Field(0.1, gt=0.0)
        """What cosine similarities are divided by."""

    @hookimpl
    def build_loss(self) -> SupervisedContrastiveLoss:
        """Makes the Keras loss.

        Returns:
            ``loss(identities, embeddings)`` of integers (B,) and floats (B, D) to a float32 scalar.
        """
        from reidfw_losses._keras.pairs import SupervisedContrastiveLoss

        return SupervisedContrastiveLoss(temperature=self.params.temperature)
