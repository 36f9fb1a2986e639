"""Contract of backbones (entry point group ``reidfw.backbones``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reidfw_core.markers import hookspec


@hookspec(firstresult=True)
def build_backbone(input_shape: tuple[int, int, int], pretrained: bool | Path, seed: int) -> Any:
    """Builds the network up to and without pooling.

    Args:
        input_shape: (H, W, C) in pixels and channels.
        pretrained: False for random weights, True for the ImageNet weights that the backbone knows how to get,
            or the path of a weights file.
        seed: seeds the random weights.

    Returns:
        A ``keras.Model`` from (B, H, W, C) float32 to a feature map (B, h, w, D) float32.

    Raises:
        DataError: the weights file does not fit.
        ServiceError: the weights cannot be downloaded.
    """
