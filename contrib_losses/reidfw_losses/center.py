"""Centre loss: each embedding is drawn to the centre of its identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reidfw_core.api import ComponentParams, Loss, hookimpl

if TYPE_CHECKING:
    from reidfw_losses._keras.center import CenterLoss


class Center(Loss):
    """Half the mean squared distance between each embedding and the centre of its identity.

    Embeddings are taken as they are, not scaled to length 1. Centres start at the origin, move by a rate of their own
    after each batch, and are part of what a resumed training goes on with. Give it a small ``weight`` (0.0005 to
    0.003): it only draws together, so that alone it would draw everything into one point.

    Source: Y. Wen, K. Zhang, Z. Li, Y. Qiao, "A Discriminative Feature Learning Approach for Deep Face Recognition",
        2016, equations 2 and 4; the mean over images instead of the sum.
    """

    consumes = "embeddings"
    min_instances = 1

    class Params(ComponentParams):
        """Parameters of the centre loss."""

        center_rate: float = Field(0.5, gt=0.0, le=1.0)
        """Rate alpha at which centres follow the embeddings, in (0, 1]."""

    @hookimpl
    def build_loss(self, num_identities: int, embedding_dim: int) -> CenterLoss:
        """Makes the layer that holds the centres.

        Returns:
            ``loss(identities, embeddings)`` of integers (B,) and floats (B, D) to a float32 scalar.
        """
        from reidfw_losses._keras.center import CenterLoss

        return CenterLoss(num_identities, embedding_dim, self.params.center_rate)
