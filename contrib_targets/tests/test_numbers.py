"""Quantizing inputs and de-quantizing outputs, and recognising image inputs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reidfw_targets.images import checked_batch, image_input

from reidfw_core.api import DataError


def numbers(dtype, scale, zero_point):
    from reidfw_targets.numbers import TensorNumbers

    return TensorNumbers(np.dtype(dtype), scale, zero_point)


@pytest.mark.parametrize(("dtype", "zero_point"), [(np.uint8, 127), (np.int8, -1)])
def test_each_pixel_value_keeps_its_own_integer(dtype, zero_point):
    """[-1, 1] with scale 2/255: every value lies on a tie, and the network must see the camera's byte."""
    pixels = np.arange(256)
    rescaled = (pixels * np.float32(1 / 127.5) - np.float32(1)).astype(np.float32)
    integers = numbers(dtype, 2 / 255, zero_point).encode(rescaled)
    assert integers.dtype == dtype
    assert np.array_equal(integers.astype(int) + (0 if dtype is np.uint8 else 128), pixels)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "rescaling", "off"),
    [
        (np.uint8, 2 / 255, 127, (1 / 127.5, -1.0), 0.5),
        (np.uint8, 2 / 255, 128, (1 / 127.5, -1.0), 0.5),
        (np.int8, 1 / 255, -128, (1 / 255, 0.0), 0.0),
        (np.int8, 1 / 255, -128, (1 / 127.5, -1.0), 255.0),
        (np.uint8, 1.6 / 255, 159, (1 / 127.5, -1.0), 63.4),  # images no brighter than 0.6
    ],
)
def test_how_far_a_cameras_bytes_are_misread(dtype, scale, zero_point, rescaling, off):
    assert numbers(dtype, scale, zero_point).levels_off(*rescaling) == pytest.approx(off, abs=0.05)


def test_nan_is_no_pixel():
    images = np.zeros((2, 4, 2, 3), np.float32)
    assert checked_batch(images[:0], (4, 2, 3)).shape == (0, 4, 2, 3)
    images[1, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        checked_batch(images, (4, 2, 3))


def test_values_outside_are_clipped():
    encoded = numbers(np.int8, 0.5, 10).encode(np.array([-1e6, -69.0, 58.5, 1e6], np.float32))
    assert encoded.tolist() == [-128, -128, 127, 127]


def test_by_hand():
    encoded = numbers(np.uint8, 0.25, 3).encode(np.array([0.0, 0.25, 0.3, 0.45, -0.5], np.float32))
    assert encoded.tolist() == [3, 4, 4, 5, 1]
    assert numbers(np.uint8, 0.25, 3).decode(np.array([0, 3, 7], np.uint8)).tolist() == [-0.75, 0.0, 1.0]


def test_float_tensors_pass():
    values = np.array([1.5, -2.25], np.float32)
    assert np.array_equal(numbers(np.float32, 0.0, 0).encode(values), values)
    assert np.array_equal(numbers(np.float32, 0.0, 0).decode(values), values)


@given(
    st.floats(2**-12, 8, width=32),
    st.integers(-128, 127),
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20),
)
def test_an_integer_is_nearest_to_its_value(scale, zero_point, values):
    """Within the range, decoding an encoded value misses it by at most half a step."""
    tensor = numbers(np.int8, scale, zero_point)
    values = np.array(values, np.float32)
    inside = (values / scale + zero_point > -128) & (values / scale + zero_point < 127)
    missed = np.abs(tensor.decode(tensor.encode(values)) - values)[inside]
    assert (missed <= scale * 0.511 + 1e-5).all()


@given(st.floats(2**-12, 8, width=32), st.integers(-128, 127))
def test_integers_survive_a_round_trip(scale, zero_point):
    tensor = numbers(np.int8, scale, zero_point)
    integers = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(tensor.encode(tensor.decode(integers)), integers)


@pytest.mark.parametrize(
    ("dimensions", "prefer", "shape", "layout"),
    [
        ((1, 64, 32, 3), "NHWC", (64, 32, 3), "NHWC"),
        ((1, 64, 32, 3), "NCHW", (64, 32, 3), "NHWC"),
        (("batch", 3, 64, 32), "NHWC", (64, 32, 3), "NCHW"),
        ((None, 1, 64, 32), "NCHW", (64, 32, 1), "NCHW"),
        ((1, 3, 64, 3), "NCHW", (64, 3, 3), "NCHW"),
        ((1, 3, 64, 3), "NHWC", (3, 64, 3), "NHWC"),
    ],
)
def test_the_place_of_the_channels(dimensions, prefer, shape, layout):
    found = image_input(dimensions, "model", prefer=prefer)
    assert (found.shape, found.layout) == (shape, layout)


@pytest.mark.parametrize("dimensions", [(1, 64, 32), (1, 64, 32, 7), (1, "height", "width", 3), (1, 3, None, 32), ()])
def test_other_inputs_are_no_images(dimensions):
    with pytest.raises(DataError, match="model takes"):
        image_input(dimensions, "model", prefer="NHWC")
