"""Fixed-point numbers as integer kernels use them, and functions of one element as tables of 256 values.

Source: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
2018, appendix B; rounding as LiteRT's reference kernels do it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A positive real factor as ``multiplier / 2^31 * 2^shift``, the multiplier in [2^30, 2^31).

    Raises:
        ValueError: the factor is not a finite number of at least 0, or too large for 32 bits.
    """
    if not math.isfinite(real) or real < 0:
        raise ValueError(f"a scale factor of {real}")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise ValueError(f"a scale factor of {real:g}")
    return multiplier, shift


def quantize_multipliers(reals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`quantize_multiplier` of each element of a float64 array (C,): multipliers and shifts, int32 (C,)."""
    pairs = [quantize_multiplier(float(real)) for real in reals]
    return np.array([pair[0] for pair in pairs], np.int32), np.array([pair[1] for pair in pairs], np.int32)


def rounding_doubling_high_multiply(a: int, b: int) -> int:
    """The upper half of ``2 * a * b``, rounded to nearest, ties up; 32-bit operands."""
    return (a * b + (1 << 30)) >> 31


def rounding_shift_right(value: int, bits: int) -> int:
    """``value / 2^bits`` rounded to nearest, ties away from zero."""
    if bits == 0:
        return value
    return (value - (value < 0) + (1 << (bits - 1))) >> bits


def multiply(value: int, multiplier: int, shift: int) -> int:
    """``value * multiplier / 2^31 * 2^shift`` with the two roundings of the integer kernels."""
    high = rounding_doubling_high_multiply(value << max(shift, 0), multiplier)
    return rounding_shift_right(high, max(-shift, 0))


def table_of(function: Callable[[int], int], *, unsigned: bool) -> np.ndarray:
    """The values of a function of one 8-bit element as int8 (256,), by the element's byte read as unsigned."""
    values = np.empty(256, np.int8)
    for byte in range(256):
        values[byte] = function(byte if unsigned or byte < 128 else byte - 256)
    return values


def clamped(value: int, low: int = -128, high: int = 127) -> int:
    """``value`` moved into [low, high]."""
    return min(max(value, low), high)


def requantized(real: float, zero_in: int, zero_out: int, low: int = -128, high: int = 127) -> Callable[[int], int]:
    """From one scale and zero point to another: the function for :func:`table_of`; ``real`` is the scales' ratio."""
    multiplier, shift = quantize_multiplier(real)
    return lambda value: clamped(multiply(value - zero_in, multiplier, shift) + zero_out, low, high)


def from_real(
    function: Callable[[Any], Any], scale_in: float, zero_in: int, scale_out: float, zero_out: int
) -> Callable[[int], int]:
    """A real function of one element, evaluated in float32 and rounded: the function for :func:`table_of`."""

    def value_of(value: int) -> int:
        with np.errstate(all="ignore"):
            real = function(np.float32(scale_in) * np.float32(value - zero_in))
            scaled = float(np.float32(real) * (np.float32(1.0) / np.float32(scale_out)))
        if math.isnan(scaled):  # the logarithm of a negative number
            return -128
        return clamped(round_half_away(min(max(scaled, -512.0), 512.0)) + zero_out)

    return value_of


def hard_swish(scale_in: float, zero_in: int, scale_out: float, zero_out: int) -> Callable[[int], int]:
    """x * relu6(x + 3) / 6 in 16-bit fixed point, as the integer reference kernel computes it."""
    high_scale = np.float32(1.0 / 128.0) * np.float32(scale_in)
    real_output = float(high_scale / np.float32(scale_out))
    output_multiplier, output_exponent = _sixteen_bits(quantize_multiplier(real_output))
    real_relu = float(high_scale / np.float32(3.0 / 32768.0))
    relu_multiplier, relu_exponent = _sixteen_bits(quantize_multiplier(real_relu))

    def value_of(value: int) -> int:
        on_high = (value - zero_in) * 128
        on_output = _multiply16(on_high, output_multiplier)
        relu = on_high
        if relu_exponent > 0:
            relu = clamped(relu << (relu_exponent - 1), -(1 << 15), (1 << 15) - 1)
        relu = _multiply16(relu, relu_multiplier)
        if relu_exponent > 0:
            relu = clamped(relu << 1, -(1 << 15), (1 << 15) - 1)
        if relu_exponent < 0:
            relu = rounding_shift_right(relu, -relu_exponent)
        relu = (relu + (1 << 15)) >> 1
        product = (relu * on_output) >> 15 if relu * on_output >= 0 else -((-relu * on_output) >> 15)
        return clamped(rounding_shift_right(product, -output_exponent) + zero_out)

    return value_of


def softmax_exponentials(scale: float, beta: float) -> np.ndarray:
    """``exp(-beta * scale * d)`` for d = 0...255 in units of 2^-31, int32 (256,), as the integer kernel computes it.

    Elements that lie too far below the largest one count as 0.
    """
    multiplier, left = quantize_multiplier(min(beta * float(np.float32(scale)) * (1 << 26), float((1 << 31) - 1)))
    farthest = math.floor(31.0 * (1 << 26) / 2.0**left)
    values = np.zeros(256, np.int32)
    for distance in range(min(256, farthest + 1)):
        values[distance] = _exponential(rounding_doubling_high_multiply(-distance << max(left, 0), multiplier))
    return values


_EXPONENTIALS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-1/4), exp(-1/2), ... exp(-16) in units of 2^-31."""


def _exponential(value: int) -> int:
    """exp of a number of at most 0, in units of 2^-26, as a number in units of 2^-31."""
    if value == 0:
        return (1 << 31) - 1
    high, quarter = rounding_doubling_high_multiply, 1 << 24
    rest = (value & (quarter - 1)) - quarter
    x = (rest << 5) + (1 << 28)  # Taylor's series around -1/8
    square = high(x, x)
    fourth = rounding_shift_right(high(square, square), 2)
    terms = rounding_shift_right(high(fourth + high(square, x), 715827883) + square, 1)
    result = 1895147668 + high(1895147668, x + terms)
    for bit, factor in enumerate(_EXPONENTIALS):
        if (rest - value) >> (24 + bit) & 1:
            result = high(result, factor)
    return result


def _sixteen_bits(factor: tuple[int, int]) -> tuple[int, int]:
    multiplier, exponent = factor
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1), exponent


def _multiply16(a: int, b: int) -> int:
    return (a * b + (1 << 14)) >> 15


def round_half_away(value: float) -> int:
    """The nearest integer, ties away from zero."""
    return math.floor(value + 0.5) if value >= 0 else -math.floor(-value + 0.5)
