"""What all plots share: an empty figure, its colours, its axes, and how it is saved."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from reidfw_core.errors import ToolNotFound
from reidfw_core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, INK, GRID = "#0072B2", "#D55E00", "#009E73", "#262626", "#D9D9D9"
"""Colours that stay apart for colour-blind readers and in grey print (M. Okabe, K. Ito, "Color Universal Design")."""

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


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes the picture under its final name only once it is complete.

    Raises:
        StorageError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
    return path
