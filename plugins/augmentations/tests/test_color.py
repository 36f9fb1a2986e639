"""Colour: against the standard library's colorsys."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance
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


NO_JITTER = {"brightness": fixed(1.0), "contrast": fixed(1.0), "saturation": fixed(1.0), "hue": fixed(0.0)}


def jitter(**given):
    return layers.RandomColorJitter(**NO_JITTER | given)


@pytest.mark.parametrize("factor", [0.4, 1.7])
@pytest.mark.parametrize("pixel_range", [(0.0, 1.0), (-1.0, 1.0)])
@pytest.mark.parametrize(
    ("name", "enhance", "levels"),
    [
        ("brightness", ImageEnhance.Brightness, 1.01),
        ("contrast", ImageEnhance.Contrast, 1.6),  # Pillow rounds the mean
        ("saturation", ImageEnhance.Color, 1.6),  # and the luma
    ],
)
def test_jitter_agrees_with_pillow(images, pixel_range, name, enhance, levels, factor):
    low, high = pixel_range

    changed = jitter(**{name: fixed(factor)}, pixel_range=pixel_range).apply(images * (high - low) + low, SEED)

    for image, result in zip(images, (changed.numpy() - low) / (high - low), strict=True):
        picture = Image.fromarray(np.round(image * 255).astype(np.uint8))
        reference = np.asarray(enhance(picture).enhance(factor)).astype(float)
        assert np.abs(result * 255 - reference).max() <= levels


def test_jitter_turns_the_hue(images):
    np.testing.assert_allclose(
        jitter(hue=fixed(0.3)).apply(images[:2], SEED), hsv_reference(images[:2], hue=0.3), atol=1e-4
    )


def test_jitter_without_anything_to_do_changes_no_bit(images):
    np.testing.assert_array_equal(jitter(pixel_range=(-1.0, 1.0)).apply(images * 2 - 1, SEED), images * 2 - 1)


def test_jitter_draws_its_order_for_each_batch(images):
    layer = jitter(brightness=fixed(1.8), contrast=fixed(0.3))

    def brighter(given):
        return np.clip(given * 1.8, 0, 1)

    def duller(given):
        mean = (given @ np.array([0.299, 0.587, 0.114])).mean((1, 2))[:, np.newaxis, np.newaxis, np.newaxis]
        return np.clip(mean + 0.3 * (given - mean), 0, 1)

    found = set()
    for number in range(12):
        changed = layer.apply(images, (number, 0)).numpy()
        fitting = [
            np.allclose(changed, expected, atol=1e-5)
            for expected in (duller(brighter(images)), brighter(duller(images)))
        ]
        assert sum(fitting) == 1
        found.add(fitting[0])
    assert found == {True, False}


def test_jitter_draws_factors_for_each_image(images):
    same = np.repeat(images[:1], 20, axis=0) / 2

    changed = jitter(brightness=(0.5, 1.5)).apply(same, SEED).numpy()

    factors = changed.mean((1, 2, 3)) / same.mean((1, 2, 3))
    assert len(np.unique(factors.round(4))) == 20
    assert 0.5 <= factors.min() < 0.7 < 1.3 < factors.max() <= 1.5
