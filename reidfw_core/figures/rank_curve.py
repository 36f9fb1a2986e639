"""CMC curves: of one evaluation, or of several models over one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.figures.style import (
    BLUE,
    CYCLE,
    GRID,
    INK,
    LEGEND_LETTERS,
    LEGEND_ROW,
    as_label,
    check_curves,
    new_figure,
    save_figure,
    set_title,
    shorten,
    style_axes,
)
from reidfw_core.metrics import RetrievalScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED_RANKS = (1, 5, 10)
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LEFT, _RIGHT = 0.93, 1.02
"""The axis begins at rank 0.93 and ends at 1.02 times the last rank, so that marks are whole."""
_BOX_FROM = 0.58
"""Where the box with the scores begins when it stands at the lower right, as a share of the width of the axes."""
_LABEL_WIDTH = 0.12
_AXES_POINTS = 250.0
"""Width of a point's label as a share of the axes' width, and height of the axes in points."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankCurve:
    """One curve of several.

    Attributes:
        label: what the legend calls it, for example the model.
        cmc: (K,) rank-1 to rank-K accuracy in [0, 1]; NaN where no query has a match.
        mean_average_precision: in [0, 1].
    """

    label: str
    cmc: ArrayLike
    mean_average_precision: float


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
    floor = _floor(float(percent[0]))
    if np.isfinite(scores.cmc).all():
        axes.plot(np.arange(1, last + 1), percent, color=BLUE, linewidth=2, clip_on=False, zorder=3)
        for rank in _NAMED_RANKS:
            if rank <= last:
                _name_point(axes, rank, percent, floor)
    _scale(axes, last, floor)
    # The curve rises: where it is still low at the box's left end, the upper left corner is free, else the lower right.
    low = _height_at(_BOX_FROM, percent) < floor + 0.4 * (100 - floor)
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


def draw_rank_curves(curves: Sequence[RankCurve], title: str, path: Path, *, svg_path: Path | None = None) -> Path:
    """Draws the CMC curves of several models or runs over one another, with rank-1 and mAP of each in the legend.

    Args:
        curves: one to eight, of any lengths.
        title: shown above.
        path: the picture, for example a ``.png``; folders above it are made.
        svg_path: the same for web pages.

    Returns:
        ``path``.

    Raises:
        DataError: there is no curve, or there are more than can be told apart.
        StorageError: the picture cannot be written.
        ToolNotFound: matplotlib is not installed.
    """
    check_curves(curves, title)
    figure = new_figure(7.2, 4.2 + LEGEND_ROW * len(curves))
    set_title(figure, title)
    axes = figure.add_subplot()
    series = [100 * np.asarray(curve.cmc, np.float64) for curve in curves]
    drawn = [bool(values.size) and bool(np.isfinite(values).all()) for values in series]
    shown = [values for values, is_drawn in zip(series, drawn, strict=True) if is_drawn]
    floor = _floor(min((float(values[0]) for values in shown), default=0.0))
    for curve, values, is_drawn, (color, style) in zip(curves, series, drawn, CYCLE, strict=False):
        scores = "no query has a match"
        if is_drawn:
            scores = f"rank-1 {values[0]:.2f} %, mAP {100 * curve.mean_average_precision:.2f} %"
        axes.plot(
            np.arange(1, len(values) + 1) if is_drawn else [],
            values if is_drawn else [],
            color=color,
            linestyle=style,
            linewidth=2,
            clip_on=False,
            zorder=3,
            label=f"{as_label(shorten(curve.label, LEGEND_LETTERS))}: {scores}",
        )
    _scale(axes, max((len(values) for values in shown), default=1), floor)
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=9, labelcolor=INK, handlelength=3.4)
    return save_figure(figure, path, svg_path)


def _floor(least: float) -> float:
    """Where the axis of percents begins: some way below the least value, at a multiple of ten."""
    return max(0.0, 10 * float(np.floor((least - 12) / 10)))


def _scale(axes: Axes, last: int, floor: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(_LEFT, max(last, 2) * _RIGHT)
    axes.set_xticks([tick for tick in (range(1, 11) if last <= 10 else _TICKS) if tick <= last], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(floor, 100)
    axes.locator_params(axis="y", steps=[1, 2, 5, 10])
    style_axes(axes, "rank k", "rank-k accuracy (CMC) in %")


def _height_at(share: float, percent: NDArray[np.float64]) -> float:
    """The curve's value at a share of the width of the axes, which is logarithmic."""
    right = max(len(percent), 2) * _RIGHT
    place = np.log(_LEFT) + share * np.log(right / _LEFT)
    return float(np.interp(place, np.log(np.arange(1, len(percent) + 1)), percent))


def _name_point(axes: Axes, rank: int, percent: NDArray[np.float64], floor: float) -> None:
    value = float(percent[rank - 1])
    axes.plot(rank, value, "o", color=BLUE, markersize=6, clip_on=False, zorder=4)
    above = value < floor + 0.15 * (100 - floor)  # no room for two lines below
    lift = 9.0
    if above and rank == 1:  # this one stands to the right of its point: over the curve that rises there
        right = np.log(1 / _LEFT) / np.log(max(len(percent), 2) * _RIGHT / _LEFT) + _LABEL_WIDTH
        lift += _AXES_POINTS * (_height_at(right, percent) - value) / (100 - floor)
    axes.annotate(
        f"rank-{rank}\n{value:.2f} %",
        (rank, value),
        xytext=(2 if above and rank > 1 else 7, lift if above else -8),
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
