"""Layers that several networks are made of: convolutions without offset, each followed by batch normalization."""

from __future__ import annotations

from typing import Any

import keras

BATCH_NORM_EPSILON = 1e-5
"""What the papers' own implementations add to the variance."""


def convolution(
    x: Any, filters: int, size: int, name: str, *, stride: int = 1, activation: str | None = "relu", norm: bool = True
) -> Any:
    """Convolution, batch normalization, activation; names are ``<name>_conv``, ``<name>_bn``, ``<name>_<activation>``.

    Args:
        x: (B, h, w, C).
        filters: output channels.
        size: kernel size.
        name: beginning of the layers' names.
        stride: of the convolution.
        activation: ``relu``, ``relu6``, or None for none.
        norm: whether there is a batch normalization.
    """
    x = keras.layers.Conv2D(
        filters, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return _norm_and_activation(x, name, activation, norm=norm)


def depthwise(x: Any, size: int, name: str, *, stride: int = 1, activation: str | None = "relu") -> Any:
    """Depthwise convolution, batch normalization, activation; names as in :func:`convolution`."""
    x = keras.layers.DepthwiseConv2D(
        size, stride, padding="same", use_bias=False, depthwise_initializer="he_normal", name=f"{name}_dw"
    )(x)
    return _norm_and_activation(x, name, activation)


def _norm_and_activation(x: Any, name: str, activation: str | None, *, norm: bool = True) -> Any:
    if norm:
        x = keras.layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{name}_bn")(x)
    if activation is None:
        return x
    ceiling = 6.0 if activation == "relu6" else None
    return keras.layers.ReLU(ceiling, name=f"{name}_{activation}")(x)
