"""MobileNetV1 and MobileNetV2, one component for each width."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from reidfw_core.api import Backbone, DataError, PixelRange, hookimpl, variant


@dataclass(frozen=True, slots=True)
class Architecture:
    """One member of the MobileNet family, without classifier.

    Attributes:
        name: the name users write.
        version: 1 or 2.
        alpha: width multiplier.
        feature_dim: channels D of the feature map.
        num_parameters: numbers in all weights for an RGB input, statistics of batch normalization included.
    """

    name: str
    version: Literal[1, 2]
    alpha: float
    feature_dim: int
    num_parameters: int

    def __str__(self) -> str:
        return f"MobileNetV{self.version}, width {self.alpha:g}, {self.num_parameters:,} parameters"


ARCHITECTURES = MappingProxyType(
    {
        architecture.name: architecture
        for architecture in (
            Architecture("mobilenetv1_a025", 1, 0.25, 256, 218_544),
            Architecture("mobilenetv1_a050", 1, 0.50, 512, 829_536),
            Architecture("mobilenetv1_a075", 1, 0.75, 768, 1_832_976),
            Architecture("mobilenetv1_a100", 1, 1.00, 1024, 3_228_864),
            Architecture("mobilenetv2_a035", 2, 0.35, 1280, 410_208),
            Architecture("mobilenetv2_a050", 2, 0.50, 1280, 706_224),
            Architecture("mobilenetv2_a075", 2, 0.75, 1280, 1_382_064),
            Architecture("mobilenetv2_a100", 2, 1.00, 1280, 2_257_984),
            Architecture("mobilenetv2_a130", 2, 1.30, 1664, 3_766_048),
            Architecture("mobilenetv2_a140", 2, 1.40, 1792, 4_363_712),
        )
    }
)
"""All members by name."""


class MobileNet(Backbone):
    """A network of depthwise separable convolutions; each subclass presets one architecture.

    The image (B, H, W, C) float32 becomes a feature map (B, h, w, D) float32: h = H / 32 and
    w = W / 32, rounded where they are no whole numbers.

    Random weights depend on the seed and the architecture alone. ``pretrained`` weights are ImageNet's as Keras
    publishes them (trained at the input size where there is such a file, at 224 x 224 otherwise), or those of a file:
    weights (``.weights.h5``, or a ``.h5`` of Keras 2) or a whole model of this architecture (``.keras``, ``.h5``)
    with any layers behind it. Where the weights are for RGB and the input is grayscale, the first kernel is summed
    over its input channels: the same function as giving the gray image three times.

    Source: Howard et al., MobileNets, 2017 (version 1); Sandler et al., MobileNetV2, CVPR 2018 (version 2).
    """

    expects = PixelRange(-1.0, 1.0)
    min_input_px = 32
    architecture: ClassVar[Architecture]

    @hookimpl
    def build_backbone(self, input_shape: tuple[int, int, int], pretrained: bool | Path, seed: int) -> Any:
        """Builds the network up to and without pooling; see :mod:`reidfw_core.hookspecs.backbones`.

        Raises:
            DataError: the input is too small, or has a number of channels that the weights cannot serve; the
                weights file does not fit.
            ServiceError: the ImageNet weights are not in Keras's cache and cannot be downloaded.
        """
        height, width, _ = input_shape
        if min(height, width) < self.min_input_px:
            raise DataError(
                f"{self.architecture.name} takes images of at least {self.min_input_px} x {self.min_input_px} px; "
                f"model.input_shape is {tuple(input_shape)}"
            )
        from ._keras.mobilenet import build_mobilenet

        return build_mobilenet(self.architecture, input_shape, pretrained, seed)


def _mobilenet(class_name: str, architecture_name: str) -> Any:
    architecture = ARCHITECTURES[architecture_name]
    version_source = {1: "Howard et al., MobileNets, 2017", 2: "Sandler et al., MobileNetV2, CVPR 2018"}
    doc = (
        f"MobileNetV{architecture.version}, width multiplier {architecture.alpha:g}.\n\n"
        f"{architecture.num_parameters:,} parameters, embeddings of {architecture.feature_dim} numbers, "
        f"ImageNet weights for pixels in {MobileNet.expects}.\n\nSource: {version_source[architecture.version]}."
    )
    return variant(MobileNet, class_name, doc=doc, architecture=architecture)


MobileNetV1A025 = _mobilenet("MobileNetV1A025", "mobilenetv1_a025")
MobileNetV1A050 = _mobilenet("MobileNetV1A050", "mobilenetv1_a050")
MobileNetV1A075 = _mobilenet("MobileNetV1A075", "mobilenetv1_a075")
MobileNetV1A100 = _mobilenet("MobileNetV1A100", "mobilenetv1_a100")
MobileNetV2A035 = _mobilenet("MobileNetV2A035", "mobilenetv2_a035")
MobileNetV2A050 = _mobilenet("MobileNetV2A050", "mobilenetv2_a050")
MobileNetV2A075 = _mobilenet("MobileNetV2A075", "mobilenetv2_a075")
MobileNetV2A100 = _mobilenet("MobileNetV2A100", "mobilenetv2_a100")
MobileNetV2A130 = _mobilenet("MobileNetV2A130", "mobilenetv2_a130")
MobileNetV2A140 = _mobilenet("MobileNetV2A140", "mobilenetv2_a140")
