"""What surrounds a person: a place, things in the way, light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reidfw_dataset_readers.synthetic.canvas import Canvas, Colour
from reidfw_dataset_readers.synthetic.draws import Draws

PlaceKind = Literal["street", "park", "hall", "brick_wall"]
PLACE_KINDS: tuple[PlaceKind, ...] = ("street", "park", "hall", "brick_wall")

_WALLS: dict[PlaceKind, tuple[Colour, ...]] = {
    "street": ((0.62, 0.62, 0.60), (0.66, 0.63, 0.58), (0.50, 0.53, 0.57)),
    "park": ((0.44, 0.52, 0.40), (0.50, 0.55, 0.42), (0.38, 0.46, 0.40)),
    "hall": ((0.74, 0.73, 0.70), (0.66, 0.68, 0.70), (0.74, 0.70, 0.64)),
    "brick_wall": ((0.56, 0.44, 0.38), (0.50, 0.45, 0.41), (0.62, 0.54, 0.48)),
}
_FLOORS: dict[PlaceKind, tuple[Colour, ...]] = {
    "street": ((0.43, 0.43, 0.44), (0.52, 0.51, 0.49)),
    "park": ((0.55, 0.50, 0.42), (0.42, 0.48, 0.36)),
    "hall": ((0.58, 0.56, 0.52), (0.48, 0.49, 0.51)),
    "brick_wall": ((0.47, 0.46, 0.45), (0.42, 0.41, 0.40)),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a camera looks.

    Attributes:
        kind: what sort of place.
        wall: colour behind the people.
        floor: colour of the ground.
        horizon: where the floor begins, as a fraction of the image height.
    """

    kind: PlaceKind
    wall: Colour
    floor: Colour
    horizon: float


def random_place(draws: Draws) -> Place:
    """A place of any kind."""
    kind = draws.pick(PLACE_KINDS)
    return Place(
        kind=kind, wall=draws.pick(_WALLS[kind]), floor=draws.pick(_FLOORS[kind]), horizon=draws.uniform(0.48, 0.72)
    )


def draw_place(place: Place, draws: Draws, height: int, width: int) -> np.ndarray:
    """A view of a place, shifted and cluttered differently each time.

    Returns:
        (height, width, 3) float32 in [0, 1].
    """
    horizon = place.horizon + draws.uniform(-0.06, 0.06)
    pixels = np.empty((height, width, 3), np.float32)
    edge = min(max(round(horizon * height), 1), height - 1)
    pixels[:edge] = place.wall
    pixels[edge:] = place.floor
    canvas = Canvas(pixels, draws.uniform(-1.0, 1.0))
    _CLUTTER[place.kind](canvas, place, edge, draws)
    mottle = smooth_field(draws, height, width, cells=draws.integer(4, 9))
    grain = smooth_field(draws, height, width, cells=28)
    pixels *= (0.82 + 0.24 * mottle + 0.12 * grain)[..., None]
    return pixels


def smooth_field(draws: Draws, height: int, width: int, *, cells: int) -> np.ndarray:
    """Value noise: random numbers on a coarse grid, interpolated.

    Args:
        draws: where the numbers come from.
        height: rows of the result.
        width: columns of the result.
        cells: grid cells along the longer side.

    Returns:
        (height, width) float32 in [0, 1].
    """
    size = max(height, width) / cells
    grid = draws.field(int(height / size) + 2, int(width / size) + 2)
    row, row_part = _cells_and_parts(height, size)
    column, column_part = _cells_and_parts(width, size)
    upper = grid[row] + (grid[row + 1] - grid[row]) * row_part[:, None]
    left = upper[:, column]
    field: np.ndarray = left + (upper[:, column + 1] - left) * column_part[None, :]
    return field


def draw_shadow(canvas: Canvas, foot: tuple[float, float], scale: float, draws: Draws) -> None:
    """The dark patch that a person casts on the ground."""
    direction = draws.uniform(-0.22, 0.22)
    end = (foot[0] + direction * scale, foot[1] - 0.02 * scale)
    depth = draws.uniform(0.4, 0.85)
    ground = canvas.pixels[min(max(int(foot[1]), 0), canvas.pixels.shape[0] - 1), 0]
    red, green, blue = (float(value) * depth for value in ground)
    canvas.capsule(foot, end, 0.05 * scale, 0.04 * scale, (red, green, blue))


def draw_obstacle(canvas: Canvas, draws: Draws) -> None:
    """Something that stands before the person: a post, a railing, a planter."""
    height, width = canvas.pixels.shape[:2]
    tone = draws.uniform(0.12, 0.75)
    colour = (tone, tone * draws.uniform(0.85, 1.05), tone * draws.uniform(0.75, 1.1))
    kind = draws.pick(("post", "railing", "planter"))
    if kind == "post":
        x = draws.uniform(0.05, 0.95) * width
        half = draws.uniform(0.03, 0.08) * width
        canvas.slab((x, -2.0), (x, height + 2.0), half, half, colour)
    elif kind == "railing":
        y = draws.uniform(0.62, 0.85) * height
        for level in (y, y + 0.09 * height):
            canvas.slab((width / 2, level), (width / 2, level + 0.022 * height), width, width, colour, flat=True)
    else:
        y = draws.uniform(0.76, 0.88) * height
        x = draws.uniform(0.0, 1.0) * width
        half = draws.uniform(0.25, 0.45) * width
        canvas.slab((x, y), (x, height + 2.0), half, half * 0.9, colour)


