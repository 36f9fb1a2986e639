"""Batch normalization that trains through TensorFlow's fused kernel.

Keras 3 computes it from separate sums, differences and products, each a pass over the whole feature map; for a network
of many narrow layers these passes are most of a training step. The fused kernel gives the same numbers in two passes.
"""

from __future__ import annotations

import types
from typing import Any

import keras
import tensorflow as tf

_LEAST_EPSILON = 1e-5
"""What the kernels of some devices ask for."""


def fuse_batch_norm(model: keras.Model) -> int:
    """Lets all batch normalizations of feature maps in ``model`` train through the fused kernel.

    Only how they are computed in training changes: their class stays Keras's own, and so do files, copies of the
    model, converters, inference and frozen layers. Moving statistics are updated as Keras does it, without Bessel's
    correction.

    Args:
        model: a built network; layers of models inside it are found too.

    Returns:
        How many layers were changed; ones that cannot be (another axis, renormalization, synchronization over devices,
        subclasses) stay as they are.
    """
    layers = [layer for layer in model._flatten_layers(include_self=False) if _can_be_fused(layer)]
    for layer in layers:
        layer.call = types.MethodType(_fused_call, layer)
    return len(layers)


def _can_be_fused(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.built
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and not layer.synchronized
        and not getattr(layer, "renorm", False)
        and layer.epsilon >= _LEAST_EPSILON
    )


def _fused_call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """Stands in for ``BatchNormalization.call`` on inputs (B, h, w, C)."""
    if not training or not layer.trainable or mask is not None:
        return keras.layers.BatchNormalization.call(layer, inputs, training=training, mask=mask)
    given = tf.cast(inputs, tf.float32)  # as Keras does for the half precisions
    result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=given,
        scale=tf.convert_to_tensor(layer.gamma),
        offset=tf.convert_to_tensor(layer.beta),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    count = tf.cast(tf.size(given) // tf.shape(given)[-1], tf.float32)
    biased = variance * ((count - 1) / count)  # the kernel divides by count - 1
    keep = layer.momentum
    layer.moving_mean.assign(layer.moving_mean * keep + mean * (1 - keep))
    layer.moving_variance.assign(layer.moving_variance * keep + biased * (1 - keep))
    return tf.cast(result, layer.compute_dtype)
