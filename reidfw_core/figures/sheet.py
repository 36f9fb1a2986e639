"""The prediction sheet: a query image and its nearest gallery images side by side; what both sheets share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reidfw_core.artifacts import Prediction
from reidfw_core.figures.style import shorten
from reidfw_core.files import atomic_path
from reidfw_core.imaging.opening import open_upright

CELL = (200, 400)
"""Width and height of one image on the sheet, in pixels."""

INK, PAPER, QUIET = (32, 32, 32), (255, 255, 255), (96, 96, 96)
QUERY, RIGHT, WRONG = (0, 90, 181), (0, 128, 76), (200, 40, 40)
"""Colours of both sheets: text, paper, side text, the query, right and wrong."""

_MARGIN = 16
_CAPTION = 56
_VERDICT = 24


def draw_prediction_sheet(prediction: Prediction, path: Path, *, verdict: str | None = None) -> Path:
    """Draws the query at the left, then its nearest gallery images with identity and distance.

    Images keep their aspect ratio. ``verdict`` stands below the name of the query, where a threshold decided
    something: green with a tick for an accepted prediction, red with a cross for a refused one.

    Raises:
        StorageError: the picture cannot be written.
    """
    from PIL import Image, ImageDraw, ImageOps

    cells = [(prediction.image, "query", prediction.image.name)]
    cells += [(near.image, near.identity, f"distance {near.distance:.4f}") for near in prediction.neighbours]
    width, height = CELL
    top = _MARGIN + _CAPTION + (0 if verdict is None else _VERDICT)
    sheet = Image.new("RGB", (_MARGIN + len(cells) * (width + _MARGIN), top + height + _MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    title, small, bold = sheet_font(19), sheet_font(13), sheet_font(15)
    for place, (file, name, note) in enumerate(cells):
        left = _MARGIN + place * (width + _MARGIN)
        draw.text((left, _MARGIN), shortened(draw, name, title, width), fill=INK if place else QUERY, font=title)
        draw.text((left, _MARGIN + 28), shortened(draw, note, small, width), fill=INK, font=small)
        shown = ImageOps.contain(open_upright(file, CELL), CELL, Image.Resampling.LANCZOS)
        sheet.paste(shown, (left, top))
        if not place:
            corner = (left - 4, top - 4, left + shown.width + 3, top + shown.height + 3)
            draw.rectangle(corner, outline=QUERY, width=3)
    if verdict is not None:
        left, color = _MARGIN, INK
        if prediction.accepted is not None:
            color = RIGHT if prediction.accepted else WRONG
            draw_sign(draw, (left, _MARGIN + 53), color, tick=prediction.accepted)
            left += 20
        room = width + _MARGIN - left
        draw.text((left, _MARGIN + 48), shortened(draw, verdict, bold, room), fill=color, font=bold)
    with atomic_path(path) as temporary:
        sheet.save(temporary)
    return path


def sheet_font(size: int) -> Any:
    """The font of the sheets.

    That is matplotlib's, which has the letters of most European languages; without matplotlib Pillow's own, which
    has those of English only. matplotlib itself is not imported.
    """
    from PIL import ImageFont

    package = find_spec("matplotlib")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)


def draw_sign(draw: Any, corner: tuple[int, int], color: tuple[int, int, int], *, tick: bool) -> None:
    """A tick or a cross, 12 pixels wide: colour alone does not tell everybody."""
    left, top = corner
    if tick:
        draw.line([(left, top + 6), (left + 4, top + 10), (left + 12, top)], fill=color, width=3)
    else:
        draw.line([(left, top), (left + 10, top + 10)], fill=color, width=3)
        draw.line([(left, top + 10), (left + 10, top)], fill=color, width=3)


def shortened(draw: Any, text: str, font: Any, width: int) -> str:
    """The text, its middle left out so that it is at most ``width`` pixels wide."""
    shown, letters = text, len(text)
    while letters > 1 and draw.textlength(shown, font=font) > width:
        letters -= 1
        shown = shorten(text, letters)
    return shown
