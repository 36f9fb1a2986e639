"""CMC curves of several models as one small SVG, drawn without matplotlib so that it costs no import."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 420, 275
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 408, 10, 230

_COLORS = 8
"""Colours ``--c1`` to ``--c8`` of the style sheet; they stay apart for colour-blind readers."""

_DASHES = ("", "6 3", "2 2.5", "8 3 2 3")

MOST_RANKS = 50
"""Ranks that are drawn: what comes later is of little use, and flat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A CMC curve.

    Attributes:
        label: for the legend.
        percent: rank-k accuracy in percent for k = 1, 2, ...
    """

    label: str
    percent: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve in the coordinates of the picture.

    Attributes:
        label: for the legend.
        color: number of the colour variable, from 1.
        dash: ``stroke-dasharray``, empty for a solid line: curves are told apart without colours, too.
        points: for a ``polyline``.
    """

    label: str
    color: int
    dash: str
    points: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of an axis: where, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What the template draws: sizes in units of the picture, curves and marks."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    lines: Sequence[Line]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def rank_chart(curves: Sequence[Curve]) -> Chart:
    """Lays out CMC curves, ranks to the right, percent upwards from the next ten below the lowest curve to 100.

    Args:
        curves: one or more, each with one value or more.
    """
    last = min(max(len(curve.percent) for curve in curves), MOST_RANKS)
    floor = min(90.0, 10.0 * math.floor(min(min(curve.percent[:last]) for curve in curves) / 10))

    def x_of(rank: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (rank - 1) / max(last - 1, 1), 2)

    def y_of(percent: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (percent - floor) / (100 - floor), 2)

    lines = [
        Line(
            label=curve.label,
            color=number % _COLORS + 1,
            dash=_DASHES[(number + number // _COLORS) % len(_DASHES)],
            points=_points([(x_of(rank), y_of(value)) for rank, value in enumerate(curve.percent[:last], start=1)]),
        )
        for number, curve in enumerate(curves)
    ]
    ranks = [rank for rank in (1, 5, 10, 20, 30, 40, 50) if rank <= last]
    step = 10 if 100 - floor <= 50 else 20
    percents = range(math.ceil(floor / step) * step, 101, step)
    return Chart(
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        lines=lines,
        x_ticks=[Tick(at=x_of(rank), text=str(rank)) for rank in ranks],
        y_ticks=[Tick(at=y_of(percent), text=str(percent)) for percent in percents],
    )


def _points(places: Sequence[tuple[float, float]]) -> str:
    """The corners of a line; one place alone becomes a short dash, for a line of one point is not seen."""
    if len(places) == 1:
        x, y = places[0]
        places = [(x, y), (x + 12, y)]
    return " ".join(f"{x:g},{y:g}" for x, y in places)
