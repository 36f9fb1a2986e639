"""What all plots share: an empty figure, its colours, its axes, and how it is saved."""

from __future__ import annotations

import html
import io
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from reidfw_core.errors import ToolNotFound
from reidfw_core.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, INK, GRID = "#0072B2", "#D55E00", "#009E73", "#262626", "#D9D9D9"
"""Colours that stay apart for colour-blind readers and in grey print (M. Okabe, K. Ito, "Color Universal Design")."""

CYCLE = (
    (BLUE, "-"),
    (ORANGE, "--"),
    (GREEN, "-."),
    ("#CC79A7", ":"),
    ("#56B4E9", "-"),
    ("#E69F00", "--"),
    ("#7A5195", "-."),
    ("#595959", ":"),
)
"""Colour and line style of several curves in one plot."""

PALETTE = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#7A5195")
"""Colours of groups; with MARKERS they make 42 different marks."""

MARKERS = ("o", "s", "^", "D", "v", "P")

_DOTS_PER_INCH = 150


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
    letters = int(10 * figure.get_figwidth())
    figure.suptitle(textwrap.fill(title, letters), fontsize=12, color=INK, parse_math=False)


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
    if svg_path is not None:
        write_text(svg_path, figure_svg(figure, svg_path.stem))
    return path


def figure_svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element to stand in an HTML page, light or dark.

    Ink, grid, paper and the three data colours are CSS variables (``--ink``, ``--grid``, ``--paper``, ``--blue``,
    ``--orange``, ``--green``) with the printed colours as fallback; the background is transparent; text stays text.

    Args:
        figure: drawn already.
        name: makes the element ids differ from those of other pictures in the page.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name) + "-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    label = html.escape(figure.get_suptitle() or name, quote=True)
    text = f'{head} role="img" aria-label="{label}">{rest}'
    for color, variable in _VARIABLES.items():
        text = re.sub(color, f"var(--{variable}, {color})", text, flags=re.IGNORECASE)
    return text


_VARIABLES = {
    INK: "ink",
    GRID: "grid",
    "#ffffff": "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
}
