"""The prediction sheet: a query image and its nearest gallery images side by side."""

from __future__ import annotations

from pathlib import Path

from reidfw_core.artifacts import Prediction
from reidfw_core.files import atomic_path

CELL = (200, 400)
"""Width and height of one image on the sheet, in pixels."""

_MARGIN = 16
_CAPTION = 56
_INK = (32, 32, 32)
_PAPER = (255, 255, 255)
_QUERY = (0, 90, 181)


def draw_prediction_sheet(prediction: Prediction, path: Path, *, verdict: str | None = None) -> Path:
    """Draws the query at the left, then its nearest gallery images with identity and distance.

    Images keep their aspect ratio. ``verdict`` is written above the query, where a threshold decided something.

    Raises:
        StorageError: the picture cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    heading = "query" if verdict is None else f"query: {verdict}"
    cells = [(prediction.image, heading, prediction.image.name)]
    cells += [(near.image, near.identity, f"distance {near.distance:.4f}") for near in prediction.neighbours]
    width, height = CELL
    sheet = Image.new(
        "RGB",
        (_MARGIN + len(cells) * (width + _MARGIN), _MARGIN + _CAPTION + height + _MARGIN),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    title, small = ImageFont.load_default(20), ImageFont.load_default(14)
    for place, (file, name, note) in enumerate(cells):
        left = _MARGIN + place * (width + _MARGIN)
        draw.text((left, _MARGIN), shortened(draw, name, title, width), fill=_QUERY if not place else _INK, font=title)
        draw.text((left, _MARGIN + 28), shortened(draw, note, small, width), fill=_INK, font=small)
        with Image.open(file) as image:
            shown = ImageOps.contain(image.convert("RGB"), CELL, Image.Resampling.LANCZOS)
        sheet.paste(shown, (left, _MARGIN + _CAPTION))
        if not place:
            corner = (left - 4, _MARGIN + _CAPTION - 4, left + shown.width + 3, _MARGIN + _CAPTION + shown.height + 3)
            draw.rectangle(corner, outline=_QUERY, width=3)
    with atomic_path(path) as temporary:
        sheet.save(temporary)
    return path


def shortened(draw: object, text: str, font: object, width: int) -> str:
    """The text, cut so that it is at most ``width`` pixels wide."""
    if draw.textlength(text, font=font) <= width:  # type: ignore[attr-defined]
        return text
    while text and draw.textlength(text + "…", font=font) > width:  # type: ignore[attr-defined]
        text = text[:-1]
    return text + "…"
