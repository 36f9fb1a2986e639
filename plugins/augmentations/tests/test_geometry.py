"""Geometry: what moves where, what is filled in, and how values between pixels are made."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from reidfw_augmentations._keras import geometry as layers
from reidfw_augmentations._keras.draws import Draws
from reidfw_augmentations._keras.layer import BatchSize
from reidfw_augmentations._keras.sampling import AffineStage, resample

from reidfw_core.api import ConfigError

SEED = (3, 4)
PLAIN = {"fill_mode": "reflect", "interpolation": "nearest", "fill_value": 0.0}


def fixed(value: float) -> tuple[float, float]:
    return (value, value)


def scipy_reference(image, coefficients, mode, order):
    """The same affine map by scipy.ndimage, channel by channel."""
    ndimage = pytest.importorskip("scipy.ndimage")
    xx, xy, x0, yx, yy, y0 = coefficients
    matrix = np.array([[yy, yx], [xy, xx]])
    center = (np.array(image.shape[:2]) - 1) / 2
    offset = center - matrix @ center + np.array([y0, x0])
    planes = [
        ndimage.affine_transform(image[..., c].astype(np.float64), matrix, offset, order=order, mode=mode)
        for c in range(image.shape[-1])
    ]
    return np.stack(planes, axis=-1)


MAPS = {
    "translation": (1, 0, 5.3, 0, 1, -7.2),
    "far translation": (1, 0, 61.3, 0, 1, -131.2),
    "zoom out": (3.7, 0, 0, 0, 2.6, 0),
    "zoom in": (0.6, 0, 1.4, 0, 0.7, 2.1),
    "rotation": (np.cos(0.6), -np.sin(0.6), 0.3, np.sin(0.6), np.cos(0.6), 0.1),
    "shear": (1, -0.43, 0.2, 0.31, 0.9, 0.4),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("far translation", "rotation") else pytest.mark.slow) for name in MAPS],
)
@pytest.mark.parametrize(
    ("fill_mode", "scipy_mode"), [("reflect", "reflect"), ("wrap", "grid-wrap"), ("nearest", "nearest")]
)
@pytest.mark.parametrize(("interpolation", "order"), [("nearest", 0), ("bilinear", 1)])
def test_resampling_agrees_with_scipy(images, name, fill_mode, scipy_mode, interpolation, order):
    coefficients = np.array([MAPS[name]], np.float32)
    stage = AffineStage(tf.constant(np.repeat(coefficients, 2, 0)), name in ("translation", "zoom in"), fill_mode)

    ours = resample(tf.constant(images[:2]), [stage], interpolation).numpy()

    reference = np.stack([scipy_reference(image, MAPS[name], scipy_mode, order) for image in images[:2]])
    if order == 1:
        np.testing.assert_allclose(ours, reference, atol=2e-4)
    else:  # a position half way between two pixels may be rounded either way
        assert np.mean(np.any(ours != reference.astype(np.float32), axis=-1)) < 0.002


@pytest.mark.parametrize("fill_mode", ["reflect", "nearest"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_resampling_agrees_with_tensorflows_kernel(images, fill_mode, interpolation):
    xx, xy, x0, yx, yy, y0 = MAPS["rotation"]
    center_x, center_y = (24 - 1) / 2, (40 - 1) / 2
    transform = [
        [
            xx,
            xy,
            x0 + center_x - xx * center_x - xy * center_y,
            yx,
            yy,
            y0 + center_y - yx * center_x - yy * center_y,
            0,
            0,
        ]
    ]
    kernel = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.constant(transform, tf.float32),
        output_shape=[40, 24],
        fill_value=0.0,
        interpolation=interpolation.upper(),
        fill_mode=fill_mode.upper(),
    ).numpy()
    stage = AffineStage(tf.constant([MAPS["rotation"]] * 6, tf.float32), False, fill_mode)

    ours = resample(tf.constant(images), [stage], interpolation).numpy()

    assert np.mean(np.any(np.abs(ours - kernel) > 2e-4, axis=-1)) < 0.002


@pytest.mark.parametrize(("mode", "axes"), [("horizontal", (2,)), ("vertical", (1,))])
def test_flip_is_exact(images, mode, axes):
    flipped = layers.RandomFlip(mode=mode).apply(images, SEED).numpy()

    np.testing.assert_array_equal(flipped, np.flip(images, axes))


def test_flip_of_both_axes_does_each_of_three_flips_a_third_of_the_time(images):
    many = np.repeat(images[:1], 300, axis=0)
    flipped = layers.RandomFlip(mode="horizontal_and_vertical").apply(many, SEED).numpy()

    shares = [np.mean([np.array_equal(f, np.flip(images[0], axes)) for f in flipped]) for axes in ((0,), (1,), (0, 1))]

    assert sum(shares) == pytest.approx(1)
    assert all(0.25 < share < 0.42 for share in shares)


@pytest.mark.parametrize(
    ("fill_mode", "pad_mode"),
    [("reflect", "symmetric"), ("wrap", "wrap"), ("nearest", "edge"), ("constant", "constant")],
)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_translation_moves_right_and_down_by_fractions_of_width_and_height(images, fill_mode, pad_mode, interpolation):
    layer = layers.RandomTranslation(
        width_factor=fixed(0.25),  # 6 of 24 columns
        height_factor=fixed(0.1),  # 4 of 40 rows
        fill_mode=fill_mode,
        interpolation=interpolation,
        fill_value=0.0,
    )

    moved = layer.apply(images, SEED).numpy()

    padded = np.pad(images, ((0, 0), (4, 0), (6, 0), (0, 0)), mode=pad_mode)
    np.testing.assert_allclose(moved, padded[:, :40, :24], atol=2e-6)


def test_constant_fill_takes_its_value(images):
    layer = layers.RandomTranslation(
        width_factor=fixed(-0.5),
        height_factor=fixed(0.0),
        fill_mode="constant",
        interpolation="nearest",
        fill_value=0.75,
    )

    moved = layer.apply(images, SEED).numpy()

    np.testing.assert_array_equal(moved[:, :, :12], images[:, :, 12:])
    assert np.all(moved[:, :, 12:] == 0.75)


def test_fill_value_outside_of_the_pixel_range_is_refused():
    with pytest.raises(ConfigError, match=r"fill_value.*2 is no pixel value[\s\S]*-1 to 1"):
        layers.RandomRotation(
            factor=(-0.1, 0.1), fill_mode="constant", interpolation="nearest", fill_value=2.0, pixel_range=(-1.0, 1.0)
        )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_half_a_turn_is_both_flips(images, interpolation):
    turned = layers.RandomRotation(factor=fixed(0.5), **PLAIN | {"interpolation": interpolation}).apply(images, SEED)

    np.testing.assert_allclose(turned, images[:, ::-1, ::-1], atol=1e-4)


def test_rotation_is_counter_clockwise(images):
    square = images[:, 8:32]

    turned = layers.RandomRotation(factor=fixed(0.25), **PLAIN).apply(square, SEED).numpy()

    np.testing.assert_array_equal(turned, np.rot90(square, 1, axes=(1, 2)))


def test_zoom_by_a_factor_of_two_about_the_centre(images):
    enlarged = layers.RandomZoom(width_factor=fixed(-0.5), height_factor=None, **PLAIN).apply(images, SEED).numpy()

    np.testing.assert_array_equal(enlarged, images[:, 10:30, 6:18].repeat(2, axis=1).repeat(2, axis=2))


def test_positive_zoom_shows_the_whole_image_smaller(smooth_images):
    reduced = layers.RandomZoom(
        width_factor=fixed(1.0),
        height_factor=fixed(0.0),
        fill_mode="constant",
        interpolation="bilinear",
        fill_value=0.0,
    ).apply(smooth_images, SEED)

    np.testing.assert_allclose(reduced[:, :, 6:18], smooth_images.reshape(4, 40, 12, 2, 3).mean(3), atol=1e-5)
    assert np.all(reduced[:, :, :6] == 0)
    assert np.all(reduced[:, :, 18:] == 0)


def test_zoom_without_height_factor_keeps_proportions():
    layer = layers.RandomZoom(width_factor=(-0.4, 0.4), height_factor=None, **PLAIN)
    maps = layer.coefficients(
        BatchSize(tf.constant([50]), tf.constant(40.0), tf.constant(24.0)), Draws(tf.constant(SEED))
    ).numpy()

    np.testing.assert_array_equal(maps[:, 0], maps[:, 4])
    assert np.ptp(maps[:, 0]) > 0.5


def test_shear_displaces_rows_by_the_sine_of_the_angle(images):
    thirty_degrees = fixed(1 / 12)

    sheared = layers.RandomShearX(factor=thirty_degrees, **PLAIN | {"fill_mode": "wrap"}).apply(images, SEED).numpy()

    for row in range(40):
        # read at x - (row - 19.5) / 2, that is at quarters: never half way between two pixels
        shift = int(np.round((row - 19.5) / 2))
        np.testing.assert_array_equal(sheared[:, row], np.roll(images[:, row], shift, axis=1))


def test_shear_y_is_shear_x_of_the_transposed_image(images):
    arguments = {"factor": fixed(0.07), **PLAIN}

    down = layers.RandomShearY(**arguments).apply(images, SEED).numpy()
    across = layers.RandomShearX(**arguments).apply(images.transpose(0, 2, 1, 3), SEED).numpy()

    np.testing.assert_array_equal(down, across.transpose(0, 2, 1, 3))


def test_shear_of_both_axes_keeps_areas():
    layer = layers.RandomShear(factor=(-0.25, 0.25), **PLAIN)
    maps = layer.coefficients(
        BatchSize(tf.constant([50]), tf.constant(40.0), tf.constant(24.0)), Draws(tf.constant(SEED))
    ).numpy()

    np.testing.assert_allclose(maps[:, 0] * maps[:, 4] - maps[:, 1] * maps[:, 3], 1, atol=1e-5)
    assert np.ptp(maps[:, 1]) > 1
    assert np.ptp(maps[:, 3]) > 1


def crop(center_x, center_y, width, height, interpolation="nearest"):
    return layers.RandomCrop(
        crop_center_x=fixed(center_x),
        crop_center_y=fixed(center_y),
        crop_width=fixed(width),
        crop_height=fixed(height),
        interpolation=interpolation,
    )


def test_crop_resizes_the_box_to_the_whole_image(images):
    cropped = crop(0.25, 0.5, 0.5, 0.5).apply(images, SEED).numpy()

    np.testing.assert_array_equal(cropped, images[:, 10:30, :12].repeat(2, axis=1).repeat(2, axis=2))


def test_crop_is_clipped_at_the_border(images):
    cropped = crop(0.75, 0.9999, 0.9999, 0.5).apply(images, SEED).numpy()

    np.testing.assert_array_equal(cropped[:, ::4, 0], images[:, 30:, 6])
    np.testing.assert_array_equal(cropped[:, -1, -1], images[:, -1, -1])


def test_bilinear_crop_agrees_with_tensorflows_resize(smooth_images):
    cropped = crop(0.5, 0.5, 0.5, 0.5, "bilinear").apply(smooth_images, SEED).numpy()

    reference = tf.image.resize(smooth_images, (80, 48)).numpy()[:, 20:60, 12:36]
    np.testing.assert_allclose(cropped, reference, atol=1e-5)


def bounded(width, height, **given):
    settings = {"width_factor": width, "height_factor": height, "interpolation": "nearest"}
    return layers.RandomBoundedCrop(**settings | given)


def ramps(count):
    """(count, 40, 24, 2): column and row of each pixel's centre, as fractions of width and height."""
    y, x = np.mgrid[0:40, 0:24].astype(np.float32) + 0.5
    return np.repeat(np.stack([x / 24, y / 40], axis=-1)[np.newaxis], count, axis=0)


