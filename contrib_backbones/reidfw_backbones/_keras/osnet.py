"""OSNet: omni-scale feature learning.

Source: K. Zhou, Y. Yang, A. Cavallaro, T. Xiang, "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019,
figures 3 to 5 and table 1; without the paper's fully connected layer behind the pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from reidfw_backbones._keras.blocks import convolution, depthwise

STREAMS = 4
"""Streams of a block; stream t has t light convolutions, and so a receptive field of 2 t + 1 pixels."""

BOTTLENECK = 4
"""A block's streams have a quarter of its output channels."""

GATE_REDUCTION = 16
"""A gate's hidden layer has a sixteenth of the streams' channels."""


def build_osnet(image: Any, widths: Sequence[int]) -> Any:
    """The feature map of OSNet.

    Args:
        image: (B, H, W, C).
        widths: channels of the stem and of the three stages.

    Returns:
        (B, H / 16, W / 16, widths[3]).
    """
    x = convolution(image, widths[0], 7, "stem", stride=2)
    x = keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, channels in enumerate(widths[1:], start=1):
        for block in ("a", "b"):
            x = _omni_scale_block(x, channels, f"stage{stage}{block}")
        if stage < len(widths) - 1:
            x = convolution(x, channels, 1, f"transition{stage}")
            x = keras.layers.AveragePooling2D(2, 2, padding="same", name=f"transition{stage}_pool")(x)
    return convolution(x, widths[-1], 1, "final")


def _omni_scale_block(x: Any, channels: int, name: str) -> Any:
    middle = channels // BOTTLENECK
    reduced = convolution(x, middle, 1, f"{name}_reduce")
    streams = []
    for stream in range(1, STREAMS + 1):
        y = reduced
        for place in range(1, stream + 1):
            y = _light_convolution(y, middle, f"{name}_s{stream}_{place}")
        streams.append(y)
    fused = keras.layers.Add(name=f"{name}_fuse")(_gated(streams, f"{name}_gate"))
    expanded = convolution(fused, channels, 1, f"{name}_expand", activation=None)
    shortcut = x if x.shape[-1] == channels else convolution(x, channels, 1, f"{name}_shortcut", activation=None)
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([expanded, shortcut]))


def _light_convolution(x: Any, channels: int, name: str) -> Any:
    """A pointwise and then a depthwise convolution: the reverse of the usual order (the paper's "Lite 3x3")."""
    x = convolution(x, channels, 1, f"{name}_point", activation=None, norm=False)
    return depthwise(x, 3, name)


def _gated(streams: Sequence[Any], name: str) -> list[Any]:
    """Each stream times a share for each of its channels; one small network with the same weights for all streams.

    The pooled streams are the rows of one small picture, so that the network runs once and not once a stream: four
    times fewer operations to start.

    The hidden layer's weights start positive, as its inputs are: narrow gates have one or two hidden units, and one
    that starts below zero for every image never learns (in int8 its range is empty, which XNNPACK refuses).
    """
    channels = streams[0].shape[-1]
    pooled = [
        keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool{number}")(stream)
        for number, stream in enumerate(streams, start=1)
    ]
    rows = keras.layers.Concatenate(axis=1, name=f"{name}_rows")(pooled)
    hidden = keras.layers.Conv2D(
        max(1, channels // GATE_REDUCTION),
        1,
        activation="relu",
        kernel_initializer=keras.initializers.RandomUniform(0.0, 4 / channels),
        name=f"{name}_reduce",
    )(rows)
    shares = keras.layers.Conv2D(
        channels, 1, activation="sigmoid", kernel_initializer="he_normal", name=f"{name}_expand"
    )(hidden)
    last = len(streams) - 1
    rows_of_shares = [
        keras.layers.Cropping2D(((number, last - number), (0, 0)), name=f"{name}_row{number + 1}")(shares)
        for number in range(len(streams))
    ]
    return [
        keras.layers.Multiply(name=f"{name}_{number}")([stream, row])
        for number, (stream, row) in enumerate(zip(streams, rows_of_shares, strict=True), start=1)
    ]
