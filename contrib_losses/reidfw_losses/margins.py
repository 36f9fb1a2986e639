"""Softmax losses with a margin between the cosine of an image's own identity and those of all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from reidfw_core.api import ComponentParams, Loss, hookimpl

if TYPE_CHECKING:
    from reidfw_losses._keras.margins import MarginLoss


class _MarginParams(ComponentParams):
    scale: float = Field(30.0, gt=0.0)
    """Factor s from cosines to logits."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all identities, in [0, 1)."""


class _MarginSoftmax(Loss):
    consumes = "cosines"
    min_instances = 1
    angular: ClassVar[Literal["angle", "cosine"]]

    @hookimpl
    def build_loss(self) -> MarginLoss:
        """Makes the Keras loss.

        Returns:
            ``loss(identities, cosines)`` of integers (B,) in [0, I) and floats (B, I) in [-1, 1] to a float32 scalar.
        """
        from reidfw_losses._keras.margins import MarginLoss

        return MarginLoss(
            kind=self.angular,
            margin=self.params.margin,
            scale=self.params.scale,
            label_smoothing=self.params.label_smoothing,
        )


class ArcFace(_MarginSoftmax):
    """Softmax over ``s cos(theta + m)`` for an image's own identity and ``s cos(theta)`` for all others.

    Where theta + m would pass a half turn, the cosine goes down in a straight line instead, so that it keeps falling.

    Source: J. Deng, J. Guo, N. Xue, S. Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
        2019, equation 3; the straight line is that of the authors' code.
    """

    angular = "angle"

    class Params(_MarginParams):
        """Parameters of ArcFace."""

        margin: float = Field(0.5, ge=0.0, lt=1.58)
        """Angle m in radians by which an image must be closer to its own identity; below a right angle."""


class CosFace(_MarginSoftmax):
    """Softmax over ``s (cos(theta) - m)`` for an image's own identity and ``s cos(theta)`` for all others.

    Source: H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, equation 4.
    """

    angular = "cosine"

    class Params(_MarginParams):
        """Parameters of CosFace."""

        margin: float = Field(0.35, ge=0.0, le=1.0)
        """Cosine m by which an image must be closer to its own identity, in [0, 1]."""
