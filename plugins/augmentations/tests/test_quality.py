"""Sharpness, blur, noise and JPEG."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance
from reidfw_augmentations._keras import quality as layers

SEED = (3, 4)


def fixed(value):
    return (value, value)


def test_sharpness_agrees_with_pillow(images):
    changed = layers.RandomSharpness(factor=fixed(1.0)).apply(images, SEED).numpy()

    for image, result in zip(images, changed, strict=True):
        picture = Image.fromarray(np.round(image * 255).astype(np.uint8))
        reference = np.asarray(ImageEnhance.Sharpness(picture).enhance(2.0)).astype(float)
        # Pillow rounds the smoothed image before it takes the difference
        assert np.abs(result * 255 - reference).max() <= 1.01


def test_sharpness_keeps_the_border(images):
    changed = layers.RandomSharpness(factor=fixed(3.0)).apply(images, SEED).numpy()

    for border in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        np.testing.assert_allclose(changed[border], images[border], atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("padding", ["reflect", "symmetric", "constant"])
def test_blur_is_the_mean_of_a_square(images, size, padding):
    layer = layers.RandomBlur(filter_size=fixed(size), padding=padding, constant_values=0.25)

    changed = layer.apply(images, SEED)

    options = {"constant_values": 0.25} if padding == "constant" else {}
    sides = ((size - 1) // 2, size // 2)
    padded = np.pad(images, ((0, 0), sides, sides, (0, 0)), mode=padding, **options)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    np.testing.assert_allclose(changed, windows.mean((-1, -2)), atol=1e-5)


def test_blur_has_one_size_a_batch_and_draws_them_all(images):
    layer = layers.RandomBlur(filter_size=(1, 3), padding="reflect", constant_values=0.0)
    same = np.repeat(images[:1], 3, axis=0)

    results = [layer.apply(same, (number, 0)).numpy() for number in range(20)]

    assert all(np.array_equal(batch[0], batch[1]) for batch in results)
    assert len({batch[0].tobytes() for batch in results}) == 3


def test_blur_larger_than_the_image_is_refused(images):
    with pytest.raises(ValueError, match="filter_size 25 of random_blur is too large"):
        layers.RandomBlur(filter_size=(3, 25), padding="reflect", constant_values=0.0).apply(images, SEED)


def test_noise_has_the_deviation_asked_for():
    gray = np.full((8, 64, 64, 3), 0.0, np.float32)

    changed = layers.RandomGaussianNoise(stddev=fixed(0.05), pixel_range=(-1.0, 1.0)).apply(gray, SEED).numpy()

    assert changed.std() == pytest.approx(0.1, rel=0.02)
    assert changed.mean() == pytest.approx(0.0, abs=0.002)
    assert abs(np.corrcoef(changed[0].ravel(), changed[1].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_agrees_with_tensorflow(smooth_images, channels):
    some = smooth_images[..., :channels]

    changed = layers.RandomJpegQuality(jpeg_quality=fixed(30)).apply(some, SEED).numpy()

    for image, result in zip(some, changed, strict=True):
        content = tf.io.encode_jpeg(np.round(image * 255).astype(np.uint8), quality=30)
        np.testing.assert_array_equal(np.round(result * 255), tf.io.decode_jpeg(content, channels=channels).numpy())


def test_jpeg_quality_differs_between_images(smooth_images):
    same = np.repeat(smooth_images[-1:], 8, axis=0)

    changed = layers.RandomJpegQuality(jpeg_quality=(5, 95)).apply(same, SEED).numpy()

    errors = np.abs(changed - same).mean((1, 2, 3))
    assert errors.max() > 2 * errors.min()


def resizing(sizes, period=1, **given):
    return layers.RandomPeriodicResizing(image_sizes=sizes, period=period, **{"interpolation": "bilinear", **given})


def test_periodic_resizing_goes_to_a_size_and_back(smooth_images, images):
    for some in (smooth_images, images):
        changed = resizing(((20, 6),)).apply(some, SEED)

        smaller = tf.image.resize(some, (20, 6), antialias=True)
        np.testing.assert_allclose(changed, tf.image.resize(smaller, (40, 24)), atol=1e-6)
        np.testing.assert_array_equal(resizing((0.5, 0.5)).apply(some, SEED), resizing(((20, 12),)).apply(some, SEED))


def test_nearest_periodic_resizing_repeats_pixels(images):
    changed = resizing((0.5, 0.5), interpolation="nearest").apply(images, SEED).numpy()

    np.testing.assert_array_equal(changed, changed[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2))
    assert set(np.unique(changed)) <= set(np.unique(images))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_periodic_resizing_to_the_same_size_changes_no_bit(images, interpolation):
    for same in ((1.0, 1.0), ((40, 24),)):
        np.testing.assert_array_equal(resizing(same, interpolation=interpolation).apply(images, SEED), images)


def test_a_size_lasts_for_a_period(images):
    layer = resizing((0.2, 0.9), period=3)

    batches = [layer.apply(images, (11, number)).numpy() for number in range(9)]

    for start in (0, 3, 6):
        np.testing.assert_array_equal(batches[start], batches[start + 1])
        np.testing.assert_array_equal(batches[start], batches[start + 2])
    assert len({batch.tobytes() for batch in batches}) == 3
    assert not np.array_equal(batches[0], layer.apply(images, (8, 0)))


def test_a_size_lasts_for_a_period_inside_of_a_model_too(images):
    layer = resizing((0.2, 0.9), period=2, seed=3)

    batches = [layer(images, training=True).numpy() for _ in range(6)]

    assert [np.array_equal(a, b) for a, b in itertools.pairwise(batches)] == [
        True, False, True, False, True
    ]  # fmt: skip


def test_all_sizes_are_drawn(images):
    sizes = ((10, 6), (20, 12), (40, 24))
    layer = resizing(sizes)
    expected = {resizing((size,)).apply(images, SEED).numpy().tobytes() for size in sizes}

    assert {layer.apply(images, (1, number)).numpy().tobytes() for number in range(25)} == expected
