"""Loss, accuracy and mAP over the epochs of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.figures.style import BLUE, GREEN, INK, ORANGE, new_figure, save_figure, set_title, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW_EPOCHS = 40
"""Up to here each epoch gets a mark; with more, marks would run into one another."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """A metric of the history and how it is drawn."""

    key: str
    label: str
    color: str
    style: str = "-"


@dataclass(frozen=True, slots=True)
class _Panel:
    """A plot; it is drawn where the history has one of its curves.

    Attributes:
        name: what the curves show.
        curves: the last one is the one whose best epoch is marked.
        percent: whether the values are fractions, shown in percent.
        best: which value is best, ``min`` or ``max``; None where no epoch is marked.
    """

    name: str
    curves: tuple[_Curve, ...]
    percent: bool = False
    best: str | None = None


_PANELS = (
    _Panel("loss", (_Curve("loss", "training", BLUE), _Curve("val_loss", "validation", ORANGE, "--")), best="min"),
    _Panel(
        "accuracy",
        (_Curve("accuracy", "training", BLUE), _Curve("val_accuracy", "validation", ORANGE, "--")),
        percent=True,
    ),
    _Panel("validation mAP", (_Curve("val_mAP", "validation", ORANGE, "--"),), percent=True, best="max"),
    _Panel("learning rate", (_Curve("learning_rate", "learning rate", GREEN),)),
)
_LOG_SCALE_FROM = 100
"""Ratio of the largest to the smallest learning rate from which its axis is logarithmic."""


def draw_training_curves(
    history: Mapping[str, Iterable[float]],
    path: Path,
    title: str = "Training curves",
    *,
    svg_path: Path | None = None,
) -> Path:
    """Draws a panel each for loss, accuracy, validation mAP and learning rate, as far as the history has them.

    A learning rate that never changes gets no panel. Epochs whose value is not finite leave a gap.

    Args:
        history: one value an epoch for each of ``loss``, ``accuracy`` (fractions), ``val_loss``, ``val_accuracy``,
            ``val_mAP`` and ``learning_rate``; other metrics are not drawn.
        path: the picture, for example a ``.png``; folders above it are made.
        title: shown above.
        svg_path: the same for web pages.

    Returns:
        ``path``.

    Raises:
        StorageError: the picture cannot be written.
        ToolNotFound: matplotlib is not installed.
        ValueError: the history has none of these metrics.
    """
    series = {key: np.array(list(values), dtype=np.float64) for key, values in history.items()}
    panels = [panel for panel in _PANELS if any(_is_worth_drawing(series, curve) for curve in panel.curves)]
    if not panels:
        raise ValueError(f"the history has no metric to draw; it has: {', '.join(history) or 'nothing'}")
    columns = min(len(panels), 3) if len(panels) != 4 else 2
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(4.6 * columns + 0.4, 3.4 * rows + 0.5)
    set_title(figure, title)
    for place, panel in enumerate(panels, start=1):
        _draw_panel(figure.add_subplot(rows, columns, place), panel, series)
    return save_figure(figure, path, svg_path)


def _is_worth_drawing(series: Mapping[str, np.ndarray], curve: _Curve) -> bool:
    values = series.get(curve.key, np.array([]))
    finite = values[np.isfinite(values)]
    return bool(finite.size and (curve.key != "learning_rate" or np.ptp(finite) > 0))


def _draw_panel(axes: Axes, panel: _Panel, series: Mapping[str, np.ndarray]) -> None:
    shown = [curve for curve in panel.curves if _is_worth_drawing(series, curve)]
    factor = 100 if panel.percent else 1
    longest = max(len(series[curve.key]) for curve in shown)
    for curve in shown:
        values = factor * series[curve.key]
        axes.plot(
            np.arange(1, len(values) + 1),
            values,
            curve.style,
            color=curve.color,
            linewidth=1.8,
            marker="o" if longest <= _FEW_EPOCHS else "",
            markersize=3.5,
            label=curve.label,
        )
    title = panel.name
    if panel.best is not None and shown[-1] is panel.curves[-1]:
        values = factor * series[shown[-1].key]
        best = int(np.nanargmin(values) if panel.best == "min" else np.nanargmax(values))
        axes.plot(best + 1, values[best], "D", color=INK, markersize=7, markerfacecolor="none", clip_on=False, zorder=4)
        title = f"best {panel.curves[-1].label} {panel.name.removeprefix('validation ')}: "
        title += f"{values[best]:.4g}{' %' if panel.percent else ''} in epoch {best + 1}"
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlim(0.5, longest + 0.5)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    if panel.percent:
        axes.set_ylim(0, 102)
    if panel.name == "learning rate":
        _scale_rates(axes, series["learning_rate"])
    style_axes(axes, "epoch", f"{panel.name} in %" if panel.percent else panel.name)
    if len(shown) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, handlelength=2.6)


def _scale_rates(axes: Axes, rates: np.ndarray) -> None:
    low, high = float(np.nanmin(rates)), float(np.nanmax(rates))
    if low > 0 and high / low >= _LOG_SCALE_FROM:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
