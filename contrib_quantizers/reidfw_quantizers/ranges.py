"""Ranges of activations that a training has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Range = tuple[float, float]
"""Lowest and highest value; zero lies between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRanges:
    """Ranges that the integer model is to have.

    Attributes:
        image: of the model's input.
        output: of its output, None where the training left that to the converter.
        layers: of the outputs of layers, by their names.
    """

    image: Range
    output: Range | None
    layers: Mapping[str, Range]
