"""Batch normalization statistics: how fast they follow the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def batch_norm_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """All batch normalization layers, those of nested models included."""
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def set_batch_norm_momentum(model: keras.Model, momentum: float) -> None:
    """Sets the share that the moving statistics keep of their old value at each step.

    Keras builds networks with 0.99 or 0.999. With eight steps an epoch the statistics then lag behind the weights
    for most of a training, and at inference every image gets nearly the same embedding, though the network is sound.
    """
    for layer in batch_norm_layers(model):
        layer.momentum = momentum


class BatchNormMeter:
    """Measures the moving mean and variance of a model's batch normalizations anew; made once, used many times.

    Each layer's statistics become the averages of its batch means and batch variances. Layers that are frozen keep
    theirs.

    Source: Y. Wu, J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 ("PreciseBN").

    Args:
        model: the model; nothing but the moving statistics changes.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._layers = [layer for layer in batch_norm_layers(model) if layer.trainable]
        self._forward = tf.function(lambda images: model(images, training=True), reduce_retracing=True)

    def measure(self, batches: Iterable[Any]) -> None:
        """Replaces the statistics by those of ``batches`` under the present weights.

        Args:
            batches: (B, H, W, C) float32 images as in training, not augmented.
        """
        if not self._layers:
            return
        momenta = [layer.momentum for layer in self._layers]
        sums = [(np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_variance.shape)) for layer in self._layers]
        count = 0
        try:
            for layer in self._layers:
                layer.momentum = 0.0  # each batch then leaves exactly its own statistics behind
            for images in batches:
                self._forward(images)
                count += 1
                for layer, (means, variances) in zip(self._layers, sums, strict=True):
                    np.add(means, layer.moving_mean.numpy(), out=means)
                    np.add(variances, layer.moving_variance.numpy(), out=variances)
        finally:
            for layer, momentum in zip(self._layers, momenta, strict=True):
                layer.momentum = momentum
        for layer, (mean, variance) in zip(self._layers, sums, strict=True):
            layer.moving_mean.assign(mean / max(1, count))
            layer.moving_variance.assign(variance / max(1, count))
