"""Contract of losses (entry point group ``reidfw.losses``)."""

from __future__ import annotations

from typing import Any

from reidfw_core.markers import hookspec


@hookspec(firstresult=True)
def build_loss(num_identities: int, embedding_dim: int) -> Any:
    """Makes the loss.

    Args:
        num_identities: identities I in the training set.
        embedding_dim: length D of an embedding.

    Returns:
        A callable ``loss(identities, outputs)`` of an integer tensor (B,) with values in [0, I) and the float32
        tensor that the component ``consumes``: (B, D) embeddings, or (B, I) logits,
        probabilities or cosines. It gives a
        float32 scalar, differentiable with respect to ``outputs``. A ``keras.layers.Layer`` is also fine; its
        weights are then trained along.
    """