def test_bounded_crop_enlarges_a_box_within_the_image():
    cropped = bounded((0.5, 0.8), (0.3, 0.6), interpolation="bilinear").apply(ramps(200), SEED).numpy()

    inner = cropped[:, 5:-5, 5:-5]  # where no pixel beyond the border has a part
    across, down = np.diff(inner[..., 0], axis=2) * 24, np.diff(inner[..., 1], axis=1) * 40
    for step, low, high in ((across, 0.5, 0.8), (down, 0.3, 0.6)):
        kept = step.mean((1, 2))
        np.testing.assert_allclose(step, np.broadcast_to(kept[:, np.newaxis, np.newaxis], step.shape), atol=1e-3)
        assert low <= kept.min() < low + 0.05
        assert high - 0.05 < kept.max() <= high
    left = inner[:, 0, 0, 0] - across.mean((1, 2)) * 5.5 / 24
    right = inner[:, 0, -1, 0] + across.mean((1, 2)) * 5.5 / 24
    assert -1e-4 <= left.min() < 0.02
    assert 0.98 < right.max() <= 1 + 1e-4
    assert np.corrcoef(across.mean((1, 2)), down.mean((1, 2)))[0, 1] < 0.3


def test_bounded_crop_without_height_factor_keeps_proportions():
    maps = (
        bounded((0.4, 0.9), None)
        .coefficients(BatchSize(tf.constant([50]), tf.constant(40.0), tf.constant(24.0)), Draws(tf.constant(SEED)))
        .numpy()
    )

    np.testing.assert_array_equal(maps[:, 0], maps[:, 4])
    assert np.ptp(maps[:, 0]) > 0.4


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_bounded_crop_of_the_whole_image_changes_nothing(images, interpolation):
    whole = bounded(fixed(1.0), fixed(1.0), interpolation=interpolation)

    np.testing.assert_array_equal(whole.apply(images, SEED), images)


