"""What the training relies on for every function: range, seeds, rate, tf.data, saving."""

from __future__ import annotations

from importlib.metadata import entry_points

import keras
import numpy as np
import pytest
import tensorflow as tf

from reidfw_core.api import PixelRange

FUNCTIONS = {
    entry.name: entry
    for entry in entry_points(group="reidfw.augmentations")
    if entry.dist.name == "reidfw-augmentations"
}

# Settings under which a changed image always differs from the original.
SETTINGS = {
    "random_flip": {"mode": "horizontal_and_vertical"},
    "random_translation": {"width_factor": (0.3, 0.4), "height_factor": 0.3},
    "random_rotation": {"factor": (0.05, 0.2)},
    "random_zoom": {"width_factor": (0.2, 0.5)},
    "random_shear": {"factor": (0.05, 0.1), "fill_mode": "wrap"},
    "random_shear_x": {"factor": (0.05, 0.1), "fill_mode": "nearest"},
    "random_shear_y": {"factor": (0.05, 0.1), "fill_mode": "constant"},
    "random_contrast": {"factor": (1.5, 3)},
    "random_brightness": {"factor": (0.2, 0.6)},
    "random_gamma": {"gamma": (1.5, 3)},
    "random_gamma_adjust": {"gamma": (0.2, 0.6)},
    "random_posterize": {"bits": (1, 4)},
    "random_hue": {"delta": (0.2, 0.6)},
    "random_saturation": {"delta": (0.2, 0.6)},
    "random_value": {"delta": (0.2, 0.6)},
    "random_hsv": {"hue_delta": (0.2, 0.6), "saturation_delta": 0.1, "value_delta": 0.1},
    "random_sharpness": {"factor": (1, 4)},
    "random_blur": {"filter_size": (2, 5)},
    "random_gaussian_noise": {"stddev": (0.1, 0.3)},
    "random_jpeg_quality": {"jpeg_quality": (10, 60)},
    "random_rectangle_erasing": {"nrec": (1, 3)},
    "random_bounded_crop": {"width_factor": (0.3, 0.7)},
    "random_periodic_resizing": {"image_sizes": (0.3, 0.7), "period": 1},
    "random_color_jitter": {"brightness": (0.3, 0.8), "contrast": 0.4, "saturation": 0.4, "hue": (0.1, 0.4)},
    "rand_augment": {"operations": ["rotate", "translate_x", "shear_y", "brightness"], "magnitude": 15},
    "augmix": {"operations": ["rotate", "posterize", "translate_y"]},
    "random_grid_cell_erasing": {"erasing_prob": 0.9, "fill_method": "mosaic"},
}
NO_DRAWS = {"random_invert", "random_autocontrast", "random_equalize", "random_rgb_to_hsv", "random_rgb_to_grayscale"}

every_function = pytest.mark.parametrize("name", sorted(FUNCTIONS))
# One of each way of working; the others go the same way through the base class.
TYPICAL = {
    "random_rotation",
    "random_crop",
    "random_hue",
    "random_jpeg_quality",
    "random_rectangle_erasing",
    "random_blur",
    "random_color_jitter",
    "random_periodic_resizing",
    "rand_augment",
    "augmix",
}
every_function_slowly = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in TYPICAL else pytest.mark.slow) for name in sorted(FUNCTIONS)]
)


def build(name, pixel_range=(0.0, 1.0), seed=1, **given):
    component = FUNCTIONS[name].load()
    params = component.Params(**{"change_rate": 1.0, **SETTINGS.get(name, {}), **given})
    return component(params).build_augmentation(PixelRange(*pixel_range), seed)


@every_function
@pytest.mark.parametrize("pixel_range", [(-1.0, 1.0), pytest.param((0.0, 255.0), marks=pytest.mark.slow)])
def test_shape_type_and_range_are_kept(images, name, pixel_range):
    low, high = pixel_range
    rescaled = images * (high - low) + low

    changed = build(name, pixel_range).apply(rescaled, (1, 2))

    assert changed.dtype == tf.float32
    assert changed.shape == images.shape
    assert np.isfinite(changed).all()
    assert low <= changed.numpy().min() < changed.numpy().max() <= high


