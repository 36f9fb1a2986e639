"""Intensity: tone curves against NumPy and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from reidfw_augmentations._keras import intensity as layers

SEED = (3, 4)


def fixed(value):
    return (value, value)


def to_pillow(image):
    return Image.fromarray(np.round(image * 255).astype(np.uint8))


def levels(images):
    return np.round(np.asarray(images) * 255).astype(int)


def test_contrast_stretches_about_the_mean_of_each_channel(images):
    changed = layers.RandomContrast(factor=fixed(1.5)).apply(images, SEED)

    mean = images.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(changed, np.clip(1.5 * (images - mean) + mean, 0, 1), atol=1e-5)


def test_contrast_draws_one_factor_an_image(images):
    same = np.repeat(images[:1], 6, axis=0)

    changed = layers.RandomContrast(factor=(0.2, 0.9)).apply(same, SEED).numpy()

    spread = changed.std((1, 2)) / same.std((1, 2))
    np.testing.assert_allclose(spread, spread[:, :1].repeat(3, 1), rtol=1e-3)
    assert len(np.unique(spread[:, 0].round(4))) == 6
    assert spread.min() >= 0.2
    assert spread.max() <= 0.9


@pytest.mark.parametrize("pixel_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_brightness_is_in_rescaled_units(images, pixel_range):
    low, high = pixel_range
    rescaled = images * (high - low) + low

    changed = layers.RandomBrightness(factor=fixed(0.2), pixel_range=pixel_range).apply(rescaled, SEED)

    np.testing.assert_allclose(changed, np.clip(rescaled + 0.2, low, high), atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gamma_is_a_power_on_zero_to_one(images, gamma):
    changed = layers.RandomGamma(gamma=fixed(gamma), pixel_range=(-1.0, 1.0)).apply(images * 2 - 1, SEED)

    np.testing.assert_allclose(changed, images**gamma * 2 - 1, atol=1e-5)


def test_invert_agrees_with_pillow(images):
    changed = layers.RandomInvert().apply(images, SEED)

    for image, result in zip(images, changed, strict=True):
        np.testing.assert_array_equal(levels(result), np.asarray(ImageOps.invert(to_pillow(image))))


def test_solarize_inverts_from_a_threshold_on(images):
    changed = levels(layers.RandomSolarize().apply(images, SEED))

    thresholds = set()
    for image, result in zip(images, changed, strict=True):
        fitting = [t for t in range(256) if np.array_equal(result, np.asarray(ImageOps.solarize(to_pillow(image), t)))]
        assert fitting
        thresholds.add(fitting[0])
    assert len(thresholds) > 3


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_agrees_with_pillow(images, bits):
    changed = layers.RandomPosterize(bits=fixed(bits)).apply(images, SEED)

    for image, result in zip(images, changed, strict=True):
        np.testing.assert_array_equal(levels(result), np.asarray(ImageOps.posterize(to_pillow(image), bits)))


@pytest.mark.parametrize("cutoff", [0, 10, 49])
def test_autocontrast_agrees_with_pillow(images, smooth_images, cutoff):
    for some in (0.3 + 0.5 * images, smooth_images):
        changed = layers.RandomAutocontrast(cutoff=cutoff).apply(some.astype(np.float32), SEED)

        for image, result in zip(some, changed, strict=True):
            reference = np.asarray(ImageOps.autocontrast(to_pillow(image), cutoff)).astype(int)
            assert np.abs(levels(result) - reference).max() <= 1  # float32 and float64 floor differently


def test_autocontrast_leaves_a_flat_image_alone():
    flat = np.full((2, 8, 8, 3), 100 / 255, np.float32)

    np.testing.assert_allclose(layers.RandomAutocontrast(cutoff=10).apply(flat, SEED), flat, atol=1e-6)


def test_equalize_agrees_with_pillow(images, smooth_images):
    for some in (images**2, smooth_images):
        changed = layers.RandomEqualize().apply(some, SEED)

        for image, result in zip(some, changed, strict=True):
            np.testing.assert_array_equal(levels(result), np.asarray(ImageOps.equalize(to_pillow(image))))


def test_every_number_of_bits_of_the_range_is_drawn(images):
    many = np.repeat(images[:1], 60, axis=0)

    changed = levels(layers.RandomPosterize(bits=(1, 3)).apply(many, SEED))

    assert {len(np.unique(image)) for image in changed} == {2, 4, 8}
