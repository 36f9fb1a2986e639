"""Figures that ST published for its re-identification models; shown beside what is measured, never as a measurement."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SOURCE = "STM32 AI model zoo, re-identification, DeepSportradar"
_TOOL = "ST Edge AI Core 3.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A row of a published table: int8 TensorFlow Lite, input (256, 128, 3).

    Attributes:
        model: name of the network, as reidfw writes it.
        board: where it was measured.
        ram_kib, external_ram_kib: activations inside and outside the chip.
        flash_kib: weights.
        inference_ms: time of one inference.
        source: where it was published.
        tool: the tool and its version.
    """

    model: str
    board: str
    ram_kib: float
    flash_kib: float
    inference_ms: float
    external_ram_kib: float = 0.0
    source: str = _SOURCE
    tool: str = _TOOL

    def __str__(self) -> str:
        outside = f" + {self.external_ram_kib:g} external" if self.external_ram_kib else ""
        return (
            f"published for {self.model} 256x128 int8: RAM {self.ram_kib:g}{outside} KiB, "
            f"flash {self.flash_kib:g} KiB, {self.inference_ms:g} ms ({self.source}; {self.tool})"
        )


FIGURES = (
    PublishedFigure(model="osnet_a025", board="STM32N6570-DK", ram_kib=480, flash_kib=404.94, inference_ms=3.53),
    PublishedFigure(
        model="osnet_a025", board="STM32H747I-DISCO", ram_kib=331.45, flash_kib=139.52, inference_ms=495.13
    ),
    PublishedFigure(model="osnet_a100", board="STM32N6570-DK", ram_kib=1440, flash_kib=2375.33, inference_ms=13.44),
    PublishedFigure(
        model="osnet_a100",
        board="STM32H747I-DISCO",
        ram_kib=396.01,
        external_ram_kib=1024,
        flash_kib=1892.75,
        inference_ms=3894.82,
    ),
)
"""All rows that are known."""


def figures_for(board: str, model: str) -> tuple[PublishedFigure, ...]:
    """The rows for a board and for the network that a model's name tells (``osnet_a025_256_quantized``)."""
    folded = re.sub(r"[^a-z0-9]+", "_", model.lower())
    return tuple(
        row for row in FIGURES if row.board == board and re.search(rf"(^|_){row.model}(_|$)", folded) is not None
    )
