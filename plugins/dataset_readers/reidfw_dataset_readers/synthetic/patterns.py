"""Patterns of cloth and the digits of shirt numbers, as coverage over a slab's own coordinates.

Every function maps u (across, -1 to 1) and v (down, 0 to 1), both (h, w) float32, to coverage in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reidfw_dataset_readers.synthetic.canvas import Pattern
from reidfw_dataset_readers.synthetic.people import TopPattern

_DIGITS: tuple[str, ...] = (
    "111101101101111",
    "010110010010111",
    "111001111100111",
    "111001111001111",
    "101101111001001",
    "111100111001111",
    "111100111101111",
    "111001001010010",
    "111101111101111",
    "111101111001111",
)
"""Each digit as 5 rows of 3 cells, so that no font file is needed."""


def _bounded(coverage: np.ndarray) -> np.ndarray:
    bounded: np.ndarray = np.clip(coverage, 0.0, 1.0)
    return bounded


def _wave(position: np.ndarray, periods: float, sharpness: float = 8.0) -> np.ndarray:
    """Stripes of equal width with soft edges."""
    phase = position * periods
    triangle = np.abs(phase - np.floor(phase) - 0.5) * 2.0
    return _bounded((triangle - 0.5) * sharpness / periods + 0.5)


def _hoops(_u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _wave(v, 3.5)


def _stripes(u: np.ndarray, _v: np.ndarray) -> np.ndarray:
    return _wave(u * 0.5 + 0.5, 3.0)


def _halves(u: np.ndarray, _v: np.ndarray) -> np.ndarray:
    return _bounded(u * 8.0 + 0.5)


def _yoke(_u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _bounded((0.36 - v) * 20.0)


def _band(_u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _bounded((0.14 - np.abs(v - 0.5)) * 25.0)


def _sash(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _bounded((0.17 - np.abs(u * 0.45 + 0.5 - v)) * 15.0)


def _checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _bounded((_wave(u * 0.5 + 0.5, 3.0) + _wave(v, 4.0)) * 0.5)


TOP_COVERAGE: Mapping[TopPattern, Pattern | None] = {
    "plain": None,
    "hoops": _hoops,
    "stripes": _stripes,
    "halves": _halves,
    "yoke": _yoke,
    "band": _band,
    "sash": _sash,
    "checks": _checks,
}
"""Where the second colour of a top is, by the name of its pattern."""


def mirrored(pattern: Pattern) -> Pattern:
    """The same pattern seen from the other side of the body."""
    return lambda u, v: pattern(-u, v)


def number_pattern(number: int) -> Pattern:
    """The digits of a number, filling the slab."""
    cells = _number_cells(number)
    rows, columns = cells.shape

    def coverage(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.clip(np.floor(v * rows), 0, rows - 1).astype(np.intp)
        column = np.clip(np.floor((u * 0.5 + 0.5) * columns), 0, columns - 1).astype(np.intp)
        lit: np.ndarray = cells[row, column]
        return lit

    return coverage


def number_columns(number: int) -> int:
    """Width of a number in cells; its height is five cells."""
    return 4 * len(str(number)) - 1


def _number_cells(number: int) -> np.ndarray:
    digits = [
        np.array([float(cell) for cell in _DIGITS[int(digit)]], np.float32).reshape(5, 3) for digit in str(number)
    ]
    gap = np.zeros((5, 1), np.float32)
    parts: list[np.ndarray] = []
    for digit in digits:
        parts += [digit, gap]
    return np.concatenate(parts[:-1], axis=1)
