"""All backbones but the MobileNets of versions 1 and 2, as a table: one component for each line of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from reidfw_core.api import Backbone, DataError, PixelRange, hookimpl, variant

_KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications/"

_OSNET = 'K. Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019'
_RESNET = 'K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016'
_RESNET_V2 = 'K. He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016'
_EFFICIENTNET_V2 = 'M. Tan, Q. Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021'
_MOBILENET_V3 = 'A. Howard et al., "Searching for MobileNetV3", ICCV 2019'
_EFFICIENTNET_LITE = 'M. Tan, Q. Le, "EfficientNet", ICML 2019, in the Lite version of the authors\' repository'
_FD_MOBILENET = 'Z. Qin et al., "FD-MobileNet: Improved MobileNet with a Fast Downsampling Strategy", 2018'
_SQUEEZENET = 'F. Iandola et al., "SqueezeNet", 2016, version 1.1'


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network, without classifier.

    Attributes:
        name: the name users write.
        family: how it is built: a name of ``_keras.members``, or a function of ``keras.applications``.
        source: the paper.
        feature_dim: channels D of the feature map.
        num_parameters: numbers in all weights for an RGB input, statistics of batch normalization included.
        options: arguments of the builder.
        weights_file: where Keras publishes ImageNet weights without classifier, None where nobody does.
        ignores_pretrained: ``pretrained: True`` is a warning and no error where there are no such weights, as it is in
            the services.
        wants_normalized: the published weights were trained on pixels normalized by ImageNet's mean and deviation; the
            loader makes them take [-1, 1].
        min_input_px: smallest height and width that it takes, in pixels.
    """

    name: str
    family: str
    source: str
    feature_dim: int
    num_parameters: int
    options: Mapping[str, Any] = field(default_factory=dict)
    weights_file: str | None = None
    ignores_pretrained: bool = False
    wants_normalized: bool = False
    min_input_px: int = 32

    @property
    def weights_url(self) -> str | None:
        """Address of the published weights."""
        return None if self.weights_file is None else _KERAS_WEIGHTS + self.weights_file