@pytest.mark.parametrize(
    ("fill_mode", "pad_mode"),
    [("constant", "constant"), ("reflect", "symmetric"), ("nearest", "edge"), ("wrap", "wrap")],
)
def test_padded_crop_cuts_a_whole_image_out_of_the_padded_one(images, fill_mode, pad_mode):
    many = np.repeat(images[:1], 200, axis=0) * 2 - 1
    layer = layers.RandomPaddedCrop(padding=1, fill_mode=fill_mode, fill_value=None, pixel_range=(-1.0, 1.0))

    cropped = layer.apply(many, SEED).numpy()

    options = {"constant_values": -1.0} if pad_mode == "constant" else {}  # black
    padded = np.pad(many[0], ((1, 1), (1, 1), (0, 0)), mode=pad_mode, **options)
    places = [
        [np.array_equal(one, padded[y : y + 40, x : x + 24]) for y in range(3) for x in range(3)] for one in cropped
    ]
    assert np.any(places, axis=1).all()
    assert np.sum(places, axis=0).min() > 8  # each of nine places is expected 22 times


def test_padded_crop_takes_its_fill_value(images):
    layer = layers.RandomPaddedCrop(padding=60, fill_mode="constant", fill_value=0.25)

    assert np.isin(layer.apply(np.ones_like(images), SEED), [0.25, 1.0]).all()
    with pytest.raises(ConfigError, match=r"fill_value.*2 is no pixel value"):
        layers.RandomPaddedCrop(padding=1, fill_mode="constant", fill_value=2.0)


