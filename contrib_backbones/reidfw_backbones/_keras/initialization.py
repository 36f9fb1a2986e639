"""Random initial weights that depend on a seed alone, not on what was drawn before."""

from __future__ import annotations

import hashlib

import keras


def seed_weights(model: keras.Model, seed: int) -> None:
    """Draws the kernels of all convolutions anew, each from its layer's initializer with a seed of its own.

    Keras layers draw their initial weights from a global generator. Drawing them again from seeded copies of the same
    initializers gives the same distribution, leaves the global state of Python, NumPy and Keras alone, and makes the
    weights of a layer independent of how many layers stand before it. All other weights start from constants.

    Args:
        model: a built model of convolutions and constant-initialized layers.
        seed: any integer.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            initializer = layer.depthwise_initializer
        elif isinstance(layer, keras.layers.Conv2D):
            initializer = layer.kernel_initializer
        else:
            continue
        seeded = type(initializer).from_config({**initializer.get_config(), "seed": _layer_seed(seed, layer.name)})
        layer.kernel.assign(seeded(layer.kernel.shape, layer.kernel.dtype))


def seed_dropout(model: keras.Model, seed: int) -> None:
    """Seeds all dropout layers, each with a seed of its own: a training draws the same ones again.

    Args:
        model: a built model.
        seed: any integer.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed = _layer_seed(seed, layer.name)
            layer.seed_generator.state.assign([layer.seed, 0])


def _layer_seed(seed: int, layer_name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{layer_name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
