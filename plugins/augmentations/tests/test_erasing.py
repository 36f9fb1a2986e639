"""Erasing: what is painted over, how much of it, and with what."""

from __future__ import annotations

import numpy as np
import pytest
from reidfw_augmentations._keras import erasing as layers

SEED = (3, 4)
MARK = 0.123  # no erased pixel has this value


def rectangles(**given):
    shape = {"nrec": (1, 1), "area": (0.05, 0.2), "wh_ratio": (0.2, 1.5)}
    paint = {"fill_method": "random", "color": None, "mode": "image"}
    return layers.RandomRectangleErasing(**{**shape, **paint, **given})


def marked(count, channels=3):
    return np.full((count, 64, 32, channels), MARK, np.float32)


def box(mask):
    """Top, bottom, left, right of the True pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def test_a_rectangle_has_area_and_shape_within_the_ranges():
    changed = rectangles().apply(marked(100), SEED).numpy()

    places = set()
    for image in changed:
        mask = np.any(image != np.float32(MARK), axis=-1)
        top, bottom, left, right = box(mask)
        assert mask[top:bottom, left:right].all()
        assert 0.04 <= mask.mean() <= 0.22  # sides are whole pixels
        assert 0.15 <= (right - left) / (bottom - top) <= 1.8
        assert len(np.unique(image[mask], axis=0)) == 1
        places.add((top, left))
    assert len(places) > 50


def test_width_is_width():
    changed = rectangles(area=(0.1, 0.1), wh_ratio=(4.0, 4.0)).apply(marked(10), SEED).numpy()

    for image in changed:
        top, bottom, left, right = box(np.any(image != np.float32(MARK), axis=-1))
        assert (right - left, bottom - top) == (29, 7)  # sqrt(0.1 * 64 * 32 * 4), sqrt(0.1 * 64 * 32 / 4)


def test_numbers_of_rectangles_are_drawn_from_the_whole_range():
    changed = rectangles(nrec=(0, 2), area=(0.01, 0.01), wh_ratio=(1.0, 1.0)).apply(marked(200), SEED).numpy()

    colors = [len(np.unique(image.reshape(-1, 3), axis=0)) - 1 for image in changed]
    assert {0, 1, 2} == set(colors)
    assert 0.2 < np.mean(np.array(colors) == 0) < 0.5


def test_batch_mode_erases_the_same_place_in_all_images():
    changed = rectangles(nrec=(2, 3), mode="batch").apply(marked(8), SEED).numpy()

    masks = np.any(changed != np.float32(MARK), axis=-1)
    assert masks[0].any()
    assert (masks == masks[0]).all()


def test_uniform_takes_the_colour_in_rescaled_units():
    changed = (
        rectangles(fill_method="uniform", color=(255, 0, 51), pixel_range=(-1.0, 1.0)).apply(marked(4), SEED).numpy()
    )

    erased = changed[np.any(changed != np.float32(MARK), axis=-1)]
    np.testing.assert_allclose(erased, np.broadcast_to([1.0, -1.0, -0.6], erased.shape), atol=1e-6)


def test_uniform_without_colour_is_black():
    changed = rectangles(fill_method="uniform").apply(marked(4), SEED).numpy()

    assert set(np.unique(changed)) == {np.float32(0), np.float32(MARK)}


def test_mosaic_has_a_colour_of_its_own_for_each_pixel():
    changed = rectangles(fill_method="mosaic").apply(marked(4), SEED).numpy()

    erased = changed[np.any(changed != np.float32(MARK), axis=-1)]
    assert len(np.unique(erased, axis=0)) == len(erased)
    assert 0.4 < erased.mean() < 0.6


@pytest.mark.parametrize("fill_method", ["random", "uniform", "mosaic"])
def test_gray_images_get_gray_rectangles(fill_method):
    color = (255, 255, 0) if fill_method == "uniform" else None

    changed = rectangles(fill_method=fill_method, color=color).apply(marked(4, 1), SEED).numpy()

    assert changed.shape == (4, 64, 32, 1)
    erased = changed[changed != np.float32(MARK)]
    assert erased.size > 0
    if fill_method == "uniform":
        np.testing.assert_allclose(erased, 0.299 + 0.587, atol=1e-6)


def test_grid_cells_are_erased_whole_and_with_their_probability():
    layer = layers.RandomGridCellErasing(
        ncells_x=4, ncells_y=8, erasing_prob=0.3, fill_method="random", color=None, mode="image"
    )

    changed = layer.apply(marked(60), SEED).numpy()

    mask = np.any(changed != np.float32(MARK), axis=-1).reshape(60, 8, 8, 4, 8)
    share = mask.mean((2, 4))
    assert set(np.unique(share)) == {0.0, 1.0}
    assert share.mean() == pytest.approx(0.3, abs=0.04)


def test_no_rectangle_at_all_leaves_images_alone():
    np.testing.assert_array_equal(rectangles(nrec=(0, 0)).apply(marked(4), SEED), marked(4))
