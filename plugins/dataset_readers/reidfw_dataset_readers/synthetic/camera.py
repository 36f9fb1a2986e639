"""What a camera makes of a scene: colour cast, tone, sharpness, resolution, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reidfw_dataset_readers.synthetic.draws import Draws
from reidfw_dataset_readers.synthetic.scene import Place, random_place

_CAMERA = 3
_TONE_STEPS = 256


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera at its place.

    Attributes:
        place: what it looks at.
        gains: factor of the red, green and blue channel.
        gamma: exponent of its tone curve; above 1 darkens.
        saturation: 1 leaves colours, 0 makes grey.
        blur: passes of a 3x3 binomial filter.
        coarse: whether it resolves only half the pixels each way.
        noise: largest error of a pixel, as a fraction of full scale.
        zoom: size of people in it, relative to others.
    """

    place: Place
    gains: tuple[float, float, float]
    gamma: float
    saturation: float
    blur: int
    coarse: bool
    noise: float
    zoom: float


def camera_of(number: int, *, seed: int, strength: float) -> Camera:
    """The camera with this number.

    Args:
        number: from 0.
        seed: seed of the whole collection.
        strength: how much cameras differ in colour; 0 makes all neutral.
    """
    draws = Draws(seed, _CAMERA, number)
    red, green, blue = (1.0 + strength * draws.uniform(-0.09, 0.09) for _ in range(3))
    return Camera(
        place=random_place(draws),
        gains=(red, green, blue),
        gamma=1.0 + strength * draws.uniform(-0.12, 0.16),
        saturation=1.0 - strength * draws.uniform(0.0, 0.2),
        blur=draws.integer(0, 1),
        coarse=draws.chance(0.17),
        noise=draws.uniform(0.01, 0.04),
        zoom=draws.uniform(0.95, 1.08),
    )


def develop(scene: np.ndarray, camera: Camera, draws: Draws) -> np.ndarray:
    """Turns a scene into what the camera stores.

    Args:
        scene: (H, W, 3) float32, linear light around [0, 1].
        camera: the camera.
        draws: for exposure, noise and small changes of white balance.

    Returns:
        (H, W, 3) uint8.
    """
    pixels = scene
    if camera.coarse:
        pixels = _halve_resolution(pixels)
    for _ in range(camera.blur):
        pixels = _blur(pixels)
    gains = np.array([gain * draws.uniform(0.97, 1.03) for gain in camera.gains], np.float32)
    pixels = pixels * gains
    grey = pixels[..., 0] * 0.299 + pixels[..., 1] * 0.587 + pixels[..., 2] * 0.114
    pixels = grey[..., None] + (pixels - grey[..., None]) * camera.saturation
    pixels = _tone(pixels, camera.gamma * draws.uniform(0.93, 1.07))
    noise = draws.field(*pixels.shape) - draws.field(*pixels.shape)  # triangular, in (-1, 1)
    pixels = pixels + noise * camera.noise
    stored: np.ndarray = np.floor(np.clip(pixels, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return stored


def _tone(pixels: np.ndarray, gamma: float) -> np.ndarray:
    """Applies x ** gamma through a table, rounded so that the platform's ``pow`` does not matter."""
    curve = [round(math.pow(step / (_TONE_STEPS - 1), gamma) * 65535) / 65535 for step in range(_TONE_STEPS)]
    steps = (np.clip(pixels, 0.0, 1.0) * (_TONE_STEPS - 1) + 0.5).astype(np.intp)
    toned: np.ndarray = np.array(curve, np.float32)[steps]
    return toned


def _blur(pixels: np.ndarray) -> np.ndarray:
    """One pass of the filter (1 2 1)/4 along both axes; borders are repeated."""
    padded = np.concatenate([pixels[:1], pixels, pixels[-1:]], axis=0)
    pixels = (padded[:-2] + padded[2:]) * 0.25 + padded[1:-1] * 0.5
    padded = np.concatenate([pixels[:, :1], pixels, pixels[:, -1:]], axis=1)
    blurred: np.ndarray = (padded[:, :-2] + padded[:, 2:]) * 0.25 + padded[:, 1:-1] * 0.5
    return blurred


def _halve_resolution(pixels: np.ndarray) -> np.ndarray:
    """Replaces each 2x2 block by its mean; an odd last row or column stays."""
    result = pixels.copy()
    rows, columns = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    even = pixels[:rows, :columns]
    mean = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * 0.25
    for row in (0, 1):
        for column in (0, 1):
            result[row:rows:2, column:columns:2] = mean
    return result
