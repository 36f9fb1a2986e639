"""Anti-aliased shapes on a small RGB image, in plain NumPy.

Each shape is drawn inside its bounding box from the signed distance of the pixel centres to its outline. Only
additions, multiplications, divisions, comparisons and square roots are applied to arrays: IEEE 754 fixes their
results, so the same calls give the same pixels on every platform.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
"""Red, green, blue in [0, 1]."""

Point = tuple[float, float]
"""x to the right and y down, in pixels; pixel (row 0, column 0) has its centre at (0.5, 0.5)."""

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps a slab's own coordinates, across u in [-1, 1] and along v in [0, 1], to coverage in [0, 1]."""

_ROUNDNESS = 0.16
_SIDE_LIGHT = 0.16


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of a canvas that a shape can touch, with the coordinates of its pixel centres."""

    rows: slice
    columns: slice
    xs: np.ndarray
    ys: np.ndarray


class Canvas:
    """An RGB image to draw on.

    Args:
        pixels: (H, W, 3) float32 in [0, 1]; drawn on in place.
        light_from: side from which the light comes, -1 (left) to 1 (right); shades round shapes.
    """

    def __init__(self, pixels: np.ndarray, light_from: float = 0.0) -> None:
        self.pixels = pixels
        self.light_from = light_from

    def capsule(self, start: Point, end: Point, radius_start: float, radius_end: float, colour: Colour) -> None:
        """A limb: all points within a radius, which changes evenly, of the line from ``start`` to ``end``."""
        radius = max(radius_start, radius_end)
        window = self._window(
            min(start[0], end[0]) - radius,
            min(start[1], end[1]) - radius,
            max(start[0], end[0]) + radius,
            max(start[1], end[1]) + radius,
        )
        if window is None:
            return
        along = (end[0] - start[0], end[1] - start[1])
        length_squared = max(along[0] * along[0] + along[1] * along[1], 1e-6)
        from_x = window.xs - start[0]
        from_y = window.ys - start[1]
        position = np.clip((from_x * along[0] + from_y * along[1]) / length_squared, 0.0, 1.0)
        off_x = from_x - position * along[0]
        off_y = from_y - position * along[1]
        radii = radius_start + position * (radius_end - radius_start)
        coverage = np.clip(radii - np.sqrt(off_x * off_x + off_y * off_y) + 0.5, 0.0, 1.0)
        self._blend(window, coverage, colour, off_x / radii)

    def ellipse(
        self, centre: Point, half_width: float, half_height: float, colour: Colour, *, above: float | None = None
    ) -> None:
        """An ellipse with level axes; ``above`` cuts off what lies below that y."""
        bottom = centre[1] + half_height if above is None else min(above, centre[1] + half_height)
        window = self._window(centre[0] - half_width, centre[1] - half_height, centre[0] + half_width, bottom)
        if window is None:
            return
        across = (window.xs - centre[0]) / half_width
        down = (window.ys - centre[1]) / half_height
        distance = (np.sqrt(across * across + down * down) - 1.0) * min(half_width, half_height)
        coverage = np.clip(0.5 - distance, 0.0, 1.0)
        if above is not None:
            coverage = coverage * np.clip(above - window.ys + 0.5, 0.0, 1.0)
        self._blend(window, coverage, colour, across)

    def slab(
        self,
        top: Point,
        bottom: Point,
        half_top: float,
        half_bottom: float,
        colour: Colour,
        *,
        pattern: Pattern | None = None,
        opacity: float = 1.0,
        flat: bool = False,
    ) -> None:
        """A trapezium along the line from ``top`` to ``bottom``.

        Args:
            top: middle of the upper edge.
            bottom: middle of the lower edge.
            half_top: half the length of the upper edge in pixels.
            half_bottom: half the length of the lower edge in pixels.
            colour: its colour.
            pattern: coverage as a function of place; None covers it all.
            opacity: in [0, 1].
            flat: draws it without the shading of a round body.
        """
        reach = max(half_top, half_bottom)
        window = self._window(
            min(top[0], bottom[0]) - reach,
            min(top[1], bottom[1]) - reach * 0.3,
            max(top[0], bottom[0]) + reach,
            max(top[1], bottom[1]) + reach * 0.3,
        )
        if window is None:
            return
        along = (bottom[0] - top[0], bottom[1] - top[1])
        length = max(math.sqrt(along[0] * along[0] + along[1] * along[1]), 1e-3)
        unit = (along[0] / length, along[1] / length)
        from_x = window.xs - top[0]
        from_y = window.ys - top[1]
        down = from_x * unit[0] + from_y * unit[1]
        across = from_x * unit[1] - from_y * unit[0]
        v = down / length
        half = np.maximum(half_top + np.clip(v, 0.0, 1.0) * (half_bottom - half_top), 0.25)
        inside = np.minimum(half - np.abs(across), np.minimum(down, length - down))
        u = across / half
        coverage = np.clip(inside + 0.5, 0.0, 1.0) * opacity
        if pattern is not None:
            coverage = coverage * pattern(u, v)
        self._blend(window, coverage, colour, None if flat else u)

    def _window(self, left: float, top: float, right: float, bottom: float) -> _Window | None:
        height, width = self.pixels.shape[:2]
        first_column, last_column = max(0, math.floor(left - 1)), min(width, math.ceil(right + 1))
        first_row, last_row = max(0, math.floor(top - 1)), min(height, math.ceil(bottom + 1))
        if first_column >= last_column or first_row >= last_row:
            return None
        return _Window(
            rows=slice(first_row, last_row),
            columns=slice(first_column, last_column),
            xs=np.arange(first_column, last_column, dtype=np.float32)[None, :] + np.float32(0.5),
            ys=np.arange(first_row, last_row, dtype=np.float32)[:, None] + np.float32(0.5),
        )

    def _blend(self, window: _Window, coverage: np.ndarray, colour: Colour, side: np.ndarray | None) -> None:
        """Mixes a colour in; ``side`` in [-1, 1] is how far the surface turns away to the left or right."""
        region = self.pixels[window.rows, window.columns]
        paint: np.ndarray = np.asarray(colour, dtype=np.float32)
        if side is not None:
            bounded = np.clip(side, -1.0, 1.0)
            shade = 1.0 + bounded * (_SIDE_LIGHT * self.light_from) - _ROUNDNESS * bounded * bounded
            paint = shade[..., None] * paint
        region += coverage[..., None] * (paint - region)
