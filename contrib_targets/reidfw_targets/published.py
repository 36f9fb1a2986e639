"""Figures that ST published for its re-identification models; shown beside what is measured, never as a measurement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reidfw_core.api import BenchmarkReport, BoardQuantity

_SOURCE = "STM32 AI model zoo, re-identification, DeepSportradar"
_TOOL = "ST Edge AI Core 3.0.0"
_INPUT_SHAPE = (256, 128, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A row of a published table: int8 TensorFlow Lite, input (256, 128, 3), which ST counts to the activations.

    Attributes:
        model: name of the network, as reidfw writes it.
        board: where it was measured.
        ram_kib, external_ram_kib: activations inside and outside the chip.
        flash_kib: weights.
        inference_ms: time of one inference.
        engine: what computed it.
        source: where it was published.
        tool: the tool and its version.
    """

    model: str
    board: str
    ram_kib: float
    flash_kib: float
    inference_ms: float
    engine: str
    external_ram_kib: float = 0.0
    source: str = _SOURCE
    tool: str = _TOOL

    @property
    def origin(self) -> str:
        """What a column of these figures is headed with."""
        outside = f", of its RAM {self.external_ram_kib:g} KiB outside of the chip" if self.external_ram_kib else ""
        return f"{self.model} at 256x128 by another program, {self.tool} on the {self.engine}{outside} ({self.source})"

    def __str__(self) -> str:
        outside = f" + {self.external_ram_kib:g} external" if self.external_ram_kib else ""
        return (
            f"published for {self.model} 256x128 int8: RAM {self.ram_kib:g}{outside} KiB, "
            f"flash {self.flash_kib:g} KiB, {self.inference_ms:g} ms on the {self.engine} ({self.source}; {self.tool})"
        )


_NPU, _H7 = "Neural-ART NPU", "Cortex-M7"


def _row(
    model: str, board: str, ram_kib: float, flash_kib: float, inference_ms: float, external_ram_kib: float = 0.0
) -> PublishedFigure:
    return PublishedFigure(
        model=model,
        board=board,
        ram_kib=ram_kib,
        external_ram_kib=external_ram_kib,
        flash_kib=flash_kib,
        inference_ms=inference_ms,
        engine=_NPU if board == "STM32N6570-DK" else _H7,
    )


FIGURES = (
    _row("mobilenetv2_a035", "STM32N6570-DK", 480, 553.58, 4.15),
    _row("mobilenetv2_a035", "STM32H747I-DISCO", 461.32, 400.59, 190.3),
    _row("mobilenetv2_a100", "STM32N6570-DK", 1440, 2786.52, 13.37),
    _row("mobilenetv2_a100", "STM32H747I-DISCO", 398.25, 2205.06, 729.45, external_ram_kib=804.38),
    _row("osnet_a025", "STM32N6570-DK", 480, 404.94, 3.53),
    _row("osnet_a025", "STM32H747I-DISCO", 331.45, 139.52, 495.13),
    _row("osnet_a100", "STM32N6570-DK", 1440, 2375.33, 13.44),
    _row("osnet_a100", "STM32H747I-DISCO", 396.01, 1892.75, 3894.82, external_ram_kib=1024),
)
"""All rows that are known."""


def figures_for(board: str, model: str, input_shape: tuple[int, int, int] | None) -> tuple[PublishedFigure, ...]:
    """The rows for a board and for the network that a model's name tells (``osnet_a025_256_quantized``).

    Args:
        board: the board's name.
        model: the model's name.
        input_shape: (H, W, C); None where it is not known. Figures of another image size tell nothing.
    """
    if input_shape != _INPUT_SHAPE:
        return ()
    folded = re.sub(r"[^a-z0-9]+", "_", model.lower())
    return tuple(
        row for row in FIGURES if row.board == board and re.search(rf"(^|_){row.model}(_|$)", folded) is not None
    )


def with_published(report: BenchmarkReport, figures: Sequence[PublishedFigure]) -> BenchmarkReport:
    """A report with published figures in their own column, beside what the tool tells of the same quantities.

    Args:
        report: what a tool measured; one that has the column already stays as it is.
        figures: the first one is shown.
    """
    if not figures or "published" in report.origins:
        return report
    figure = figures[0]
    values = {
        "RAM, activations": ("KiB", figure.ram_kib + figure.external_ram_kib),
        "Flash, weights": ("KiB", figure.flash_kib),
        "Inference": ("ms", figure.inference_ms),
    }
    rows = [replace(row, published=values.pop(row.name)[1]) if row.name in values else row for row in report.table]
    rows += [BoardQuantity(name=name, unit=unit, published=value) for name, (unit, value) in values.items()]
    origins = {"measured": report.tool} if report.tool else {}
    return replace(report, quantities=tuple(rows), origins={**origins, **report.origins, "published": figure.origin})
