"""Augmentations that imitate cameras and files: sharpness, blur, noise, JPEG, resolution."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from reidfw_augmentations.component import AugmentationParams, LayerAugmentation
from reidfw_augmentations.ranges import IntRange, IntRangeOrValue, Range, RangeFromZero, RangeOrValue, within


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


def _sizes_or_scales(value: Any) -> str:
    """Pairs are sizes; a number or a pair of numbers is a range of scales."""
    several = isinstance(value, list | tuple) and len(value) > 0
    return "sizes" if several and isinstance(value[0], list | tuple) else "scales"


Pixels = Annotated[int, Field(ge=1)]
Sizes = Annotated[tuple[tuple[Pixels, Pixels], ...], Tag("sizes")]
Scales = Annotated[RangeOrValue, within(0, exclusive=True), within(high=1), Tag("scales")]


class RandomPeriodicResizing(LayerAugmentation):
    """Resizes images to a random size and back, the same size for several batches: the network sees resolutions change.

    Its input keeps its size. The size follows from the number of the batch, so that a training that is resumed goes on
    with the size that it had.
    """

    layer = "quality:RandomPeriodicResizing"

    class Params(AugmentationParams):
        """Which sizes, for how long."""

        image_sizes: Annotated[Sizes | Scales, Discriminator(_sizes_or_scales)]
        """Pairs (height, width) in pixels, all equally likely; or a range (a, b) of fractions of height and width, of
        which v means always v."""
        period: int = Field(10, ge=1)
        """Number of batches that a size is kept for."""
        interpolation: Literal["nearest", "bilinear"] = "bilinear"
        """Whether pixels are left out and repeated, or averaged and interpolated."""