@every_function
def test_seeds_decide_the_images(images, name):
    layer = build(name)

    first, again, other = (layer.apply(images, seed).numpy() for seed in [(1, 2), (1, 2), (1, 3)])

    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name in NO_DRAWS)


@every_function
def test_change_rate_is_the_share_of_changed_images(images, name):
    many = np.tile(images[:1], (120, 1, 1, 1))

    changed = build(name, change_rate=0.4).apply(many, (1, 2)).numpy()

    differs = np.any(changed != many, axis=(1, 2, 3))
    assert 0.28 < differs.mean() < 0.52  # 0.4 and 2.7 standard deviations
    np.testing.assert_array_equal(build(name, change_rate=0.0).apply(many[:4], (1, 2)), many[:4])


@every_function_slowly
def test_a_saved_model_augments_in_training_only_and_goes_on_where_it_was(images, name, tmp_path):
    images = images[:3]
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, build(name)(inputs))
    model(images, training=True)  # the state of its generator is no longer that of a new one
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(model(images), images)
    np.testing.assert_array_equal(model(images, training=False), images)
    changed = model(images, training=True).numpy()
    assert not np.array_equal(changed, images)
    np.testing.assert_allclose(restored(images, training=True), changed, atol=1e-6)


@every_function_slowly
def test_tf_data_gives_the_same_images_with_any_number_of_threads(images, name):
    layer = build(name, change_rate=0.7)

    def stream(threads):
        batches = tf.data.Dataset.from_tensors(images).repeat(4).enumerate()
        seeded = batches.map(
            lambda number, batch: layer.apply(batch, tf.stack([7, tf.cast(number, tf.int32)])),
            num_parallel_calls=threads,
        )
        assert seeded.element_spec.shape == images.shape
        return np.stack(list(seeded.as_numpy_iterator()))

    many_threads = stream(4)

    np.testing.assert_array_equal(many_threads, stream(None))
    np.testing.assert_allclose(many_threads[2], layer.apply(images, (7, 2)), atol=2e-3)


@pytest.mark.parametrize(
    "name",
    [
        "random_rotation",
        "random_crop",
        "random_padded_crop",
        "random_rectangle_erasing",
        "random_jpeg_quality",
        "random_equalize",
        "random_color_jitter",
        "random_periodic_resizing",
        "rand_augment",
        "augmix",
    ],
)
def test_batch_and_image_size_may_be_unknown_while_tracing(images, name):
    layer = build(name)
    traced = tf.function(
        layer.apply, input_signature=[tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((2,), tf.int32)]
    )

    for batch in (images, images[:2, :20]):
        assert traced(batch, (1, 2)).shape == batch.shape


@pytest.mark.parametrize("name", sorted(name for name, entry in FUNCTIONS.items() if not entry.load().color_only))
def test_grayscale_images(images, name):
    gray = images[..., :1]

    changed = build(name).apply(gray, (1, 2)).numpy()

    assert changed.shape == gray.shape
    assert not np.array_equal(changed, gray)


def test_a_layer_without_its_arguments_is_refused():
    from reidfw_augmentations._keras.geometry import RandomRotation

    with pytest.raises(
        TypeError, match="RandomRotation needs the argument fill_mode, interpolation, fill_value, factor"
    ):
        RandomRotation()


def test_the_generator_of_the_layer_follows_its_seed(images):
    def twice(seed):
        layer = build("random_rotation", seed=seed)
        return [layer(images, training=True).numpy() for _ in range(2)]

    first, again, other = twice(3), twice(3), twice(4)

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_mixed_precision_leaves_the_images_float32(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = build("random_zoom")
    finally:
        keras.config.set_dtype_policy("float32")

    assert layer(images, training=True).dtype == tf.float32
