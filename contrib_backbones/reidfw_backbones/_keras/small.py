"""Networks without published weights: ResNets for small images, FD-MobileNet, SqueezeNet, EfficientNet-Lite."""

from __future__ import annotations

import math
from typing import Any

import keras

from reidfw_backbones._keras.blocks import convolution, depthwise


def build_small_resnet(image: Any, blocks_per_stage: int) -> Any:
    """ResNet for small images: three stages of 16, 32 and 64 channels.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2016, section 4.2; with a
    1 x 1 convolution where the shape changes, as ResNet-8 of MLPerf Tiny has it.

    Args:
        image: (B, H, W, C).
        blocks_per_stage: n; the network has 6 n + 2 layers.

    Returns:
        (B, H / 4, W / 4, 64).
    """
    x = convolution(image, 16, 3, "stem")
    for stage, channels in enumerate((16, 32, 64), start=1):
        for block in range(1, blocks_per_stage + 1):
            name, stride = f"stage{stage}_{block}", 2 if stage > 1 and block == 1 else 1
            y = convolution(x, channels, 3, f"{name}a", stride=stride)
            y = convolution(y, channels, 3, f"{name}b", activation=None)
            if stride > 1:
                x = convolution(x, channels, 1, f"{name}s", stride=stride, activation=None, norm=False)
            x = keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, y]))
    return x


def build_fd_mobilenet(image: Any, alpha: float) -> Any:
    """Fast-downsampling MobileNet: at a thirty-second of the size after a few layers.

    Source: Z. Qin, Z. Zhang, X. Chen, Y. Peng, "FD-MobileNet: Improved MobileNet with a Fast Downsampling Strategy",
    2018, table 1.

    Args:
        image: (B, H, W, C).
        alpha: width multiplier.

    Returns:
        (B, H / 32, W / 32, 1024 alpha).
    """
    x = convolution(image, round(32 * alpha), 3, "stem", stride=2)
    layers = [(64, 2), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 4, (1024, 1)]
    for number, (channels, stride) in enumerate(layers, start=1):
        x = depthwise(x, 3, f"block{number}_depth", stride=stride)
        x = convolution(x, round(channels * alpha), 1, f"block{number}_point")
    return x


def build_squeezenet(image: Any) -> Any:
    """SqueezeNet 1.1: fire modules, offsets instead of batch normalization.

    Source: F. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016, section 3; version
    1.1 of the authors' repository, with padding "same".

    Args:
        image: (B, H, W, C).

    Returns:
        (B, H / 16, W / 16, 512).
    """

    def layer(x: Any, filters: int, size: int, name: str, stride: int = 1) -> Any:
        return keras.layers.Conv2D(
            filters, size, stride, padding="same", activation="relu", kernel_initializer="he_normal", name=name
        )(x)

    x = layer(image, 64, 3, "stem", stride=2)
    for number, squeezed in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        if number in (2, 4, 6):
            x = keras.layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(x)
        small = layer(x, squeezed, 1, f"fire{number}_squeeze")
        x = keras.layers.Concatenate(name=f"fire{number}")(
            [
                layer(small, 4 * squeezed, 1, f"fire{number}_expand1"),
                layer(small, 4 * squeezed, 3, f"fire{number}_expand3"),
            ]
        )
    return x


def build_efficientnet_lite(image: Any, width: float, depth: float) -> Any:
    """EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6, stem and head of fixed width.

    Source: M. Tan, Q. Le, "EfficientNet", 2019, table 1; the changes and the coefficients of the Lite versions are
    those of the authors' repository.

    Args:
        image: (B, H, W, C).
        width, depth: factors for channels and repetitions.

    Returns:
        (B, H / 32, W / 32, 1280).
    """
    stages = (
        # kernel, stride, expansion, channels, repetitions
        (3, 1, 1, 16, 1),
        (3, 2, 6, 24, 2),
        (5, 2, 6, 40, 2),
        (3, 2, 6, 80, 3),
        (5, 1, 6, 112, 3),
        (5, 2, 6, 192, 4),
        (3, 1, 6, 320, 1),
    )
    x = convolution(image, 32, 3, "stem", stride=2, activation="relu6")
    for stage, (size, stride, expansion, channels, repetitions) in enumerate(stages, start=1):
        is_end = stage in (1, len(stages))
        for block in range(1, (repetitions if is_end else math.ceil(depth * repetitions)) + 1):
            step, filters = stride if block == 1 else 1, _round_channels(width * channels)
            x = _inverted_residual(x, size, step, expansion, filters, f"stage{stage}_{block}")
    return convolution(x, 1280, 1, "head", activation="relu6")


def _inverted_residual(x: Any, size: int, stride: int, expansion: int, channels: int, name: str) -> Any:
    given = x.shape[-1]
    y = x if expansion == 1 else convolution(x, expansion * given, 1, f"{name}_expand", activation="relu6")
    y = depthwise(y, size, f"{name}_depth", stride=stride, activation="relu6")
    y = convolution(y, channels, 1, f"{name}_project", activation=None)
    return keras.layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and given == channels else y


def _round_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
