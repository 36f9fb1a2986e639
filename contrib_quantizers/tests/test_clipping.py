"""Ranges of activations: gathered in bounded memory, and clipped where that pays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from reidfw_quantizers.clipping import BINS, Extremes, Histogram, clipped_range

METHODS = ("none", "percentile", "mse", "entropy")


def histogram_of(*parts: np.ndarray) -> Histogram:
    seen = Histogram()
    for part in parts:
        seen.add(np.asarray(part, np.float32))
    return seen


def quantized(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Asymmetric 8-bit quantization written out: 256 steps from low to high."""
    step = (high - low) / 255
    return np.clip(np.rint((values - low) / step), 0, 255) * step + low


@given(
    parts=st.lists(
        npst.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e4, 1e4, width=32)), min_size=1, max_size=6
    )
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_histogram_counts_every_value_but_zeros_in_the_bin_that_holds_it(parts):
    """However often the bins had to be doubled for a larger value; the size stays the same."""
    seen = histogram_of(*parts)
    values = np.concatenate(parts)
    assert seen.range() == (float(values.min()), float(values.max()))
    assert seen.counts.shape == (BINS,)
    assert seen.counts.sum() == np.count_nonzero(values)
    if values.any():
        width = 2 * seen.limit / BINS
        wanted = np.sort(values[values != 0].astype(np.float64))
        found = np.repeat(seen.centres(), seen.counts)
        np.testing.assert_allclose(found, wanted, atol=0.5001 * width + 1e-30)


@given(
    values=npst.arrays(np.float32, st.integers(1, 200), elements=st.floats(-50, 50, width=32)),
    method=st.sampled_from(METHODS),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_range_never_reaches_beyond_the_values_and_zero(values, method):
    low, high = clipped_range(histogram_of(values), method)
    assert min(float(values.min()), 0.0) - 1e-6 <= low <= max(low, 0.0)
    assert min(high, 0.0) <= high <= max(float(values.max()), 0.0) + 1e-6


def test_percentile_cuts_the_same_share_at_both_ends():
    values = np.arange(-50_000, 50_001) / 1000
    low, high = clipped_range(histogram_of(values), "percentile")
    assert low == pytest.approx(-49.995, abs=0.05)
    assert high == pytest.approx(49.995, abs=0.05)
    low, high = clipped_range(histogram_of(values[values > 0], [1e4]), "percentile")
    assert (low, high) == (0.0, pytest.approx(50, rel=0.15))  # one outlier no longer counts


def test_mse_is_the_best_of_all_ranges_by_brute_force():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 20_000), [40.0, -25.0]])
    low, high = clipped_range(histogram_of(values), "mse")

    def error(start, stop):
        return float(((quantized(values, start, stop) - values) ** 2).mean())

    best = min(error(-25 * a, 40 * b) for a in np.linspace(0.04, 1, 49) for b in np.linspace(0.04, 1, 49))
    assert error(low, high) < 1.1 * best
    assert error(low, high) < error(-25, 40)


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_a_rare_outlier_is_cut_off(method):
    rng = np.random.default_rng(3)
    values = np.concatenate([np.abs(rng.normal(0, 1, 200_000)), [60.0]])
    low, high = clipped_range(histogram_of(values), method)
    assert low == 0
    assert 2 < high < 50


@pytest.mark.parametrize("method", METHODS)
def test_uniform_values_keep_their_range(method):
    low, high = clipped_range(histogram_of(np.linspace(-1, 3, 100_001)), method)
    assert (low, high) == (pytest.approx(-1, abs=0.05), pytest.approx(3, abs=0.05))


def test_an_activation_that_is_always_zero():
    assert clipped_range(histogram_of(np.zeros(8)), "mse") == (0.0, 0.0)


@pytest.mark.parametrize("kind", [Extremes, Histogram])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_value_is_not_forgotten(kind, bad):
    """Whichever image it comes with."""
    good, spoilt = np.array([-1.0, 0.0, 2.0], np.float32), np.array([0.0, bad], np.float32)
    for order in ((good, good), (spoilt, good), (good, spoilt), (good, spoilt, good)):
        seen = kind()
        for values in order:
            seen.add(values)
        assert seen.is_finite() == (len(order) == 2 and order[0] is order[1])
