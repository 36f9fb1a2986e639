"""Pictures of what a configuration will do: its learning rate, and its augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reidfw_core.figures.sheet import INK as SHEET_INK
from reidfw_core.figures.sheet import PAPER, sheet_font, shortened
from reidfw_core.figures.style import PALETTE, new_figure, save_figure, set_title, style_axes
from reidfw_core.files import atomic_path

_SMALLEST_SIDE = 96
"""Images are enlarged by whole factors until their longer side has this many pixels at least."""

_GAP = 12
_CAPTION = 26


def draw_learning_rate(
    epochs: Sequence[float], rates: Sequence[float], title: str, path: Path, *, svg_path: Path | None = None
) -> Path:
    """Draws the learning rate over the epochs.

    Args:
        epochs: places of the rates, counted from 1; several in an epoch where the rate warms up.
        rates: learning rates.
        title: what stands above.
        path: PNG to write.
        svg_path: the same picture for web pages.

    Raises:
        StorageError: the picture cannot be written.
    """
    figure = new_figure(8, 4.2)
    axes = figure.add_subplot()
    axes.plot(epochs, rates, color=PALETTE[0], linewidth=1.8, drawstyle="steps-post")
    positive = [rate for rate in rates if rate > 0]
    if positive and max(positive) > 50 * min(positive):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.08 * max(rates, default=1.0))
    axes.margins(x=0.02)
    style_axes(axes, "epoch", "learning rate")
    set_title(figure, title)
    return save_figure(figure, path, svg_path)


def draw_augmentation_sheet(
    originals: NDArray[np.uint8], augmented: Sequence[NDArray[np.uint8]], names: Sequence[str], title: str, path: Path
) -> Path:
    """Draws each image and, to its right, what augmentation makes of it.

    Args:
        originals: (N, H, W, C) uint8.
        augmented: for each column an array of the same shape.
        names: of the rows.
        title: what stands above.
        path: picture to write.

    Raises:
        StorageError: the picture cannot be written.
    """
    from PIL import Image, ImageDraw

    count, height, width = originals.shape[:3]
    factor = max(1, -(-_SMALLEST_SIDE // max(height, width)))
    cell = width * factor, height * factor
    left = 2 * _GAP
    top = 3 * _GAP + 2 * _CAPTION
    size = (
        max(left + (1 + len(augmented)) * (cell[0] + _GAP) + 3 * _GAP, 640),
        top + count * (cell[1] + _CAPTION + _GAP),
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (left, _GAP), shortened(draw, title, sheet_font(17), size[0] - 2 * left), fill=SHEET_INK, font=sheet_font(17)
    )
    columns = [originals, *augmented]
    captions = ["original", *(f"augmented {number}" for number in range(1, len(columns)))]
    for place, (images, caption) in enumerate(zip(columns, captions, strict=True)):
        x = left + place * (cell[0] + _GAP) + (2 * _GAP if place else 0)
        font = sheet_font(12)
        draw.text(
            (x, 2 * _GAP + _CAPTION), shortened(draw, caption, font, cell[0] + _GAP - 4), fill=SHEET_INK, font=font
        )
        for row, pixels in enumerate(images):
            y = top + row * (cell[1] + _CAPTION + _GAP)
            shown = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3])
            sheet.paste(shown.convert("RGB").resize(cell, Image.Resampling.NEAREST), (x, y))
            if not place:
                draw.text(
                    (x, y + cell[1] + 4), shortened(draw, names[row], font, 3 * cell[0]), fill=SHEET_INK, font=font
                )
    with atomic_path(path) as temporary:
        sheet.save(temporary)
    return path
