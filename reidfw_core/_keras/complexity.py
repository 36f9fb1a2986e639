"""What a network costs: parameters and multiply-accumulate operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True, slots=True)
class Complexity:
    """Cost of one inference.

    Attributes:
        parameters: numbers in all weights, statistics of batch normalization included.
        macs: multiply-accumulate operations of convolutions and dense layers; all others are few beside them.
        largest_tensor: numbers in the largest tensor between two layers.
        largest_pair: most numbers that a layer's inputs and output hold together: the least that any execution layer
            by layer needs.
    """

    parameters: int
    macs: int
    largest_tensor: int
    largest_pair: int


def complexity(model: keras.Model) -> Complexity:
    """Counts a functional model for one image.

    A layer that is called several times is counted each time.

    Args:
        model: with a known input shape.
    """
    macs = largest = pair = 0
    for layer in model._flatten_layers(include_self=False):
        for node in layer._inbound_nodes:
            output = node.output_tensors[0].shape
            largest = max(largest, _numbers(output))
            if type(layer).__name__ not in _IN_PLACE:
                pair = max(pair, _numbers(output) + sum(_numbers(tensor.shape) for tensor in node.input_tensors))
            macs += _layer_macs(layer, output)
    return Complexity(model.count_params(), macs, largest, pair)


_IN_PLACE = frozenset({"InputLayer", "BatchNormalization", "ReLU", "Activation", "Dropout", "ZeroPadding2D", "Add"})
"""Layers that a converter fuses into their neighbours, or that need no memory of their own."""


def _numbers(shape: tuple[Any, ...]) -> int:
    return math.prod(size for size in shape[1:] if size)


def _layer_macs(layer: keras.layers.Layer, output: tuple[Any, ...]) -> int:
    if isinstance(layer, keras.layers.SeparableConv2D):
        depthwise, pointwise = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
        return int(math.prod(output[1:-1]) * (math.prod(depthwise) + math.prod(pointwise)))
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        rows, columns = layer.kernel_size
        return int(math.prod(output[1:]) * rows * columns)
    if isinstance(layer, keras.layers.Conv2D):
        return int(math.prod(output[1:]) * math.prod(layer.kernel.shape[:3]))
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(output[1:]) * layer.kernel.shape[0])
    return 0
