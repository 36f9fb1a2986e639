"""How weights are laid out for each set of kernels, and what working memory these need.

A packing and its kernels belong together: the generated ``model.h`` names the set (``MODEL_KERNELS``), and only that
one is compiled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from reidfw_targets.portable_c.network import Convolution, Depthwise, Mean, Network, Operator, Requantization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """The constants of a convolution; None where ``weights`` holds them too.

    Attributes:
        kernel: the C function that computes with them.
        weights: int8 or int32 (n,).
        bias, multipliers: int32 (C,).
        shifts: int8 (C,).
    """

    kernel: str
    weights: np.ndarray
    bias: np.ndarray | None
    multipliers: np.ndarray | None
    shifts: np.ndarray | None


class PlainPacking:
    """Weights as in the model file, for plain C; the input's zero point is folded into the bias."""

    name: ClassVar[str] = "plain"
    macro: ClassVar[str] = "PC_KERNELS_PLAIN"
    sources: ClassVar[tuple[str, ...]] = ("pc_plain.c",)

    def pack(self, operator: Convolution | Depthwise, network: Network) -> Packed:
        """The constants of one convolution."""
        factors = operator.requantization
        return Packed(
            kernel="pc_convolution_row" if isinstance(operator, Convolution) else "pc_depthwise_row",
            weights=operator.weights.reshape(-1),
            bias=_folded_bias(operator, network),
            multipliers=factors.multipliers,
            shifts=factors.shifts.astype(np.int8),
        )

    def scratch_bytes(self, operator: Operator, network: Network) -> int:
        """Working memory of one operator in bytes: sums of a mean, a gathered window."""
        if isinstance(operator, Mean):
            return 4 * network.tensors[operator.output].shape[2]
        if isinstance(operator, Convolution) and not _is_direct(operator, network):
            return _rounded(_depth(operator), 16)
        return 0


class MvePacking(PlainPacking):
    """Weights in the order in which the vector kernels of Cortex-M55 load them; see ``csrc/pc_mve.c``."""

    name: ClassVar[str] = "mve"
    macro: ClassVar[str] = "PC_KERNELS_MVE"
    sources: ClassVar[tuple[str, ...]] = ("pc_plain.c", "pc_mve.c")

    def pack(self, operator: Convolution | Depthwise, network: Network) -> Packed:
        """The constants of one convolution, all in ``weights``; a depthwise one with a weight of -128 is plain."""
        factors = operator.requantization
        numbers = np.stack([_folded_bias(operator, network), factors.multipliers, factors.shifts]).astype(np.int32)
        if isinstance(operator, Depthwise):
            if (operator.weights == -128).any():  # two products would not fit 16 bits
                return super().pack(operator, network)
            kernel, body = "pc_mve_depthwise_row", _mve_depthwise(operator.weights, numbers)
        else:
            kernel, body = "pc_mve_convolution_row", _mve_convolution(operator.weights, numbers)
        leftward = np.int32((factors.shifts > 0).any())
        weights = np.concatenate([[leftward], body], dtype=np.int32)
        return Packed(kernel=kernel, weights=weights, bias=None, multipliers=None, shifts=None)

    def scratch_bytes(self, operator: Operator, network: Network) -> int:
        """Working memory of one operator in bytes: a gathered window, or the taps' pointers, steps and padding."""
        if isinstance(operator, Depthwise):
            return 8 * _rounded(math.prod(operator.window.kernel), 4) + _rounded(operator.weights.shape[2], 16)
        return super().scratch_bytes(operator, network)


def _depth(operator: Convolution) -> int:
    """How many inputs a result has."""
    return math.prod(operator.weights.shape[1:])


def _folded_bias(operator: Convolution | Depthwise, network: Network) -> np.ndarray:
    """The bias with the share of the input's zero point, int32 (C,); wraps as the processor's own sums do."""
    axes = (0, 1) if isinstance(operator, Depthwise) else (1, 2, 3)
    sums = operator.weights.sum(axis=axes, dtype=np.int64)
    bias = operator.bias - network.tensors[operator.reads[0].tensor].zero_point * sums
    return bias.astype(np.uint64).astype(np.uint32).view(np.int32)


