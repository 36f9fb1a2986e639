"""Colour: against the standard library's colorsys."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from reidfw_augmentations._keras import color as layers

SEED = (3, 4)


def fixed(value):
    return (value, value)


def hsv_reference(images, hue=0.0, saturation=0.0, value=0.0):
    def shift(pixel):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        saturated, bright = np.clip([s + saturation, v + value], 0, 1)
        return np.array(colorsys.hsv_to_rgb((h + hue) % 1, saturated, bright), float)

    return np.apply_along_axis(shift, -1, images.astype(np.float64))


@pytest.mark.parametrize("delta", [-0.6, 0.3])
@pytest.mark.parametrize(
    ("layer", "name"),
    [(layers.RandomHue, "hue"), (layers.RandomSaturation, "saturation"), (layers.RandomValue, "value")],
)
def test_offsets_agree_with_colorsys(images, layer, name, delta):
    changed = layer(delta=fixed(delta), pixel_range=(-1.0, 1.0)).apply(images[:2] * 2 - 1, SEED)

    np.testing.assert_allclose(changed, hsv_reference(images[:2], **{name: delta}) * 2 - 1, atol=2e-4)


def test_hsv_shifts_all_three(images):
    layer = layers.RandomHsv(hue_delta=fixed(0.4), saturation_delta=fixed(-0.2), value_delta=fixed(0.1))

    np.testing.assert_allclose(layer.apply(images[:2], SEED), hsv_reference(images[:2], 0.4, -0.2, 0.1), atol=1e-4)


def test_a_full_turn_of_the_hue_changes_nothing(images):
    np.testing.assert_allclose(layers.RandomHue(delta=fixed(1.0)).apply(images, SEED), images, atol=1e-4)


def test_rgb_to_hsv_agrees_with_colorsys(images):
    changed = layers.RandomRgbToHsv().apply(images[:2], SEED)

    reference = np.apply_along_axis(
        lambda pixel: np.array(colorsys.rgb_to_hsv(*pixel), float), -1, images[:2].astype(np.float64)
    )
    np.testing.assert_allclose(changed, reference, atol=1e-5)


def test_grayscale_is_the_luma(images):
    changed = layers.RandomRgbToGrayscale().apply(images, SEED).numpy()

    luma = images @ np.array([0.299, 0.587, 0.114])
    for channel in range(3):
        np.testing.assert_allclose(changed[..., channel], luma, atol=1e-6)


def test_grayscale_images_are_refused(images):
    with pytest.raises(ValueError, match=r"RandomHue needs RGB images, got 1 channel"):
        layers.RandomHue(delta=fixed(0.1)).apply(images[..., :1], SEED)
