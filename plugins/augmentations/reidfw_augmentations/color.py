"""Augmentations of colour; all need RGB images."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from reidfw_augmentations.component import AugmentationParams, LayerAugmentation
from reidfw_augmentations.intensity import SeldomParams
from reidfw_augmentations.ranges import FactorRange, OffsetRange, SymmetricRange, within


class HsvOffsetParams(AugmentationParams):
    """How far."""

    delta: SymmetricRange
    """Offset, on a scale of 0 to 1; v means (-v, v)."""


class RandomHue(LayerAugmentation):
    """Turns the hue; it is a circle, so 1 is a full turn."""

    layer = "color:RandomHue"
    color_only = True

    class Params(HsvOffsetParams):
        """How far."""


class RandomSaturation(LayerAugmentation):
    """Shifts the saturation of the HSV model, then clips."""

    layer = "color:RandomSaturation"
    color_only = True

    class Params(HsvOffsetParams):
        """How far."""


class RandomValue(LayerAugmentation):
    """Shifts the value of the HSV model, then clips."""

    layer = "color:RandomValue"
    color_only = True

    class Params(HsvOffsetParams):
        """How far."""


class RandomHsv(LayerAugmentation):
    """Shifts hue, saturation and value at once."""

    layer = "color:RandomHsv"
    color_only = True

    class Params(AugmentationParams):
        """How far."""

        hue_delta: SymmetricRange
        """Offset of the hue, 1 being a full turn; v means (-v, v)."""
        saturation_delta: SymmetricRange
        """Offset of the saturation, on a scale of 0 to 1; v means (-v, v)."""
        value_delta: SymmetricRange
        """Offset of the value, on a scale of 0 to 1; v means (-v, v)."""


class RandomRgbToHsv(LayerAugmentation):
    """Puts hue, saturation and value in the places of red, green and blue."""

    layer = "color:RandomRgbToHsv"
    color_only = True

    class Params(SeldomParams):
        """Only the rate."""


class RandomRgbToGrayscale(LayerAugmentation):
    """Puts the luma 0.299 R + 0.587 G + 0.114 B in all three channels."""

    layer = "color:RandomRgbToGrayscale"
    color_only = True

    class Params(SeldomParams):
        """Only the rate."""


class RandomColorJitter(LayerAugmentation):
    """Changes brightness, contrast, saturation and hue, as torchvision's ``ColorJitter`` does.

    Factors are drawn for each image; the order of the four is drawn for each batch. Each step clips.
    """

    layer = "color:RandomColorJitter"
    color_only = True

    class Params(AugmentationParams):
        """How far; at least one of the four must be given."""

        brightness: Annotated[FactorRange, within(0)] = (1.0, 1.0)
        """Factor on pixel values, black being 0; v means (max(0, 1 - v), 1 + v)."""
        contrast: Annotated[FactorRange, within(0)] = (1.0, 1.0)
        """Factor on the distance from the mean luma of the image; v means (max(0, 1 - v), 1 + v)."""
        saturation: Annotated[FactorRange, within(0)] = (1.0, 1.0)
        """Factor on the distance from the luma of each pixel; v means (max(0, 1 - v), 1 + v)."""
        hue: Annotated[OffsetRange, within(-0.5, 0.5)] = (0.0, 0.0)
        """Offset of the hue, 1 being a full turn; v means (-v, v)."""

        @model_validator(mode="after")
        def _something_to_do(self) -> Self:
            factors = (self.brightness, self.contrast, self.saturation)
            if all(factor == (1.0, 1.0) for factor in factors) and self.hue == (0.0, 0.0):
                raise ValueError("nothing to do: give brightness, contrast, saturation or hue a value above 0")
            return self
