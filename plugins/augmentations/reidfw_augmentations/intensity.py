"""Augmentations of single pixel values: contrast, brightness, gamma, tone curves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reidfw_augmentations.component import AugmentationParams, LayerAugmentation
from reidfw_augmentations.ranges import IntRange, Range, RangeAroundOne, SymmetricRange, within


class SeldomParams(AugmentationParams):
    """Only the rate, a quarter of the images unless told otherwise: the change is a strong one."""

    change_rate: float = Field(0.25, ge=0, le=1)
    """Probability, for each image, that it is changed (0 to 1)."""


class RandomContrast(LayerAugmentation):
    """Stretches or compresses pixel values about the mean of each image and channel, then clips."""

    layer = "intensity:RandomContrast"

    class Params(AugmentationParams):
        """How far."""

        factor: RangeAroundOne
        """Factor on the distance from the mean; v means (1 - v, 1 + v), a pair is used as it is."""


class RandomBrightness(LayerAugmentation):
    """Adds one value to all pixels of an image, then clips."""

    layer = "intensity:RandomBrightness"

    class Params(AugmentationParams):
        """How far."""

        factor: SymmetricRange
        """Value added, in rescaled pixel units (0.2 is a fifth of [0, 1] but a tenth of [-1, 1]); v means (-v, v)."""


class RandomGamma(LayerAugmentation):
    """Raises pixel values, taken in [0, 1], to a power."""

    layer = "intensity:RandomGamma"

    class Params(AugmentationParams):
        """How far."""

        gamma: Annotated[Range, within(0, exclusive=True)]
        """The exponent: below 1 brightens, above 1 darkens."""


class RandomInvert(LayerAugmentation):
    """Turns images into their negatives."""

    layer = "intensity:RandomInvert"

    class Params(SeldomParams):
        """Only the rate."""


class RandomSolarize(LayerAugmentation):
    """Inverts the pixel values at or above a threshold, drawn for each image from 0 to 255."""

    layer = "intensity:RandomSolarize"

    class Params(SeldomParams):
        """Only the rate."""


class RandomPosterize(LayerAugmentation):
    """Keeps only the upper bits of pixel values."""

    layer = "intensity:RandomPosterize"

    class Params(AugmentationParams):
        """How many."""

        bits: Annotated[IntRange, within(1, 8)]
        """Number of bits kept, of 8; both ends of the range can be drawn."""


class RandomAutocontrast(LayerAugmentation):
    """Stretches each channel to the full range, leaving out the darkest and the brightest pixels."""

    layer = "intensity:RandomAutocontrast"
    color_only = True

    class Params(SeldomParams):
        """What is left out."""

        cutoff: int = Field(10, ge=0, lt=50)
        """Percent of the pixels left out at each end (0 to 49; from 50 on no pixel would be left)."""


class RandomEqualize(LayerAugmentation):
    """Makes the histogram of each channel as flat as it can be."""

    layer = "intensity:RandomEqualize"

    class Params(SeldomParams):
        """Only the rate."""
