"""The retrieval sheet: queries and their nearest gallery images, right ones in green, wrong ones in red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidfw_core.figures.sheet import INK, PAPER, QUERY, QUIET, RIGHT, WRONG, draw_sign, sheet_font, shortened
from reidfw_core.files import atomic_path
from reidfw_core.imaging.opening import open_upright

CELL = (120, 224)
"""Width and height of one image on the sheet, in pixels."""

MOST_NEIGHBOURS = 10

_GAP, _MARGIN, _FRAME = 12, 24, 5
_CAPTION = 42


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetNeighbour:
    """A gallery image near a query.

    Attributes:
        is_match: whether it shows the query's identity.
        camera: None where cameras are not known.
    """

    image: Path
    identity: str
    distance: float
    is_match: bool
    camera: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRow:
    """A query, its identity, what to say of it (a few letters), and its neighbours, nearest first."""

    query: Path
    identity: str
    note: str
    neighbours: tuple[SheetNeighbour, ...]


@dataclass(frozen=True, slots=True)
class SheetSection:
    """Rows below a headline."""

    headline: str
    rows: tuple[SheetRow, ...]


def draw_retrieval_sheet(sections: Sequence[SheetSection], title: str, path: Path) -> Path:
    """Draws a row for each query: at the left the query, then its nearest gallery images with distance.

    Matches have a green frame and a tick, others a red frame and a cross, so that colour is not needed to tell them.
    Images keep their aspect ratio.

    Args:
        sections: groups of rows, for example the worst and the best queries.
        title: shown above.
        path: the picture; ``.jpg`` keeps it small. Folders above it are made.

    Returns:
        ``path``.

    Raises:
        StorageError: the picture cannot be written.
    """
    from PIL import Image, ImageDraw

    columns = 1 + max((len(row.neighbours) for section in sections for row in section.rows), default=0)
    columns = min(columns, 1 + MOST_NEIGHBOURS)
    width = 2 * _MARGIN + max(columns, 5) * (CELL[0] + _GAP) + _GAP
    row_height = _CAPTION + CELL[1] + 2 * _GAP
    height = _MARGIN + 40 + sum(36 + row_height * len(section.rows) for section in sections) + _MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    fonts = {size: sheet_font(size) for size in (22, 17, 13)}
    draw.text((_MARGIN, _MARGIN), shortened(draw, title, fonts[22], width - 2 * _MARGIN), fill=INK, font=fonts[22])
    top = _MARGIN + 44
    for section in sections:
        draw.text((_MARGIN, top), section.headline, fill=INK, font=fonts[17])
        top += 32
        for row in section.rows:
            _draw_row(sheet, draw, row, top, fonts[13])
            top += row_height
    with atomic_path(path) as temporary:
        sheet.save(temporary, quality=85, optimize=True)
    return path


def _draw_row(sheet: Any, draw: Any, row: SheetRow, top: int, font: Any) -> None:
    left = _MARGIN
    draw.text((left, top), shortened(draw, row.identity, font, CELL[0]), fill=QUERY, font=font)
    draw.text((left, top + 19), shortened(draw, row.note, font, CELL[0]), fill=QUERY, font=font)
    _paste(sheet, draw, row.query, (left, top + _CAPTION), QUERY)
    if not row.neighbours:
        draw.text((left + CELL[0] + 2 * _GAP, top + _CAPTION), "no gallery image counts", fill=QUIET, font=font)
    for neighbour in row.neighbours[:MOST_NEIGHBOURS]:
        # The query stands apart: its neighbours begin one gap further.
        left += CELL[0] + _GAP + (_GAP if left == _MARGIN else 0)
        color = RIGHT if neighbour.is_match else WRONG
        who = neighbour.identity if neighbour.camera is None else f"{neighbour.identity} c{neighbour.camera}"
        draw.text((left, top), shortened(draw, who, font, CELL[0]), fill=INK, font=font)
        draw_sign(draw, (left, top + 22), color, tick=neighbour.is_match)
        draw.text((left + 18, top + 19), f"{neighbour.distance:.3f}", fill=QUIET, font=font)
        _paste(sheet, draw, neighbour.image, (left, top + _CAPTION), color)


def _paste(sheet: Any, draw: Any, path: Path, corner: tuple[int, int], color: tuple[int, int, int]) -> None:
    from PIL import Image, ImageOps

    inner = (CELL[0] - 2 * _FRAME, CELL[1] - 2 * _FRAME)
    shown = ImageOps.contain(open_upright(path, inner), inner, Image.Resampling.LANCZOS)
    left, top = corner
    draw.rectangle((left, top, left + shown.width + 2 * _FRAME - 1, top + shown.height + 2 * _FRAME - 1), fill=color)
    sheet.paste(shown, (left + _FRAME, top + _FRAME))
