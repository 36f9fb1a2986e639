"""Augmentations that move pixels: flip, translation, rotation, zoom, shear, crops.

Width is the second and height the first dimension of an image. Consecutive functions of this module can be joined
into one resampling, see :class:`reidfw_augmentations._keras.geometry.GeometricLayer`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reidfw_augmentations.component import AugmentationParams, LayerAugmentation
from reidfw_augmentations.ranges import RangeOrValue, SymmetricRange, within

FillMode = Literal["reflect", "wrap", "constant", "nearest"]
Interpolation = Literal["nearest", "bilinear"]


class ResamplingParams(AugmentationParams):
    """How pixels between and outside of the input's pixels are made up."""

    fill_mode: FillMode = "reflect"
    """What lies outside of the image: its mirror image (dcba|abcd|dcba), the image again (abcd|abcd|abcd), one value
    (kkkk|abcd|kkkk), or its outermost pixels (aaaa|abcd|dddd)."""
    interpolation: Interpolation = "bilinear"
    """Value between pixels: that of the nearest pixel, or a weighted mean of the four around."""
    fill_value: float = Field(0.0, ge=-1)
    """Value k of fill_mode ``constant``, in rescaled pixel units."""


class RandomFlip(LayerAugmentation):
    """Mirrors images left to right, top to bottom, or either or both."""

    layer = "geometry:RandomFlip"

    class Params(AugmentationParams):
        """Which mirror images there are."""

        mode: Literal["horizontal", "vertical", "horizontal_and_vertical"]
        """``horizontal`` swaps left and right, ``vertical`` top and bottom; ``horizontal_and_vertical`` does the
        first, the second or both, each with probability 1/3."""
        change_rate: float = Field(0.5, ge=0, le=1)
        """Probability, for each image, that it is changed (0 to 1)."""


class RandomTranslation(LayerAugmentation):
    """Shifts images; the draws of the two axes are independent."""

    layer = "geometry:RandomTranslation"

    class Params(ResamplingParams):
        """How far."""

        width_factor: SymmetricRange
        """Shift to the right as a fraction of the width; v means (-v, v)."""
        height_factor: SymmetricRange
        """Shift downwards as a fraction of the height; v means (-v, v)."""


class RandomRotation(LayerAugmentation):
    """Rotates images about their centre."""

    layer = "geometry:RandomRotation"

    class Params(ResamplingParams):
        """How far."""

        factor: SymmetricRange
        """Counter-clockwise angle as a fraction of a full turn; v means (-v, v)."""


class RandomZoom(LayerAugmentation):
    """Scales what images show, about their centre."""

    layer = "geometry:RandomZoom"

    class Params(ResamplingParams):
        """How far."""

        width_factor: Annotated[SymmetricRange, within(-1, exclusive=True)]
        """f of the horizontal scale 1 + f: positive zooms out, negative zooms in; v means (-v, v)."""
        height_factor: Annotated[SymmetricRange, within(-1, exclusive=True)] | None = None
        """The same for the vertical scale; None takes the draw of the width, which keeps proportions."""


class ShearParams(ResamplingParams):
    """How far."""

    factor: SymmetricRange
    """Angle a as a fraction of a full turn; v means (-v, v). A line is displaced by sin(a) times its distance from the
    image's centre."""


class RandomShearX(LayerAugmentation):
    """Displaces each row sideways, in proportion to its distance from the centre row."""

    layer = "geometry:RandomShearX"

    class Params(ShearParams):
        """How far."""


class RandomShearY(LayerAugmentation):
    """Displaces each column up or down, in proportion to its distance from the centre column."""

    layer = "geometry:RandomShearY"

    class Params(ShearParams):
        """How far."""


class RandomShear(LayerAugmentation):
    """Displaces the columns and then the rows, each by an angle of its own; areas stay what they are."""

    layer = "geometry:RandomShear"

    class Params(ShearParams):
        """How far."""


KeptRange = Annotated[RangeOrValue, within(0, exclusive=True), within(high=1)]


class RandomBoundedCrop(LayerAugmentation):
    """Zooms in on a box that lies wholly within the image: no pixel is made up."""

    layer = "geometry:RandomBoundedCrop"

    class Params(AugmentationParams):
        """How much is kept."""

        width_factor: KeptRange = (0.25, 1.0)
        """Width of the box as a fraction of the image's; v means always v. Its place is drawn, too."""
        height_factor: KeptRange | None = (0.25, 1.0)
        """The same for the height; None takes the draw of the width, which keeps proportions."""
        interpolation: Interpolation = "bilinear"
        """Value between pixels: that of the nearest pixel, or a weighted mean of the four around."""


class RandomPaddedCrop(LayerAugmentation):
    """Pads images and cuts their size out again at a random place: a shift by whole pixels, without interpolation."""

    layer = "geometry:RandomPaddedCrop"

    class Params(AugmentationParams):
        """How far, and what comes in."""

        padding: int = Field(10, ge=1)
        """Pixels added on each side."""
        fill_mode: FillMode = "constant"
        """What they hold: one value (kkkk|abcd|kkkk), the mirror image (dcba|abcd|dcba), the image again
        (abcd|abcd|abcd), or its outermost pixels (aaaa|abcd|dddd)."""
        fill_value: float | None = Field(None, ge=-1)
        """Value k of fill_mode ``constant``, in rescaled pixel units; None is black."""


CropRange = Annotated[RangeOrValue, within(0, 1, exclusive=True)]


class RandomCrop(LayerAugmentation):
    """Cuts a box out of images and resizes it to their size. A box is clipped at the borders of its image."""

    layer = "geometry:RandomCrop"

    class Params(AugmentationParams):
        """Where, and how large."""

        crop_center_x: CropRange = (0.25, 0.75)
        """Centre of the box as a fraction of the width; v means always v."""
        crop_center_y: CropRange = (0.25, 0.75)
        """Centre of the box as a fraction of the height; v means always v."""
        crop_width: CropRange = (0.6, 0.9)
        """Width of the box as a fraction of the image's; v means always v."""
        crop_height: CropRange = (0.6, 0.9)
        """Height of the box as a fraction of the image's; v means always v."""
        interpolation: Interpolation = "bilinear"
        """Value between pixels: that of the nearest pixel, or a weighted mean of the four around."""
        change_rate: float = Field(0.9, ge=0, le=1)
        """Probability, for each image, that it is changed (0 to 1)."""
