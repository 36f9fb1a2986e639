"""Builds MobileNets through ``keras.applications``."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras

from reidfw_backbones._keras.downloads import download
from reidfw_backbones._keras.initialization import seed_weights
from reidfw_backbones._keras.weights import load_pretrained
from reidfw_backbones.mobilenet import Architecture
from reidfw_backbones.sizes import NUM_PARAMETERS

_CONSTRUCTORS = {1: keras.applications.MobileNet, 2: keras.applications.MobileNetV2}
_PUBLISHED_SIZES_PX = {1: (128, 160, 192, 224), 2: (96, 128, 160, 192, 224)}
_PUBLISHED_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/"


def build_mobilenet(
    architecture: Architecture, input_shape: tuple[int, int, int], pretrained: bool | Path, seed: int
) -> keras.Model:
    """Builds one architecture without classifier and gives it its weights.

    Args:
        architecture: which one.
        input_shape: (H, W, C) in pixels and channels.
        pretrained: False for random weights, True for ImageNet's, or a file.
        seed: seeds the random weights.

    Raises:
        DataError: the weights file does not fit.
        ServiceError: the weights cannot be downloaded.
    """

    def build(channels: int) -> keras.Model:
        with warnings.catch_warnings():  # random weights take any number of channels
            warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")
            return _CONSTRUCTORS[architecture.version](
                input_shape=(*input_shape[:2], channels),
                alpha=architecture.alpha,
                include_top=False,
                weights=None,
                name=architecture.name,
            )

    model = build(input_shape[2])
    if pretrained is False:
        seed_weights(model, seed)
        return model
    path = download(published_weights_url(architecture, input_shape)) if pretrained is True else pretrained
    load_pretrained(model, path, build, NUM_PARAMETERS)
    return model


def published_weights_url(architecture: Architecture, input_shape: tuple[int, int, int]) -> str:
    """Where Keras publishes the ImageNet weights without classifier.

    They exist for some square input sizes; for any other size the ones trained at 224 x 224 px are taken.
    """
    height, width, _ = input_shape
    size_px = height if height == width and height in _PUBLISHED_SIZES_PX[architecture.version] else 224
    if architecture.version == 1:
        width_text = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}[architecture.alpha]
        return f"{_PUBLISHED_FOLDER}mobilenet/mobilenet_{width_text}_{size_px}_tf_no_top.h5"
    kernels = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    return f"{_PUBLISHED_FOLDER}mobilenet_v2/{kernels}_{architecture.alpha}_{size_px}_no_top.h5"
