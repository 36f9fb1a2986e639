"""Augmentations that imitate cameras and files: sharpness, blur, noise, JPEG."""

from __future__ import annotations

from typing import Annotated, Literal

from reidfw_augmentations.component import AugmentationParams, LayerAugmentation
from reidfw_augmentations.ranges import IntRange, IntRangeOrValue, Range, RangeFromZero, within


class RandomSharpness(LayerAugmentation):
    """Adds a multiple of an image's detail to it; the outermost pixels stay as they are."""

    layer = "quality:RandomSharpness"

    class Params(AugmentationParams):
        """How far."""

        factor: Annotated[RangeFromZero, within(0)]
        """Multiple of the difference to a smoothed image; v means (0, v)."""


class RandomBlur(LayerAugmentation):
    """Replaces pixels by the mean of the n x n pixels around; one n for the whole batch."""

    layer = "quality:RandomBlur"

    class Params(AugmentationParams):
        """How far."""

        filter_size: Annotated[IntRangeOrValue, within(1)]
        """n in pixels; n means always n; both ends of a range can be drawn."""
        padding: Literal["reflect", "constant", "symmetric"] = "reflect"
        """What lies outside of the image: its mirror image without (cb|abc|ba) or with (ba|abc|cb) the border pixel
        repeated, or one value."""
        constant_values: float = 0.0
        """Value of padding ``constant``, in rescaled pixel units."""


class RandomGaussianNoise(LayerAugmentation):
    """Adds normally distributed noise, independent for each pixel and channel, then clips."""

    layer = "quality:RandomGaussianNoise"

    class Params(AugmentationParams):
        """How far."""

        stddev: Annotated[Range, within(0)]
        """Standard deviation for pixel values in [0, 1]; one draw for the whole batch."""


class RandomJpegQuality(LayerAugmentation):
    """Compresses images as JPEG and decodes them again."""

    layer = "quality:RandomJpegQuality"

    class Params(AugmentationParams):
        """How far."""

        jpeg_quality: Annotated[IntRange, within(0, 100)]
        """Quality of the compression, 0 to 100; both ends of the range can be drawn."""
