"""RandAugment and AugMix: each operation against Pillow or our own layers, what is drawn, how it is mixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from reidfw_augmentations._keras import geometry, policies

SEED = (3, 4)
FILL = {"fill_mode": "reflect", "interpolation": "bilinear", "fill_value": 0.0}
RAND_AUGMENT = {"num_ops": 1, "magnitude": 9.0, **FILL}
AUGMIX = {"width": 3, "depth": -1, "alpha": 1.0, "severity": 3.0, **FILL}


def rand_augment(*operations, **given):
    return policies.RandAugment(operations=operations, **RAND_AUGMENT | given)


def augmix(*operations, **given):
    return policies.AugMix(operations=operations, **AUGMIX | given)


def to_pillow(image):
    return Image.fromarray(np.round(image * 255).astype(np.uint8))


def enhanced(enhance, by):
    return [lambda image, sign=sign: enhance(image).enhance(1 + sign * by) for sign in (1, -1)]


@pytest.mark.parametrize("pixel_range", [(0.0, 1.0), pytest.param((-1.0, 1.0), marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "references", "levels"),
    [
        ("identity", [lambda image: image], 0.01),
        ("autocontrast", [ImageOps.autocontrast], 1.01),
        ("equalize", [ImageOps.equalize], 0.01),
        ("solarize", [lambda image: ImageOps.solarize(image, 102)], 0.01),  # 256 * (1 - 18 / 30), rounded
        ("posterize", [lambda image: ImageOps.posterize(image, 6)], 0.01),  # 8 - 4 * 18 / 30, rounded
        ("brightness", enhanced(ImageEnhance.Brightness, 0.54), 1.01),  # 0.9 * 18 / 30
        ("contrast", enhanced(ImageEnhance.Contrast, 0.54), 1.6),
        ("color", enhanced(ImageEnhance.Color, 0.54), 1.6),
        ("sharpness", enhanced(ImageEnhance.Sharpness, 0.54), 1.6),
    ],
)
def test_operations_on_pixel_values_agree_with_pillow(images, smooth_images, pixel_range, name, references, levels):
    low, high = pixel_range
    for some in ((0.2 + 0.5 * images).astype(np.float32), smooth_images):
        exact = (np.round(some * 255) / 255).astype(np.float32)
        layer = rand_augment(name, magnitude=18.0, pixel_range=pixel_range)

        changed = layer.apply(exact * (high - low) + low, SEED).numpy()

        drawn = set()
        for image, result in zip(exact, (changed - low) / (high - low), strict=True):
            errors = [np.abs(result * 255 - np.asarray(of(to_pillow(image))).astype(float)).max() for of in references]
            assert min(errors) <= levels
            drawn.add(int(np.argmin(errors)))
        assert drawn == set(range(len(references)))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("fill_mode", ["reflect", "constant"])
@pytest.mark.parametrize(
    ("name", "layer", "arguments"),
    [
        ("rotate", geometry.RandomRotation, {"factor": 18 / 30 * 30 / 360}),
        ("shear_x", geometry.RandomShearX, {"factor": math.asin(18 / 30 * 0.3) / (2 * math.pi)}),
        ("shear_y", geometry.RandomShearY, {"factor": math.asin(18 / 30 * 0.3) / (2 * math.pi)}),
        ("translate_x", geometry.RandomTranslation, {"width_factor": 18 / 30 * 150 / 331, "height_factor": 0.0}),
        ("translate_y", geometry.RandomTranslation, {"width_factor": 0.0, "height_factor": 18 / 30 * 150 / 331}),
    ],
)
def test_operations_that_move_pixels_agree_with_the_layers(
    smooth_images, name, layer, arguments, fill_mode, interpolation
):
    fill = {"fill_mode": fill_mode, "interpolation": interpolation, "fill_value": 0.3}

    changed = rand_augment(name, magnitude=18.0, **fill).apply(smooth_images, SEED).numpy()

    references = [
        layer(**{key: (sign * value, sign * value) for key, value in arguments.items()}, **fill)
        .apply(smooth_images, SEED)
        .numpy()
        for sign in (1, -1)
    ]
    drawn = set()
    for place, result in enumerate(changed):
        differing = [np.mean(np.abs(result - reference[place]) > 1e-3) for reference in references]
        assert min(differing) < 0.01  # a position half way between two pixels may go either way
        drawn.add(int(np.argmin(differing)))
    assert drawn == {0, 1}


def test_every_operation_is_drawn_equally_often(images):
    many = np.repeat(images[:1] * 0.9, 300, axis=0)

    changed = rand_augment("identity", "solarize", "autocontrast", magnitude=30.0).apply(many, SEED).numpy()

    outcomes, counts = np.unique(changed.reshape(300, -1), axis=0, return_counts=True)
    assert len(outcomes) == 3
    assert counts.min() > 70
    assert np.any(np.all(outcomes == many[0].ravel(), axis=1))  # the identity changes no bit


def test_operations_are_applied_one_after_the_other(images):
    changed = rand_augment("solarize", num_ops=2, magnitude=30.0).apply(images, SEED)

    np.testing.assert_allclose(changed, images, atol=1e-6)  # inverted twice


def test_magnitude_0_does_next_to_nothing(images):
    everything = [*list(policies.BRANCHES), "solarize", "color", "contrast", "brightness", "sharpness"]

    changed = rand_augment(*everything, "posterize", num_ops=5, magnitude=0.0).apply(images, SEED)

    np.testing.assert_allclose(changed, images, atol=1e-5)


def test_gray_images_go_without_color(images):
    gray = images[..., :1]

    np.testing.assert_array_equal(rand_augment("identity", "color").apply(gray, SEED), gray)
    for layer in (rand_augment("color"), augmix("color")):
        with pytest.raises(ValueError, match="needs an operation other than color"):
            layer.apply(gray, SEED)


def test_augmix_mixes_between_the_image_and_its_changed_version(smooth_images):
    dull = np.repeat((0.3 + 0.3 * smooth_images[:1]).astype(np.float32), 80, axis=0)
    stretched = rand_augment("autocontrast").apply(dull, SEED).numpy()

    mixed = augmix("autocontrast").apply(dull, SEED).numpy()

    # Doing it twice changes nothing more, so that all chains hold the same image
    step = (stretched - dull)[0].ravel()
    shares = (mixed - dull).reshape(80, -1) @ step / (step @ step)
    np.testing.assert_allclose(mixed, dull + shares[:, None, None, None] * (stretched - dull), atol=0.01)
    assert 0 <= shares.min() < 0.1
    assert 0.9 < shares.max() <= 1.01
    assert shares.mean() == pytest.approx(0.5, abs=0.1)  # beta(1, 1) is uniform
    assert shares.std() == pytest.approx(math.sqrt(1 / 12), abs=0.06)


def test_large_alpha_mixes_equal_parts(smooth_images):
    dull = (0.3 + 0.3 * smooth_images).astype(np.float32)
    stretched = rand_augment("autocontrast").apply(dull, SEED)

    mixed = augmix("autocontrast", alpha=1e5).apply(dull, SEED)

    np.testing.assert_allclose(mixed, (dull + stretched) / 2, atol=0.01)


def test_augmix_of_nothing_but_the_identity_is_the_image(images):
    np.testing.assert_allclose(augmix("identity").apply(images, SEED), images, atol=1e-6)


def test_augmix_draws_up_to_three_operations_a_chain(images):
    same = np.repeat(images[:1], 120, axis=0)

    many, one = (
        augmix("solarize", width=1, severity=10.0, alpha=1e5, depth=depth).apply(same, SEED).numpy()
        for depth in (-1, 1)
    )

    def is_one_solarization(result):
        """Half the image and half its solarized version: 1/2 from the threshold on, and as it was below."""
        inverted = (np.abs(result - 0.5) < 0.01) & (np.abs(images[0] - 0.5) > 0.02)
        untouched = (np.abs(result - images[0]) < 0.01) & (np.abs(images[0] - 0.5) > 0.02)
        return images[0][inverted].min(initial=1.0) >= images[0][untouched].max(initial=0.0)

    assert all(map(is_one_solarization, one))
    assert 0.1 < np.mean([not is_one_solarization(result) for result in many]) < 0.9


def test_severity_bounds_the_strength():
    spot = np.zeros((60, 41, 41, 1), np.float32)
    spot[:, 20, 20] = 1.0
    layer = augmix("translate_x", width=1, depth=1, alpha=1e5, severity=3.0, interpolation="nearest")

    moved = layer.apply(spot, SEED).numpy()[:, 20, :, 0]

    distance = np.array([np.abs(np.flatnonzero(row > 0.1) - 20).max() for row in moved])
    assert 3 <= distance.max() <= 4  # 41 / 3 * 3 / 10 = 4.1 pixels
    assert distance.min() <= 1


def test_small_alpha_gives_no_nan(images):
    many = np.tile(images, (40, 1, 1, 1))

    assert np.isfinite(augmix("posterize", depth=1, alpha=0.1).apply(many, SEED)).all()
