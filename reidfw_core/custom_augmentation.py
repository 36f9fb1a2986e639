"""``custom_data_augmentation`` with a Python function of the user's own instead of an installed component."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from reidfw_core.components import Augmentation, ComponentParams
from reidfw_core.markers import hookimpl
from reidfw_core.references import load_function
from reidfw_core.types import PixelRange

LAYER_MODULE = "reidfw_core._keras.custom_function"
"""Where the layer lies: a name, since importing it imports TensorFlow."""


class CustomAugmentation(Augmentation):
    """Calls ``function(images, config, pixels_range, batch_info)``, as the services' custom functions are called."""

    class Params(ComponentParams):
        """Which function, and what it gets."""

        function: str
        """``module:function`` or ``file.py:function``."""
        config: dict[str, Any] = Field(default_factory=dict)
        """Handed to the function."""

    @classmethod
    def of(cls, reference: str, config: Mapping[str, Any]) -> CustomAugmentation:
        """The component for a reference.

        Raises:
            DataError: there is no such function.
        """
        load_function(reference)
        return cls(cls.Params(function=reference, config=dict(config)))

    @hookimpl
    def build_augmentation(self, pixel_range: PixelRange, seed: int) -> Any:
        """Makes the layer; see the hook spec."""
        del seed  # draws follow from the seed that comes with each batch
        layers = importlib.import_module(LAYER_MODULE)
        return layers.CustomFunction(
            function=self.params.function,
            config=self.params.config,
            pixel_range=(pixel_range.low, pixel_range.high),
        )
