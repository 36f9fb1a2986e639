"""Keras layers that rewritten models need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="reidfw_quantizers")
class ChannelClip(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Limits each channel from above: ``min(x, ceilings)``.

    Args:
        ceilings: one upper limit for each of the C channels.
    """

    def __init__(self, ceilings: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ceilings = tuple(float(ceiling) for ceiling in ceilings)

    def call(self, x: Any) -> Any:
        """(..., C) to (..., C)."""
        return keras.ops.minimum(x, keras.ops.convert_to_tensor(self.ceilings, dtype=x.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of this layer."""
        return {**super().get_config(), "ceilings": list(self.ceilings)}