def _is_direct(operator: Convolution, network: Network) -> bool:
    """Whether every window is one pixel inside of the image, so that none has to be gathered."""
    window = operator.window
    height, width, _ = network.tensors[operator.reads[0].tensor].shape
    made = network.tensors[operator.output].shape
    return (
        window.kernel == (1, 1)
        and window.pad_top == window.pad_left == 0
        and (made[0] - 1) * window.stride[0] < height
        and (made[1] - 1) * window.stride[1] < width
    )


_MVE_CHANNELS = 4 * np.arange(4) + np.array([[0], [2], [1], [3]])
"""The channel of each lane of the four vectors into which a depthwise kernel sorts 16 channels."""


def _mve_convolution(weights: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Blocks of four filters: 12 words of numbers, then 16 weights of each filter in turn."""
    filters, depth = len(weights), math.prod(weights.shape[1:])
    blocks, chunks = _rounded(filters, 4) // 4, _rounded(depth, 16) // 16
    padded = np.zeros((4 * blocks, 16 * chunks), np.int8)
    padded[:filters, :depth] = weights.reshape(filters, depth)
    turns = padded.reshape(blocks, 4, chunks, 16).transpose(0, 2, 1, 3).reshape(blocks, -1)
    heads = np.zeros((3, 4 * blocks), np.int32)
    heads[:, :filters] = numbers
    heads = heads.reshape(3, blocks, 4).transpose(1, 0, 2).reshape(blocks, 12)
    return np.concatenate([heads, np.ascontiguousarray(turns).view("<i4")], axis=1).reshape(-1)


def _mve_depthwise(weights: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Blocks of 16 channels: 16 biases, pairs of taps, then multipliers and shifts, vector by vector."""
    channels, taps = weights.shape[2], math.prod(weights.shape[:2])
    blocks = _rounded(channels, 16) // 16
    padded = np.zeros((_rounded(taps, 2), 16 * blocks), np.int8)
    padded[:taps, :channels] = weights.reshape(taps, channels)
    pairs = padded.reshape(-1, blocks, 16).transpose(1, 0, 2).reshape(blocks, -1)
    words = np.zeros((3, 16 * blocks), np.int32)
    words[:, :channels] = numbers
    sorted_words = words.reshape(3, blocks, 16)[:, :, _MVE_CHANNELS]  # (3, blocks, vector, lane)
    bias = sorted_words[0].reshape(blocks, 16)
    factors = sorted_words[1:].transpose(1, 2, 0, 3).reshape(blocks, 32)
    return np.concatenate([bias, np.ascontiguousarray(pairs).view("<i4"), factors], axis=1).reshape(-1)


def _rounded(count: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-count // step) * step


class DspPacking(PlainPacking):
    """For the DSP instructions, four pixels and two filters at a time; see ``csrc/pc_dsp.c``.

    What these kernels do not compute exactly (shifts to the left, a bias or sums of more than 24 or 30 bits), or not at
    all (depthwise windows other than 3x3 and 5x5, channels that are no multiple of four), is left to plain C.
    """

    name: ClassVar[str] = "dsp"
    macro: ClassVar[str] = "PC_KERNELS_DSP"
    sources: ClassVar[tuple[str, ...]] = ("pc_plain.c", "pc_dsp.c")

    def pack(self, operator: Convolution | Depthwise, network: Network) -> Packed:
        """The constants of one convolution, all in ``weights`` unless it is plain."""
        bias = _folded_bias(operator, network)
        numbers = _dsp_numbers(operator.requantization, bias)
        if numbers is None:
            return super().pack(operator, network)
        if isinstance(operator, Depthwise):
            if not _is_square_of_fours(operator):
                return super().pack(operator, network)
            kernel, weights = "pc_dsp_depthwise_row", _dsp_depthwise(operator.weights, *numbers)
        else:
            rows = operator.weights.reshape(len(operator.weights), -1).astype(np.int64)
            largest = np.maximum(_largest_sum(rows, bias), _largest_sum(-rows, -bias.astype(np.int64)))
            if largest.max() >= 1 << 30:
                return super().pack(operator, network)
            factors = operator.requantization
            packed = largest[1::2].max(initial=0) < 1 << 23 and rows.min() >= -127
            kernel = (
                "pc_dsp_convolution_wide_row"
                if not packed
                else "pc_dsp_convolution_relu_row"
                if factors.low == factors.zero_point
                else "pc_dsp_convolution_row"
            )
            weights = _dsp_convolution(operator.weights, *numbers, borrow=packed)
        return Packed(kernel=kernel, weights=weights, bias=None, multipliers=None, shifts=None)

    def scratch_bytes(self, operator: Operator, network: Network) -> int:
        """Working memory of one operator in bytes: four windows in 16 bits and one in 8; widened columns."""
        if isinstance(operator, Convolution):
            depth = _rounded(_depth(operator), 8)
            direct = _is_direct(operator, network) and depth == _depth(operator)
            return max(8 * depth + (0 if direct else depth), super().scratch_bytes(operator, network))
        if isinstance(operator, Depthwise) and _is_square_of_fours(operator):
            side = operator.window.kernel[0]
            results = min(network.tensors[operator.output].shape[1], DSP_BAND)
            columns = (results - 1) * operator.window.stride[1] + side
            return 4 * (16 + 2 * side * side) + 8 * side * columns
        return super().scratch_bytes(operator, network)


DSP_BAND = 12
"""``PC_DSP_BAND`` of ``pc_kernels.h``: results for which a depthwise kernel widens columns at a time."""


def _is_square_of_fours(operator: Depthwise) -> bool:
    """Whether there is a DSP kernel for a depthwise convolution."""
    return operator.window.kernel in ((3, 3), (5, 5)) and operator.weights.shape[2] % 4 == 0


def _largest_sum(rows: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The largest sum that int8 inputs can make, int64 (O,)."""
    return bias + np.where(rows > 0, 127 * rows, -128 * rows).sum(axis=1)


def _dsp_numbers(factors: Requantization, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Of each channel ``(bias << 8) + shift to the right - 1`` and the multiplier; None where a number is too large."""
    shifts = np.where(factors.multipliers == 0, -1, factors.shifts)
    if shifts.max() >= 0 or shifts.min() < -21 or np.abs(bias.astype(np.int64)).max() >= 1 << 23:
        return None
    return (bias.astype(np.int32) << 8) | (-shifts - 1).astype(np.int32), factors.multipliers.astype(np.int32)


def _dsp_convolution(weights: np.ndarray, first: np.ndarray, multipliers: np.ndarray, *, borrow: bool) -> np.ndarray:
    """Pairs of filters: their words, then two inputs of both a word, then their multipliers.

    Of four inputs come 0 and 2, then 1 and 3, as the kernel widens them. With ``borrow`` a word's halves are
    ``256 * second + first`` as signed numbers.
    """
    filters, depth = len(weights), weights[0].size
    pairs = (filters + 1) // 2
    padded = np.zeros((2 * pairs, _rounded(depth, 8)), np.int16)
    padded[:filters, :depth] = weights.reshape(filters, depth)
    padded = padded.reshape(2 * pairs, -1, 4)[:, :, [0, 2, 1, 3]].reshape(pairs, 2, -1)
    if borrow:
        padded[:, 1] -= padded[:, 0] < 0
    words = np.ascontiguousarray(padded.transpose(0, 2, 1).reshape(pairs, -1).astype(np.int8)).view("<i4")
    numbers = np.zeros((2, 2 * pairs), np.int32)
    numbers[:, :filters] = first, multipliers
    heads, tails = numbers.reshape(2, pairs, 2)
    return np.concatenate([heads, words, tails], axis=1, dtype=np.int32).reshape(-1)


def _dsp_depthwise(weights: np.ndarray, first: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """Four channels: their words, their multipliers, then for each column a word a row.

    The words of two rows are both of channels 0 and 1, then both of channels 2 and 3; that of the last row is its four
    channels.
    """
    side, groups = len(weights), weights.shape[2] // 4
    taps = weights.reshape(side, side, groups, 4).transpose(2, 1, 0, 3)  # (group, column, row, channel)
    pairs = taps[:, :, :-1].reshape(groups, side, side // 2, 2, 2, 2).swapaxes(3, 4)  # (.., pair, half, row, channel)
    words = np.concatenate([pairs.reshape(groups, side, -1), taps[:, :, -1]], axis=2)
    words = np.ascontiguousarray(words.reshape(groups, -1)).view("<i4")
    heads = first.reshape(groups, 4), multipliers.reshape(groups, 4)
    return np.concatenate([*heads, words], axis=1, dtype=np.int32).reshape(-1)


PACKINGS: dict[str, PlainPacking] = {packing.name: packing for packing in (PlainPacking(), DspPacking(), MvePacking())}
"""All packings by the name that users write."""
