"""Augmentations that paint over parts of images."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reidfw_augmentations.component import AugmentationParams, LayerAugmentation
from reidfw_augmentations.ranges import IntRangeOrValue, RangeOrValue, within

ColorLevel = Annotated[int, Field(ge=0, le=255)]


class ErasingParams(AugmentationParams):
    """What erased parts are painted with."""

    fill_method: Literal["random", "uniform", "mosaic"] = "random"
    """One random colour for each part, the colour ``color``, or a random colour for each pixel."""
    color: tuple[ColorLevel, ColorLevel, ColorLevel] | None = None
    """Red, green and blue, 0 to 255, for fill_method ``uniform`` only; None is black. Gray images take its luma."""
    mode: Literal["image", "batch"] = "image"
    """Whether each image has parts of its own, or all images of a batch the same ones."""

    @model_validator(mode="after")
    def _color_needs_uniform(self) -> Self:
        if self.color is not None and self.fill_method != "uniform":
            raise ValueError(f"color is for fill_method 'uniform' only, but fill_method is '{self.fill_method}'")
        return self


class RandomRectangleErasing(LayerAugmentation):
    """Paints rectangles over images.

    Source: Zhong et al., Random Erasing Data Augmentation, 2020.
    """

    layer = "erasing:RandomRectangleErasing"

    class Params(ErasingParams):
        """How many, how large, of what shape."""

        nrec: Annotated[IntRangeOrValue, within(0, 100)] = (0, 3)
        """Number of rectangles of an image; both ends of the range can be drawn; n means always n."""
        area: Annotated[RangeOrValue, within(0, 1, exclusive=True)] = (0.05, 0.2)
        """Area of a rectangle as a fraction of the image's; v means always v."""
        wh_ratio: Annotated[RangeOrValue, within(0, exclusive=True)] = (0.2, 1.5)
        """Width of a rectangle divided by its height; v means always v. A rectangle is clipped to the image's size."""


class RandomGridCellErasing(LayerAugmentation):
    """Divides images into a grid and paints over some of its cells."""

    layer = "erasing:RandomGridCellErasing"

    class Params(ErasingParams):
        """Which cells."""

        ncells_x: int = Field(5, ge=1)
        """Number of cells side by side."""
        ncells_y: int = Field(5, ge=1)
        """Number of cells one above the other."""
        erasing_prob: float = Field(0.2, ge=0, le=1)
        """Probability, for each cell, that it is erased (0 to 1)."""
        fill_method: Literal["random", "uniform", "mosaic"] = "uniform"
        """One random colour for each cell, the colour ``color``, or a random colour for each pixel."""
