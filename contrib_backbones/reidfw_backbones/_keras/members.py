"""Builds the members of :mod:`reidfw_backbones.networks`, and gives them their weights."""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from reidfw_backbones._keras import osnet, small
from reidfw_backbones._keras.downloads import download
from reidfw_backbones._keras.initialization import seed_dropout, seed_weights
from reidfw_backbones._keras.weights import load_pretrained
from reidfw_backbones.networks import Member
from reidfw_backbones.sizes import NUM_PARAMETERS
from reidfw_core.api import DataError

logger = logging.getLogger(__name__)

_AUTOMATIC_NAME = re.compile(r"(activation|add|multiply|re_lu|max_pooling2d)(_\d+)?")
"""What Keras calls the layers and operations that ``keras.applications`` gives no name."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of pixels in [0, 1], for red, green and blue."""

_OWN: Mapping[str, Callable[..., Any]] = {
    "osnet": osnet.build_osnet,
    "small_resnet": small.build_small_resnet,
    "fd_mobilenet": small.build_fd_mobilenet,
    "squeezenet": small.build_squeezenet,
    "efficientnet_lite": small.build_efficientnet_lite,
}


def build_member(member: Member, input_shape: tuple[int, int, int], pretrained: bool | Path, seed: int) -> keras.Model:
    """Builds a network without classifier and gives it its weights.

    Args:
        member: which one.
        input_shape: (H, W, C) in pixels and channels.
        pretrained: False for random weights, True for ImageNet's, or a file.
        seed: seeds the random weights.

    Raises:
        DataError: the weights file does not fit, or there are no ImageNet weights for this network.
        ServiceError: the weights cannot be downloaded.
    """

    def build(channels: int) -> keras.Model:
        return _build(member, (*input_shape[:2], channels))

    model = build(input_shape[2])
    source = _weights_file(member, pretrained)
    if source is None:
        seed_weights(model, seed)
    else:
        adapt = _absorb_imagenet_normalization if member.wants_normalized else None
        load_pretrained(model, source, build, NUM_PARAMETERS, adapt)
    seed_dropout(model, seed)
    return model


def _weights_file(member: Member, pretrained: bool | Path) -> Path | None:
    if pretrained is True:
        if member.weights_url is not None:
            return download(member.weights_url)
        message = f"There are no ImageNet weights for {member.name}"
        if not member.ignores_pretrained:
            raise DataError(
                f"model.pretrained: {message[0].lower()}{message[1:]}",
                hint="Give the path of a weights file, set model.pretrained: False, or choose a backbone that has them "
                "(reidfw list backbones).",
            )
        logger.warning("%s: it starts from random weights", message)
        return None
    return None if pretrained is False else pretrained


def _build(member: Member, input_shape: tuple[int, int, int]) -> keras.Model:
    if member.family in _OWN:
        image = keras.Input(input_shape, name="image")
        return keras.Model(image, _OWN[member.family](image, **member.options), name=member.name)
    constructor = getattr(keras.applications, member.family)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")  # random weights take any
        model = constructor(
            input_shape=input_shape,
            input_tensor=keras.Input(input_shape, name="image"),
            include_top=False,
            weights=None,
            **member.options,
        )
    _number_unnamed_layers(model)
    return keras.Model(model.inputs[0], model.outputs[0], name=member.name)  # some constructors need their own name


def _number_unnamed_layers(model: keras.Model) -> None:
    """Gives names that do not depend on what was built before, where ``keras.applications`` leaves them to Keras."""
    counts: Counter[str] = Counter()
    for operation in model.operations:
        automatic = _AUTOMATIC_NAME.fullmatch(operation.name)
        if automatic is not None:
            counts[automatic[1]] += 1
            operation.name = f"{automatic[1]}_{counts[automatic[1]]}"


def _absorb_imagenet_normalization(model: keras.Model) -> None:
    """Lets weights that were trained on ImageNet-normalized pixels take pixels in [-1, 1].

    (0.5 x + 0.5 - mean) / deviation is a factor for each input channel, which goes into the stem's kernel, and an
    offset, which goes into the mean of the batch normalization behind it; the same function but for the image's
    border, where the convolution pads.
    """
    stem, norm = model.get_layer("stem_conv"), model.get_layer("stem_bn")
    mean, deviation = np.array(_IMAGENET_MEAN), np.array(_IMAGENET_DEVIATION)
    kernel = np.asarray(stem.kernel)
    offsets = (kernel * ((0.5 - mean) / deviation)[:, None]).sum((0, 1, 2))
    stem.kernel.assign(kernel * (0.5 / deviation)[:, None])
    norm.moving_mean.assign(np.asarray(norm.moving_mean) - offsets)