def light_of(draws: Draws, height: int, width: int) -> np.ndarray:
    """Brightness over the image: a slope, sometimes with the edge of a shadow.

    Returns:
        (height, width) float32 factors around 1.
    """
    across = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    down = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    slope = across[None, :] * draws.uniform(-0.25, 0.25) + down[:, None] * draws.uniform(-0.2, 0.2)
    light = slope + draws.uniform(0.85, 1.1)
    if draws.chance(0.15):
        tilt = draws.uniform(-1.5, 1.5)
        side = across[None, :] + down[:, None] * tilt - draws.uniform(-0.3, 0.3)
        light = light * (1.0 - draws.uniform(0.2, 0.5) * np.clip(side * 12.0, 0.0, 1.0))
    return light


def _cells_and_parts(length: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    position = np.arange(length, dtype=np.float32) / np.float32(size)
    cell = np.floor(position)
    return cell.astype(np.intp), position - cell


def _tinted(colour: Colour, factor: float) -> Colour:
    return min(colour[0] * factor, 1.0), min(colour[1] * factor, 1.0), min(colour[2] * factor, 1.0)


def _clutter_street(canvas: Canvas, place: Place, edge: int, draws: Draws) -> None:
    """Windows or a parked car."""
    height, width = canvas.pixels.shape[:2]
    glass = _tinted(place.wall, draws.uniform(0.68, 0.85))
    step = draws.uniform(0.4, 0.65) * width
    x = draws.uniform(0.0, 1.0) * step
    while x < width + step:
        for y in (0.04 * height, 0.28 * height):
            canvas.slab((x, y), (x, y + 0.15 * height), step * 0.28, step * 0.28, glass, flat=True)
        x += step
    if draws.chance(0.4):
        paint = draws.pick(((0.50, 0.36, 0.34), (0.38, 0.42, 0.50), (0.72, 0.72, 0.72), (0.38, 0.38, 0.38)))
        x = draws.uniform(0.0, 1.0) * width
        canvas.slab((x, edge - 0.12 * height), (x, edge - 0.05 * height), 0.28 * width, 0.4 * width, glass)
        canvas.slab((x, edge - 0.06 * height), (x, edge + 0.05 * height), 0.55 * width, 0.52 * width, paint)


def _clutter_park(canvas: Canvas, place: Place, edge: int, draws: Draws) -> None:
    """Trees."""
    height, width = canvas.pixels.shape[:2]
    for _ in range(draws.integer(1, 3)):
        x = draws.uniform(0.0, 1.0) * width
        half = draws.uniform(0.04, 0.08) * width
        canvas.slab((x, 0.0), (x, edge + 2.0), half, half * 1.3, (0.40, 0.34, 0.27))
        leaves = _tinted(place.wall, draws.uniform(0.8, 1.15))
        canvas.ellipse((x, draws.uniform(0.0, 0.15) * height), 0.4 * width, 0.14 * height, leaves)


def _clutter_hall(canvas: Canvas, place: Place, edge: int, draws: Draws) -> None:
    """A poster, a door, tiles on the floor."""
    height, width = canvas.pixels.shape[:2]
    x = draws.uniform(0.0, 1.0) * width
    sheet = draws.pick(((0.62, 0.42, 0.38), (0.42, 0.52, 0.58), (0.74, 0.68, 0.50), (0.4, 0.4, 0.4)))
    canvas.slab((x, 0.12 * height), (x, 0.34 * height), 0.2 * width, 0.2 * width, sheet, flat=True)
    x = draws.uniform(0.0, 1.0) * width
    door = _tinted(place.wall, 0.84)
    canvas.slab((x, 0.08 * height), (x, float(edge)), 0.22 * width, 0.22 * width, door, flat=True)
    canvas.pixels[edge :: max(height // 12, 1)] *= np.float32(0.88)


def _clutter_brick_wall(canvas: Canvas, _place: Place, edge: int, draws: Draws) -> None:
    """Mortar between bricks."""
    height, width = canvas.pixels.shape[:2]
    course = max(round(height / draws.uniform(16, 24)), 2)
    start = draws.integer(0, course - 1)
    for row, y in enumerate(range(start, edge, course)):
        canvas.pixels[y] *= np.float32(1.15)
        shift = (row % 2) * course
        canvas.pixels[max(y - course, 0) : y, shift % max(width, 1) :: course * 2] *= np.float32(1.1)


_CLUTTER = {
    "street": _clutter_street,
    "park": _clutter_park,
    "hall": _clutter_hall,
    "brick_wall": _clutter_brick_wall,
}
