"""Previews, the cache of decoded images, and augmentation functions of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from reidfw_core._keras.custom_function import CustomFunction
from reidfw_core._keras.pipeline import Share, training_batches
from reidfw_core.errors import DataError
from reidfw_core.imaging.cache import PixelCache, cache_key, places_for
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.references import load_function
from reidfw_core.sampling.pk import PKSampler

SPEC = ImageSpec(height=8, width=6, channels=3, interpolation="nearest", scale=1 / 127.5, offset=-1.0)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"i{number // 2}_{number}.png" for number in range(8)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (16, 12, 3), dtype=np.uint8)).save(path)
    return paths


def batches(paths: list[Path], count: int, **options: object) -> list[tuple[np.ndarray, np.ndarray]]:
    sampler = PKSampler([path.stem.split("_")[0] for path in paths], 4, 2, 0)
    stream = training_batches(paths, np.arange(len(paths)), SPEC, sampler, [], 1, **options)
    return [(images.numpy(), labels.numpy()) for images, labels in stream.take(count)]


# --- cache ---


def test_cached_images_are_the_decoded_ones(pictures) -> None:
    plain = batches(pictures, 6)
    cache = PixelCache.in_memory(len(pictures), SPEC, 1e6)
    for (images, labels), (cached, same) in zip(plain, batches(pictures, 6, cache=cache), strict=True):
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_array_equal(images, cached)
    assert all(cache.get(number).size for number in range(len(pictures)))


def test_a_cache_takes_no_more_than_its_limit(pictures) -> None:
    limit = 3 * 8 * 6 * 3
    cache = PixelCache.in_memory(len(pictures), SPEC, limit)
    assert cache.places == 3 == places_for(8, SPEC, limit + 1)
    again = batches(pictures, 6, cache=cache)
    for (images, _), (cached, _) in zip(batches(pictures, 6), again, strict=True):
        np.testing.assert_array_equal(images, cached)


def test_a_cache_on_disk_is_found_again_until_a_file_changes(pictures, tmp_path) -> None:
    first = PixelCache.on_disk(pictures, SPEC, 1e6, tmp_path / "cache")
    first.put(2, np.full((8, 6, 3), 7, np.uint8))
    again = PixelCache.on_disk(pictures, SPEC, 1e6, tmp_path / "cache")
    assert again.get(2).max() == 7
    assert not again.get(1).size
    before = cache_key(pictures, SPEC)
    os.utime(pictures[3], (1, 1))
    assert cache_key(pictures, SPEC) != before
    assert not PixelCache.on_disk(pictures, SPEC, 1e6, tmp_path / "cache").get(2).size


def test_computers_share_a_batch_without_overlap(pictures) -> None:
    whole = batches(pictures, 4)
    halves = [batches(pictures, 4, share=Share(place, 2)) for place in range(2)]
    for place, (_, labels) in enumerate(whole):
        np.testing.assert_array_equal(labels, np.concatenate([half[place][1] for half in halves]))


# --- functions of one's own ---


def test_a_function_of_ones_own_gets_batch_epoch_and_size(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import tensorflow as tf\n"
        "def note(images, config, pixels_range, batch_info, seed):\n"
        "    return images * 0 + tf.cast(tf.reduce_sum(batch_info * [1000, 100, 10, 1]), tf.float32) + config['add']\n"
        "def cut(images, config, pixels_range, batch_info):\n"
        "    return images[:, 1:]\n"
    )
    layer = CustomFunction(function=f"{file}:note", config={"add": 0.5}, pixel_range=(-1.0, 1.0), batches_per_epoch=4)
    images = tf.zeros((2, 3, 5, 1))
    changed = layer.apply(images, tf.constant([9, 6]))
    assert float(tf.reduce_max(changed)) == 6 * 1000 + 1 * 100 + 3 * 10 + 5 + 0.5
    np.testing.assert_array_equal(layer(images), images)
    assert float(tf.reduce_max(layer(images, training=True))) == 35.5
    assert float(tf.reduce_max(layer(images, training=True))) == 1035.5
    with pytest.raises(DataError, match="gives images of shape"):
        CustomFunction(function=f"{file}:cut", config={}, pixel_range=(-1, 1)).apply(images, tf.constant([0, 0]))


def test_opening_a_model_runs_no_function_of_its_own(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('ran')\n")
    image = keras.Input((4, 4, 3))
    layer = CustomFunction(function=f"{file}:anything", config={}, pixel_range=(0, 1))
    keras.Model(image, layer(image)).save(tmp_path / "m.keras")
    model = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model(np.ones((1, 4, 4, 3))), np.ones((1, 4, 4, 3)))


def test_a_module_beside_the_configuration_is_found(tmp_path, monkeypatch) -> None:
    (tmp_path / "beside_us.py").write_text("def one():\n    return 1\n")
    monkeypatch.chdir(tmp_path)
    assert load_function("beside_us:one")() == 1


# --- previews ---


def test_preview_of_the_learning_rate(tiny_config, reidfw) -> None:
    outcome = reidfw(
        "preview",
        "lr",
        tiny_config,
        "training.epochs=12",
        "training.warmup_epochs=2",
        "+training.callbacks.LRStepDecay={initial_lr: 0.1, step_size: 4, decay_rate: 0.5}",
    )
    assert outcome.code == 0, outcome.text
    assert "0.025" in outcome.text
    with Image.open("lr_schedule.png") as picture:
        assert picture.width > 600
    refused = reidfw("preview", "lr", tiny_config, "+training.callbacks.ReduceLROnPlateau={}")
    assert refused.code == 2
    assert "no longer improves" in " ".join(refused.text.split())


def test_preview_of_a_lambda(tiny_config, reidfw) -> None:
    outcome = reidfw(
        "preview",
        "lr",
        tiny_config,
        "training.epochs=4",
        "+training.callbacks.LearningRateScheduler.schedule='lambda epoch, lr: lr if epoch < 2 else lr / 10'",
    )
    assert outcome.code == 0, outcome.text
    assert "0.0001" in outcome.text


def test_preview_of_augmentation(tiny_config, reidfw) -> None:
    flip = "+data_augmentation.random_flip={mode: horizontal, change_rate: 1.0}"
    outcome = reidfw("preview", "augmentation", tiny_config, flip, "--images", "2", "--variants", "3", "-o", "a.png")
    assert outcome.code == 0, outcome.text
    with Image.open("a.png") as picture:
        assert picture.height > 200
    refused = reidfw("preview", "augmentation", tiny_config)
    assert refused.code == 2
    assert "data_augmentation" in refused.text
