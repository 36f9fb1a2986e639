"""What all plots share: an empty figure, its colours, its axes, and how it is saved."""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reidfw_core.errors import DataError, ToolNotFound
from reidfw_core.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, INK, GRID = "#0072B2", "#D55E00", "#009E73", "#262626", "#D9D9D9"
"""Colours that stay apart for colour-blind readers and in grey print (M. Okabe, K. Ito, "Color Universal Design")."""

VIOLET, CRIMSON = "#9922FF", "#DD0044"
"""Two more; for readers of any kind of colour vision they differ from the others, on white and on dark paper."""

CYCLE = (
    (BLUE, "-"),
    (ORANGE, "--"),
    (GREEN, "-."),
    (VIOLET, ":"),
    (CRIMSON, "-"),
    (INK, "--"),
    (BLUE, ":"),
    (ORANGE, "-."),
)
"""Colour and line style of several curves in one plot."""

PALETTE = (BLUE, ORANGE, GREEN, VIOLET, CRIMSON)
MARKERS = ("o", "s", "^", "D")
"""Colours and shapes of groups. Their numbers have no common factor: counted up together they give 20 pairs."""

LEGEND_ROW = 0.2
LEGEND_LETTERS = 40
"""Inches that an entry of a legend below a plot takes, and letters of a name in it."""

_DOTS_PER_INCH = 150


def check_curves(curves: Sequence[object], title: str) -> None:
    """Refuses what cannot be read.

    Raises:
        DataError: there is no curve, or there are more than can be told apart.
    """
    if not curves:
        raise DataError(f'The plot "{title}" has no curve; it needs at least one')
    if len(curves) > len(CYCLE):
        raise DataError(
            f'The plot "{title}" has {len(curves)} curves; at most {len(CYCLE)} can be told apart',
            hint="Draw several plots, or leave curves out.",
        )


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of ``width`` x ``height`` inches, drawn by Agg and laid out so that nothing overlaps.

    Raises:
        ToolNotFound: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise ToolNotFound(
            f"Pictures need the package matplotlib, which cannot be imported: {cause}",
            hint='Install it: pip install "reidfw-core[train]"',
        ) from cause
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def set_title(figure: Figure, title: str) -> None:
    """A title above all panels, in as many lines as it needs; dollar signs in a model's name stay what they are."""
    letters = int(9.5 * figure.get_figwidth())
    figure.suptitle(_wrapped(title, letters), fontsize=12, color=INK, parse_math=False)


def _wrapped(text: str, letters: int) -> str:
    """Lines of at most so many letters, broken after blanks, underscores, hyphens and slashes where there are any."""
    lines = [""]
    for part in re.findall(r"[^\s_/-]*[\s_/-]|[^\s_/-]+", text):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > letters:
            lines.append("")
        lines[-1] += part
        while len(lines[-1].rstrip()) > letters:
            lines[-1:] = [lines[-1][:letters], lines[-1][letters:]]
    return "\n".join(line.strip() for line in lines)


def shorten(text: str, letters: int) -> str:
    """A text of at most so many letters: the middle is left out, since the beginning and the end tell most."""
    if len(text) <= letters:
        return text
    end = (letters - 1) // 2
    return f"{text[: letters - 1 - end]}…{text[len(text) - end :]}"


def as_label(name: str) -> str:
    """A name for a legend or an axis: dollar signs begin no formula, a leading underscore does not hide the entry."""
    escaped = name.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def style_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Labels, a light grid behind the data, and no frame at the top and the right."""
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.grid(visible=True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save_figure(figure: Figure, path: Path, svg_path: Path | None = None) -> Path:
    """Writes the picture under its final name only once it is complete, and for web pages as SVG where asked for.

    Raises:
        StorageError: a file cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
    figure.set_layout_engine("none")  # as it lies now, it is drawn for the page too
    if svg_path is not None:
        write_text(svg_path, figure_svg(figure, svg_path.stem))
    return path


def figure_svg(figure: Figure, name: str | None = None) -> str:
    """The figure as an SVG element to stand in an HTML page, light or dark.

    Ink, grid, paper and the three data colours are CSS variables (``--ink``, ``--grid``, ``--paper``, ``--blue``,
    ``--orange``, ``--green``) with the printed colours as fallback; the background is transparent; text stays text.
    The same figure gives the same text each time: its layout, if still to be done, is done once and then kept.

    Args:
        figure: may be drawn already.
        name: makes the element ids differ from those of other pictures in the page; by default the figure's content
            does.
    """
    import matplotlib
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    engine = figure.get_layout_engine()
    if engine is not None and not isinstance(engine, PlaceHolderLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # each further layout would move things by a hair
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name or "reidfw"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    # A style element would count for the whole page: what it sets is inherited from the root instead.
    text = re.sub(r"<metadata>.*?</metadata>\s*|<style\b.*?</style>\s*|<!--.*?-->\s*", "", text, flags=re.DOTALL)
    prefix = f"f{hashlib.sha256(text.encode()).hexdigest()[:12]}" if name is None else name
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", prefix) + "-"
    # In tags only: a title may hold any letters, those of a colour too.
    text = re.sub(r"<[^>]+>", lambda tag: _themed_tag(tag[0], prefix), text)
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    label = html.escape(" ".join(figure.get_suptitle().split()) or name or "figure", quote=True)
    style = f"fill: var(--ink, {INK}); stroke-linejoin: round; stroke-linecap: butt"  # black is left out by the library
    return f'{head} role="img" aria-label="{label}" style="{style}">{rest}'


def _themed_tag(tag: str, prefix: str) -> str:
    tag = re.sub(r'\bid="', f'id="{prefix}', tag)
    tag = tag.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    for color, variable, fallback in _VARIABLES:
        tag = re.sub(f"{color}\\b", f"var(--{variable}, {fallback})", tag, flags=re.IGNORECASE)
    return tag


_VARIABLES = (
    ("#000000", "ink", INK),  # what the library draws in black by itself: the axes
    (f"(?<!, ){INK}", "ink", INK),
    (GRID, "grid", GRID),
    ("#ffffff", "paper", "#ffffff"),
    (BLUE, "blue", BLUE),
    (ORANGE, "orange", ORANGE),
    (GREEN, "green", GREEN),
)
"""Colour in the picture (a pattern), CSS variable, and colour where the page does not set it."""
