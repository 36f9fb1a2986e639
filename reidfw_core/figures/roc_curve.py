"""ROC curves: how many same-identity pairs are found at a given rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from reidfw_core.figures.style import (
    BLUE,
    CYCLE,
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_RATE = 1e-4
_NAMED_RATES = (1e-3, 1e-2)
_HOLLOW: dict[str, Any] = {"markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.8}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RocCurve:
    """One curve.

    Attributes:
        label: what the legend calls it.
        false_positive_rates, true_positive_rates: (N,) in [0, 1], ascending.
        equal_error_rate, area_under_roc: in [0, 1].
        threshold_point: (FPR, TPR) at the chosen threshold.
        num_impostor: impostor pairs; where it is known for all curves the axis begins at rates they can show.
    """

    label: str
    false_positive_rates: ArrayLike
    true_positive_rates: ArrayLike
    equal_error_rate: float
    area_under_roc: float
    threshold_point: tuple[float, float] | None = None
    num_impostor: int | None = None


def draw_roc_curve(curves: Sequence[RocCurve], title: str, path: Path, *, svg_path: Path | None = None) -> Path:
    """Draws the true positive rate over the false positive rate, the latter on a logarithmic axis from 1e-4.

    The equal error rate and the chosen threshold of each curve are marked.

    Args:
        curves: one to eight. Of a single one the rates at FPR 0.1 % and 1 % are named.
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
    left = _left_end(curves)
    figure = new_figure(7.2, 4.2 + LEGEND_ROW * (len(curves) + 2))
    set_title(figure, title)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    for curve, (color, style) in zip(curves, CYCLE, strict=False):
        fpr = np.maximum(np.asarray(curve.false_positive_rates, np.float64), left)
        tpr = 100 * np.asarray(curve.true_positive_rates, np.float64)
        name = as_label(shorten(curve.label, LEGEND_LETTERS))
        label = f"{name}: EER {100 * curve.equal_error_rate:.2f} %, AUC {curve.area_under_roc:.4f}"
        axes.step(fpr, tpr, where="post", color=color, linestyle=style, linewidth=2, label=label, zorder=3)
        point = (curve.equal_error_rate, 1 - curve.equal_error_rate)
        _mark(axes, point, left, "X", color, markeredgewidth=0, markersize=8)
        if curve.threshold_point is not None:
            _mark(axes, curve.threshold_point, left, "D", color, **_HOLLOW)
    if len(curves) == 1:
        _name_rates(axes, curves[0], left)
    chance = np.geomspace(left, 1, 200)
    axes.plot(chance, 100 * chance, ":", color=INK, linewidth=1.2, label="chance")
    axes.plot([], [], "X", color=INK, markersize=8, markeredgewidth=0, label="equal error rate (EER)")
    thresholds = [curve.threshold_point for curve in curves if curve.threshold_point is not None]
    if thresholds:
        label = "best threshold"
        if len(curves) == 1:
            false, true = thresholds[0]
            label += f": TPR {100 * true:.1f} % at FPR {100 * false:.2f} %"
        axes.plot([], [], "D", color=INK, label=label, **_HOLLOW)
    axes.set_xlim(left, 1)
    axes.set_ylim(0, 102)
    ticks = [tick for tick in (1e-4, 1e-3, 1e-2, 1e-1, 1.0) if tick >= left]
    axes.set_xticks(ticks, [f"{100 * tick:g}" for tick in ticks])
    axes.xaxis.set_minor_formatter("")  # between few powers of ten there would be numbers of another form
    style_axes(axes, "false positive rate in % (logarithmic)", "true positive rate in %")
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=9, labelcolor=INK, handlelength=3.4)
    return save_figure(figure, path, svg_path)


def _left_end(curves: Sequence[RocCurve]) -> float:
    """1e-4, or with few impostor pairs the power of ten below the least rate that they can tell from 0."""
    impostors = [curve.num_impostor for curve in curves]
    if any(number is None for number in impostors):
        return _LEAST_RATE
    most = max(number for number in impostors if number is not None)
    decade = math.floor(math.log10(1 / max(most, 1)))
    return float(min(max(10.0**decade, _LEAST_RATE), 0.1))


def _mark(axes: Axes, point: tuple[float, float], left: float, marker: str, color: str, **more: Any) -> None:
    false, true = point
    axes.plot(max(false, left), 100 * true, marker, color=color, clip_on=False, zorder=4, **more)


def _name_rates(axes: Axes, curve: RocCurve, left: float) -> None:
    fpr = np.asarray(curve.false_positive_rates, np.float64)
    tpr = np.asarray(curve.true_positive_rates, np.float64)
    for rate in _NAMED_RATES:
        if rate <= left:
            continue
        reached = 100 * float(np.max(tpr[fpr <= rate], initial=0.0))
        axes.plot(rate, reached, "o", color=BLUE, markersize=6, zorder=4, clip_on=False)
        low = reached <= 15
        axes.annotate(
            f"{reached:.1f} % at FPR {100 * rate:g} %",
            (rate, reached),
            xytext=(0 if low else 8, 14 if low else -14),  # over the curve and chance, which rise to the right
            textcoords="offset points",
            ha="center" if low else "left",
            fontsize=9,
            color=INK,
            zorder=5,
        )
