"""Augmentations that choose among others: RandAugment and AugMix."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reidfw_augmentations.component import LayerAugmentation
from reidfw_augmentations.geometry import ResamplingParams

Operation = Literal[
    "identity",
    "autocontrast",
    "equalize",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
]
Operations = Annotated[tuple[Operation, ...], Field(min_length=1)]


class RandAugment(LayerAugmentation):
    """Applies a few operations to each image, drawn from a list, all at one magnitude.

    At the full magnitude: rotation by 30 degrees, shears by 0.3, shifts by 0.453 of a side, brightness, color, contrast
    and sharpness by a factor of 1 - 0.9 or 1 + 0.9, posterization to 4 bits, and all pixels inverted. Which way is
    drawn. Gray images go without ``color``.

    Source: Cubuk et al., RandAugment, 2020; magnitudes as in torchvision.
    """

    layer = "policies:RandAugment"

    class Params(ResamplingParams):
        """How many, how far."""

        num_ops: int = Field(2, ge=1, le=14)
        """Number of operations that an image goes through, one after the other; one can come up again."""
        magnitude: float = Field(9, ge=0, le=30)
        """How far each goes, of 30."""
        operations: Operations = (
            "identity",
            "autocontrast",
            "equalize",
            "rotate",
            "solarize",
            "color",
            "posterize",
            "contrast",
            "brightness",
            "sharpness",
            "shear_x",
            "shear_y",
            "translate_x",
            "translate_y",
        )
        """What is drawn from, all equally likely."""


class AugMix(LayerAugmentation):
    """Mixes each image with a mixture of itself changed in several ways; what comes out stays close to the original.

    Each chain of operations draws a strength of its own for each operation, up to ``severity``. Only the images are
    mixed: the consistency loss of the paper is no part of it. Gray images go without ``color``.

    Source: Hendrycks et al., AugMix, 2020.
    """

    layer = "policies:AugMix"

    class Params(ResamplingParams):
        """How many chains, how long, how strong."""

        width: int = Field(3, ge=1, le=10)
        """Number of chains that are mixed."""
        depth: int = Field(-1, ge=-1, le=10)
        """Number of operations of a chain; -1 or 0 draws 1 to 3 for each chain."""
        alpha: float = Field(1.0, ge=0.1)
        """Parameter of the Dirichlet distribution of the chains' weights and of the beta distribution of the weight of
        their mixture against the original; 1 makes all mixtures equally likely, more brings them close to equal parts.
        """
        severity: float = Field(3, ge=0.1, le=10)
        """Largest strength of an operation, of 10."""
        operations: Operations = (
            "autocontrast",
            "equalize",
            "posterize",
            "rotate",
            "solarize",
            "shear_x",
            "shear_y",
            "translate_x",
            "translate_y",
        )
        """What is drawn from, all equally likely. The paper leaves out brightness, color, contrast and sharpness."""
