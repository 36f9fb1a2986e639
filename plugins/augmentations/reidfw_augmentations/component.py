"""What all augmentation components share: the hook and the rate."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

from pydantic import Field

from reidfw_core.api import Augmentation, ComponentParams, PixelRange, hookimpl


class AugmentationParams(ComponentParams):
    """What every augmentation function takes."""

    change_rate: float = Field(1.0, ge=0, le=1)
    """Probability, for each image, that it is changed (0 to 1)."""


class LayerAugmentation(Augmentation):
    """An augmentation whose parameters are, one to one, the arguments of a Keras layer.

    Facts:
        layer: where that layer lies below ``reidfw_augmentations._keras``, written ``module:class``. A name and not
            the class, since importing the class imports TensorFlow.
    """

    layer: ClassVar[str]

    class Params(AugmentationParams):
        """Only the rate."""

    @hookimpl
    def build_augmentation(self, pixel_range: PixelRange, seed: int) -> Any:
        """Makes the layer; see the hook spec."""
        module, _, name = self.layer.partition(":")
        layer_class = getattr(importlib.import_module(f"{__package__}._keras.{module}"), name)
        arguments = self.params.model_dump()
        return layer_class(pixel_range=(pixel_range.low, pixel_range.high), seed=seed, **arguments)
