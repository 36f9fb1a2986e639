"""The CMC curve of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.figures.style import BLUE, GRID, INK, new_figure, save_figure, set_title, style_axes
from reidfw_core.metrics import RetrievalScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED_RANKS = (1, 5, 10)
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_BOX_FROM_RANK = 15
"""Where the box with the scores begins when it stands at the lower right of a curve of 100 ranks."""


def draw_rank_curve(scores: RetrievalScores, title: str, path: Path, *, svg_path: Path | None = None) -> Path:
    """Draws rank-k accuracy over k (logarithmic), with rank-1, rank-5 and rank-10 in numbers and mAP in a box.

    The curve ends at the length of ``scores.cmc`` or of the gallery, whichever is less.

    Args:
        scores: of one evaluation.
        title: shown above.
        path: the picture, for example a ``.png``; folders above it are made.
        svg_path: the same for web pages.

    Returns:
        ``path``.

    Raises:
        StorageError: the picture cannot be written.
        ToolNotFound: matplotlib is not installed.
    """
    figure = new_figure(7.2, 4.6)
    set_title(figure, title)
    axes = figure.add_subplot()
    last = max(1, min(len(scores.cmc), scores.num_gallery))
    percent = 100 * np.nan_to_num(scores.cmc[:last])
    floor = max(0.0, 10 * np.floor((float(percent[0]) - 12) / 10))
    if np.isfinite(scores.cmc).all():
        axes.plot(np.arange(1, last + 1), percent, color=BLUE, linewidth=2, clip_on=False, zorder=3)
        for rank in _NAMED_RANKS:
            if rank <= last:
                _name_point(axes, rank, float(percent[rank - 1]), floor)
    axes.set_xscale("log")
    axes.set_xlim(0.93, max(last, 2) * 1.02)
    axes.set_xticks([tick for tick in _TICKS if tick <= last], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(floor, 100)
    axes.locator_params(axis="y", steps=[1, 2, 5, 10])
    style_axes(axes, "rank k", "rank-k accuracy (CMC) in %")
    # The curve rises: where it is still low at the box's left end, the upper left corner is free, else the lower right.
    low = percent[min(_BOX_FROM_RANK, last) - 1] < floor + 0.4 * (100 - floor) and last > _BOX_FROM_RANK
    axes.text(
        *((0.03, 0.96) if low else (0.97, 0.05)),
        _summary(scores),
        transform=axes.transAxes,
        ha="left" if low else "right",
        va="top" if low else "bottom",
        multialignment="left",
        linespacing=1.5,
        color=INK,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": GRID},
        zorder=5,
    )
    return save_figure(figure, path, svg_path)


def _name_point(axes: Axes, rank: int, value: float, floor: float) -> None:
    axes.plot(rank, value, "o", color=BLUE, markersize=6, clip_on=False, zorder=4)
    above = value < floor + 0.15 * (100 - floor)  # no room for two lines below
    axes.annotate(
        f"rank-{rank}\n{value:.2f} %",
        (rank, value),
        xytext=(2 if above and rank > 1 else 7, 9 if above else -8),
        textcoords="offset points",
        ha="right" if above and rank > 1 else "left",
        va="bottom" if above else "top",
        fontsize=9,
        color=INK,
    )


def _summary(scores: RetrievalScores) -> str:
    lines = [
        f"mAP  {100 * scores.mean_average_precision:.2f} %",
        f"mINP  {100 * scores.mean_inverse_negative_penalty:.2f} %",
        f"queries: {scores.num_queries}, gallery images: {scores.num_gallery}",
        f"{scores.metric} distance, protocol {scores.protocol}",
    ]
    if len(scores.queries_without_match) == scores.num_queries:
        lines[:2] = ["no query has a match"]
    elif scores.queries_without_match:
        lines.append(f"queries without match, left out: {len(scores.queries_without_match)}")
    return "\n".join(lines)
