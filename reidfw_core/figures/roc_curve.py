"""ROC curves: how many same-identity pairs are found at a given rate of false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from reidfw_core.figures.style import BLUE, CYCLE, INK, new_figure, save_figure, set_title, style_axes

_LEAST_RATE = 1e-4
_NAMED_RATES = (1e-3, 1e-2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RocCurve:
    """One curve.

    Attributes:
        label: what the legend calls it.
        false_positive_rates, true_positive_rates: (N,) in [0, 1], ascending.
        equal_error_rate, area_under_roc: in [0, 1].
        threshold_point: (FPR, TPR) at the chosen threshold.
    """

    label: str
    false_positive_rates: ArrayLike
    true_positive_rates: ArrayLike
    equal_error_rate: float
    area_under_roc: float
    threshold_point: tuple[float, float] | None = None


def draw_roc_curve(curves: Sequence[RocCurve], title: str, path: Path, *, svg_path: Path | None = None) -> Path:
    """Draws the true positive rate over the false positive rate, the latter on a logarithmic axis from 1e-4.

    Args:
        curves: at least one.
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
    for number, curve in enumerate(curves):
        color, style = CYCLE[number % len(CYCLE)]
        fpr = np.maximum(np.asarray(curve.false_positive_rates, np.float64), _LEAST_RATE)
        tpr = 100 * np.asarray(curve.true_positive_rates, np.float64)
        label = f"{curve.label}: EER {100 * curve.equal_error_rate:.2f} %, AUC {curve.area_under_roc:.4f}"
        axes.step(fpr, tpr, where="post", color=color, linestyle=style, linewidth=2, label=label, zorder=3)
        if curve.threshold_point is not None:
            false, true = curve.threshold_point
            axes.plot(
                max(false, _LEAST_RATE),
                100 * true,
                "D",
                color=color,
                markersize=7,
                markerfacecolor="none",
                markeredgewidth=1.8,
                clip_on=False,
                zorder=4,
                label=f"best threshold: TPR {100 * true:.1f} % at FPR {100 * false:.2f} %",
            )
    if len(curves) == 1:
        _name_rates(axes, curves[0])
    chance = np.geomspace(_LEAST_RATE, 1, 200)
    axes.plot(chance, 100 * chance, ":", color=INK, linewidth=1.2, label="chance")
    axes.set_xscale("log")
    axes.set_xlim(_LEAST_RATE, 1)
    axes.set_ylim(0, 102)
    axes.set_xticks([1e-4, 1e-3, 1e-2, 1e-1, 1], ["0.01", "0.1", "1", "10", "100"])
    style_axes(axes, "false positive rate in % (logarithmic)", "true positive rate in %")
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=9, labelcolor=INK, handlelength=2.4)
    return save_figure(figure, path, svg_path)


def _name_rates(axes: object, curve: RocCurve) -> None:
    fpr = np.asarray(curve.false_positive_rates, np.float64)
    tpr = np.asarray(curve.true_positive_rates, np.float64)
    for rate in _NAMED_RATES:
        reached = 100 * float(np.max(tpr[fpr <= rate], initial=0.0))
        axes.plot(rate, reached, "o", color=BLUE, markersize=6, zorder=4)  # type: ignore[attr-defined]
        axes.annotate(  # type: ignore[attr-defined]
            f"{reached:.1f} % at FPR {100 * rate:g} %",
            (rate, reached),
            xytext=(8, -14 if reached > 15 else 8),
            textcoords="offset points",
            fontsize=9,
            color=INK,
            zorder=5,
        )