def test_flip_and_padded_crop_are_joined_exactly(images):
    flip = layers.RandomFlip(mode="horizontal", change_rate=0.5)
    crop_back = layers.RandomPaddedCrop(padding=3, fill_mode="constant", fill_value=None)
    (joined,) = layers.join_consecutive([flip, crop_back])
    seeds = Draws(tf.constant(SEED))

    expected = crop_back.apply(flip.apply(images, seeds.seed()), seeds.seed())

    np.testing.assert_array_equal(joined.apply(images, SEED), expected)


def exact_layers():
    """Layers whose maps lead from pixel centres to pixel centres."""
    return [
        layers.RandomFlip(mode="horizontal_and_vertical", change_rate=0.5),
        layers.RandomTranslation(
            width_factor=fixed(0.25),
            height_factor=fixed(-0.1),
            change_rate=0.7,
            **PLAIN | {"fill_mode": "constant", "fill_value": 0.3},
        ),
        layers.RandomTranslation(width_factor=fixed(-0.5), height_factor=fixed(0.25), **PLAIN),
        layers.RandomFlip(mode="horizontal", change_rate=0.5),
        layers.RandomTranslation(width_factor=fixed(0.25), height_factor=fixed(0.0), **PLAIN | {"fill_mode": "wrap"}),
        layers.RandomTranslation(
            width_factor=fixed(0.0), height_factor=fixed(0.2), **PLAIN | {"fill_mode": "constant", "fill_value": 0.9}
        ),
    ]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_joined_layers_do_what_the_layers_do_one_after_the_other(images, interpolation):
    separate = exact_layers()
    for layer in separate:
        if layer.interpolation:
            layer.interpolation = interpolation
    (joined,) = layers.join_consecutive(separate)
    seeds = Draws(tf.constant(SEED))
    expected = images
    for layer in separate:
        expected = layer.apply(expected, seeds.seed())

    np.testing.assert_allclose(joined.apply(images, SEED), expected, atol=3e-5)


def test_only_layers_that_interpolate_alike_are_joined():
    flip = layers.RandomFlip(mode="vertical")
    nearest = layers.RandomRotation(factor=(-0.1, 0.1), **PLAIN)
    bilinear = layers.RandomRotation(factor=(-0.1, 0.1), **PLAIN | {"interpolation": "bilinear"})
    other = keras.layers.Identity()

    joined = layers.join_consecutive([flip, nearest, bilinear, flip, other, flip])

    assert [type(layer).__name__ for layer in joined] == ["GeometricChain", "GeometricChain", "Identity", "RandomFlip"]
    assert [layer.interpolation for layer in joined[:2]] == ["nearest", "bilinear"]
    assert layers.join_consecutive([]) == []


def test_a_chain_survives_saving(images, tmp_path):
    (chain,) = layers.join_consecutive(exact_layers())
    inputs = keras.Input(images.shape[1:])
    keras.Model(inputs, chain(inputs)).save(tmp_path / "model.keras")

    restored = keras.models.load_model(tmp_path / "model.keras").layers[-1]

    np.testing.assert_array_equal(restored.apply(images, SEED), chain.apply(images, SEED))
