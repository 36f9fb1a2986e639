"""One picture of one person by one camera."""

from __future__ import annotations

import math

import numpy as np

from reidfw_dataset_readers.synthetic.camera import Camera, develop
from reidfw_dataset_readers.synthetic.canvas import Canvas
from reidfw_dataset_readers.synthetic.draws import Draws
from reidfw_dataset_readers.synthetic.figure import draw_person
from reidfw_dataset_readers.synthetic.people import Person
from reidfw_dataset_readers.synthetic.scene import draw_obstacle, draw_place, draw_shadow, light_of
from reidfw_dataset_readers.synthetic.skeleton import pose_skeleton, random_pose

DRAWING_VERSION = 1
"""Raise it with every change of the pictures, so that old ones are not taken for new ones."""

_LONGEST_BODY = 0.94


def draw_portrait(person: Person, camera: Camera, draws: Draws, *, height: int, width: int) -> np.ndarray:
    """Draws a person as a detector would crop them: roughly centred, filling most of the height.

    Args:
        person: who.
        camera: where and with what.
        draws: everything else: pose, place in the crop, light, things in the way, noise.
        height: rows of the picture.
        width: columns of the picture.

    Returns:
        (height, width, 3) uint8, RGB.
    """
    scene = draw_place(camera.place, draws, height, width)
    canvas = Canvas(scene, draws.uniform(-1.0, 1.0))
    scale = _on_grid(
        min(height, 2.0 * width) * _LONGEST_BODY * person.build.height * camera.zoom * draws.uniform(0.95, 1.06)
    )
    middle = height * 0.5 + scale * 0.49 + draws.uniform(-0.03, 0.03) * height
    foot = (_on_grid(width * (0.5 + draws.uniform(-0.05, 0.05))), _on_grid(middle))
    skeleton = pose_skeleton(person.build, random_pose(draws), foot=foot, scale=scale)
    draw_shadow(canvas, foot, scale, draws)
    draw_person(canvas, person, skeleton)
    if draws.chance(0.12):
        draw_obstacle(canvas, draws)
    scene *= light_of(draws, height, width)[..., None]
    return develop(scene, camera, draws)


def _on_grid(pixels: float) -> float:
    return math.floor(pixels * 256 + 0.5) / 256
