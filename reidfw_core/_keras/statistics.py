"""Population statistics of batch normalization, measured instead of averaged along the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def batch_norm_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch normalization layers whose statistics move in training, nested models included."""
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def set_batch_norm_momentum(model: keras.Model, momentum: float) -> None:
    """Sets the momentum of all batch normalization layers (the share that the old average keeps at each step)."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def measure_batch_norm(model: keras.Model, batches: Iterable[Any]) -> None:
    """Replaces the moving mean and variance by those of ``batches`` under the current weights.

    The moving averages of a short training lag behind the weights, which makes a sound network look collapsed at
    inference. Each layer's statistics are the averages over batches of its batch mean and batch variance.

    Source: Y. Wu, J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 ("PreciseBN").

    Args:
        model: the model; nothing but the moving statistics changes.
        batches: (B, H, W, C) float32 images as in training, not augmented.
    """
    layers = batch_norm_layers(model)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    sums = [(np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_variance.shape)) for layer in layers]
    count = 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # each batch then leaves exactly its own statistics behind
        forward = tf.function(lambda images: model(images, training=True), reduce_retracing=True)
        for images in batches:
            forward(images)
            count += 1
            for layer, (mean, variance) in zip(layers, sums, strict=True):
                mean += layer.moving_mean.numpy()
                variance += layer.moving_variance.numpy()
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if count:
        for layer, (mean, variance) in zip(layers, sums, strict=True):
            layer.moving_mean.assign(mean / count)
            layer.moving_variance.assign(variance / count)