MEMBERS = MappingProxyType(
    {
        member.name: member
        for member in (
            Member(
                name="osnet_a025",
                family="osnet",
                source=_OSNET,
                feature_dim=128,
                num_parameters=140_296,
                options={"widths": (16, 64, 96, 128)},
                ignores_pretrained=True,
            ),
            Member(
                name="osnet_a050",
                family="osnet",
                source=_OSNET,
                feature_dim=256,
                num_parameters=508_434,
                options={"widths": (32, 128, 192, 256)},
                ignores_pretrained=True,
            ),
            Member(
                name="osnet_a075",
                family="osnet",
                source=_OSNET,
                feature_dim=384,
                num_parameters=1_104_122,
                options={"widths": (48, 192, 288, 384)},
                ignores_pretrained=True,
            ),
            Member(
                name="osnet_a100",
                family="osnet",
                source=_OSNET,
                feature_dim=512,
                num_parameters=1_927_844,
                options={"widths": (64, 256, 384, 512)},
                ignores_pretrained=True,
            ),
            Member(
                name="resnet8",
                family="small_resnet",
                source=_RESNET,
                feature_dim=64,
                num_parameters=77_680,
                options={"blocks_per_stage": 1},
                ignores_pretrained=True,
            ),
            Member(
                name="resnet20",
                family="small_resnet",
                source=_RESNET,
                feature_dim=64,
                num_parameters=273_008,
                options={"blocks_per_stage": 3},
                ignores_pretrained=True,
            ),
            Member(
                name="resnet32",
                family="small_resnet",
                source=_RESNET,
                feature_dim=64,
                num_parameters=468_336,
                options={"blocks_per_stage": 5},
                ignores_pretrained=True,
            ),
            Member(
                name="resnet50v2",
                family="ResNet50V2",
                source=_RESNET_V2,
                feature_dim=2048,
                num_parameters=23_564_800,
                weights_file="resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            ),
            Member(
                name="efficientnetv2b0",
                family="EfficientNetV2B0",
                source=_EFFICIENTNET_V2,
                feature_dim=1280,
                num_parameters=5_919_312,
                options={"include_preprocessing": False},
                weights_file="efficientnet_v2/efficientnetv2-b0_notop.h5",
                wants_normalized=True,
            ),
            Member(
                name="efficientnetv2b1",
                family="EfficientNetV2B1",
                source=_EFFICIENTNET_V2,
                feature_dim=1280,
                num_parameters=6_931_124,
                options={"include_preprocessing": False},
                weights_file="efficientnet_v2/efficientnetv2-b1_notop.h5",
                wants_normalized=True,
            ),
            Member(
                name="efficientnetv2b2",
                family="EfficientNetV2B2",
                source=_EFFICIENTNET_V2,
                feature_dim=1408,
                num_parameters=8_769_374,
                options={"include_preprocessing": False},
                weights_file="efficientnet_v2/efficientnetv2-b2_notop.h5",
                wants_normalized=True,
            ),
            Member(
                name="efficientnetv2b3",
                family="EfficientNetV2B3",
                source=_EFFICIENTNET_V2,
                feature_dim=1536,
                num_parameters=12_930_622,
                options={"include_preprocessing": False},
                weights_file="efficientnet_v2/efficientnetv2-b3_notop.h5",
                wants_normalized=True,
            ),
            Member(
                name="efficientnetv2s",
                family="EfficientNetV2S",
                source=_EFFICIENTNET_V2,
                feature_dim=1280,
                num_parameters=20_331_360,
                options={"include_preprocessing": False},
                weights_file="efficientnet_v2/efficientnetv2-s_notop.h5",
            ),
            Member(
                name="mobilenetv3_small_a075",
                family="MobileNetV3Small",
                source=_MOBILENET_V3,
                feature_dim=432,
                num_parameters=583_160,
                options={"alpha": 0.75, "include_preprocessing": False},
                weights_file="mobilenet_v3/weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5",
            ),
            Member(
                name="mobilenetv3_small_a100",
                family="MobileNetV3Small",
                source=_MOBILENET_V3,
                feature_dim=576,
                num_parameters=939_120,
                options={"alpha": 1.0, "include_preprocessing": False},
                weights_file="mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
            ),
            Member(
                name="mobilenetv3_large_a075",
                family="MobileNetV3Large",
                source=_MOBILENET_V3,
                feature_dim=720,
                num_parameters=1_808_736,
                options={"alpha": 0.75, "include_preprocessing": False},
                weights_file="mobilenet_v3/weights_mobilenet_v3_large_224_0.75_float_no_top_v2.h5",
            ),
            Member(
                name="mobilenetv3_large_a100",
                family="MobileNetV3Large",
                source=_MOBILENET_V3,
                feature_dim=960,
                num_parameters=2_996_352,
                options={"alpha": 1.0, "include_preprocessing": False},
                weights_file="mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            ),
            Member(
                name="efficientnet_lite0",
                family="efficientnet_lite",
                source=_EFFICIENTNET_LITE,
                feature_dim=1280,
                num_parameters=3_413_024,
                options={"width": 1.0, "depth": 1.0},
            ),
            Member(
                name="efficientnet_lite1",
                family="efficientnet_lite",
                source=_EFFICIENTNET_LITE,
                feature_dim=1280,
                num_parameters=4_189_344,
                options={"width": 1.0, "depth": 1.1},
            ),
            Member(
                name="efficientnet_lite2",
                family="efficientnet_lite",
                source=_EFFICIENTNET_LITE,
                feature_dim=1280,
                num_parameters=4_869_168,
                options={"width": 1.1, "depth": 1.2},
            ),
            Member(
                name="efficientnet_lite3",
                family="efficientnet_lite",
                source=_EFFICIENTNET_LITE,
                feature_dim=1280,
                num_parameters=6_992_768,
                options={"width": 1.2, "depth": 1.4},
            ),
            Member(
                name="efficientnet_lite4",
                family="efficientnet_lite",
                source=_EFFICIENTNET_LITE,
                feature_dim=1280,
                num_parameters=11_837_936,
                options={"width": 1.4, "depth": 1.8},
            ),
            Member(
                name="fdmobilenet_a025",
                family="fd_mobilenet",
                source=_FD_MOBILENET,
                feature_dim=256,
                num_parameters=130_096,
                options={"alpha": 0.25},
            ),
            Member(
                name="fdmobilenet_a050",
                family="fd_mobilenet",
                source=_FD_MOBILENET,
                feature_dim=512,
                num_parameters=488_800,
                options={"alpha": 0.5},
            ),
            Member(
                name="fdmobilenet_a075",
                family="fd_mobilenet",
                source=_FD_MOBILENET,
                feature_dim=768,
                num_parameters=1_076_112,
                options={"alpha": 0.75},
            ),
            Member(
                name="fdmobilenet_a100",
                family="fd_mobilenet",
                source=_FD_MOBILENET,
                feature_dim=1024,
                num_parameters=1_892_032,
                options={"alpha": 1.0},
            ),
            Member(
                name="squeezenetv11", family="squeezenet", source=_SQUEEZENET, feature_dim=512, num_parameters=722_496
            ),
        )
    }
)
"""All members by name."""


class Network(Backbone):
    """A network of the table; each subclass presets one member.

    The image (B, H, W, C) float32 becomes a feature map (B, h, w, D) float32. Random weights depend on the seed and the
    network alone. ``pretrained`` takes ImageNet's weights where Keras publishes them, or those of a file: weights
    (``.weights.h5``, or a ``.h5`` of Keras 2) or a whole model of this network (``.keras``, ``.h5``) with any layers
    behind it. Where the weights are for RGB and the input is grayscale, the first kernel is summed over its input
    channels.
    """

    expects = PixelRange(-1.0, 1.0)
    member: ClassVar[Member]

    @hookimpl
    def build_backbone(self, input_shape: tuple[int, int, int], pretrained: bool | Path, seed: int) -> Any:
        """Builds the network up to and without pooling; see :mod:`reidfw_core.hookspecs.backbones`.

        Raises:
            DataError: the input is too small, the weights file does not fit, or there are no ImageNet weights.
            ServiceError: the ImageNet weights are not in Keras's cache and cannot be downloaded.
        """
        height, width, _ = input_shape
        least = self.member.min_input_px
        if min(height, width) < least:
            raise DataError(
                f"{self.member.name} takes images of at least {least} x {least} px; model.input_shape is "
                f"{tuple(input_shape)}"
            )
        from ._keras.members import build_member

        return build_member(self.member, input_shape, pretrained, seed)


def _network(class_name: str, name: str) -> Any:
    member = MEMBERS[name]
    weights = "ImageNet weights from Keras" if member.weights_file else "no ImageNet weights"
    doc = (
        f"{class_name}: {member.num_parameters:,} parameters, embeddings of {member.feature_dim} numbers, {weights}."
        "\n\n"
        f"Source: {member.source}."
    )
    return variant(Network, class_name, doc=doc, member=member, min_input_px=member.min_input_px)


OSNetA025 = _network("OSNetA025", "osnet_a025")
OSNetA050 = _network("OSNetA050", "osnet_a050")
OSNetA075 = _network("OSNetA075", "osnet_a075")
OSNetA100 = _network("OSNetA100", "osnet_a100")
ResNet8 = _network("ResNet8", "resnet8")
ResNet20 = _network("ResNet20", "resnet20")
ResNet32 = _network("ResNet32", "resnet32")
ResNet50V2 = _network("ResNet50V2", "resnet50v2")
EfficientNetV2B0 = _network("EfficientNetV2B0", "efficientnetv2b0")
EfficientNetV2B1 = _network("EfficientNetV2B1", "efficientnetv2b1")
EfficientNetV2B2 = _network("EfficientNetV2B2", "efficientnetv2b2")
EfficientNetV2B3 = _network("EfficientNetV2B3", "efficientnetv2b3")
EfficientNetV2S = _network("EfficientNetV2S", "efficientnetv2s")
MobileNetV3SmallA075 = _network("MobileNetV3SmallA075", "mobilenetv3_small_a075")
MobileNetV3SmallA100 = _network("MobileNetV3SmallA100", "mobilenetv3_small_a100")
MobileNetV3LargeA075 = _network("MobileNetV3LargeA075", "mobilenetv3_large_a075")
MobileNetV3LargeA100 = _network("MobileNetV3LargeA100", "mobilenetv3_large_a100")
EfficientNetLite0 = _network("EfficientNetLite0", "efficientnet_lite0")
EfficientNetLite1 = _network("EfficientNetLite1", "efficientnet_lite1")
EfficientNetLite2 = _network("EfficientNetLite2", "efficientnet_lite2")
EfficientNetLite3 = _network("EfficientNetLite3", "efficientnet_lite3")
EfficientNetLite4 = _network("EfficientNetLite4", "efficientnet_lite4")
FDMobileNetA025 = _network("FDMobileNetA025", "fdmobilenet_a025")
FDMobileNetA050 = _network("FDMobileNetA050", "fdmobilenet_a050")
FDMobileNetA075 = _network("FDMobileNetA075", "fdmobilenet_a075")
FDMobileNetA100 = _network("FDMobileNetA100", "fdmobilenet_a100")
SqueezeNetV11 = _network("SqueezeNetV11", "squeezenetv11")
