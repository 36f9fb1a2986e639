"""How weights are laid out for each set of kernels, and what working memory these need.

A packing and its kernels belong together: the generated ``model.h`` names the set (``MODEL_KERNELS``), and only that
one is compiled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from reidfw_core.api import DataError
from reidfw_targets.portable_c.network import Convolution, Depthwise, Mean, Network, Operator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """The constants of a convolution; None where ``weights`` holds them too.

    Attributes:
        weights: int8 or int32 (n,).
        bias, multipliers: int32 (C,).
        shifts: int8 (C,).
    """

    weights: np.ndarray
    bias: np.ndarray | None
    multipliers: np.ndarray | None
    shifts: np.ndarray | None


class PlainPacking:
    """Weights as in the model file, for plain C."""

    name: ClassVar[str] = "plain"
    macro: ClassVar[str] = "PC_KERNELS_PLAIN"
    sources: ClassVar[tuple[str, ...]] = ("pc_plain.c",)

    def pack(self, operator: Convolution | Depthwise, network: Network) -> Packed:
        """The constants of one convolution."""
        del network
        factors = operator.requantization
        return Packed(
            weights=operator.weights.reshape(-1),
            bias=operator.bias,
            multipliers=factors.multipliers,
            shifts=factors.shifts.astype(np.int8),
        )

    def scratch_bytes(self, operator: Operator, network: Network) -> int:
        """Working memory of one operator in bytes."""
        channels = network.tensors[operator.output].shape[2]
        if isinstance(operator, Mean):
            return 4 * channels
        return 0


class MvePacking(PlainPacking):
    """Weights in the order in which the vector kernels of Cortex-M55 load them; see ``csrc/pc_mve.c``."""

    name: ClassVar[str] = "mve"
    macro: ClassVar[str] = "PC_KERNELS_MVE"
    sources: ClassVar[tuple[str, ...]] = ("pc_mve.c",)

    def pack(self, operator: Convolution | Depthwise, network: Network) -> Packed:
        """The constants of one convolution, all in ``weights``.

        Raises:
            DataError: a depthwise weight is -128, which TensorFlow Lite's specification excludes.
        """
        zero_point = network.tensors[operator.reads[0].tensor].zero_point
        factors = operator.requantization
        spatial = (0, 1) if isinstance(operator, Depthwise) else (1, 2, 3)
        bias = operator.bias - zero_point * operator.weights.sum(axis=spatial, dtype=np.int32)
        numbers = np.stack([bias, factors.multipliers, factors.shifts]).astype(np.int32)
        if isinstance(operator, Depthwise):
            if (operator.weights == -128).any():
                raise DataError(f"{operator.layer}: a depthwise weight is -128; TensorFlow Lite allows -127 to 127")
            body = _mve_depthwise(operator.weights, numbers)
        else:
            body = _mve_convolution(operator.weights, numbers)
        leftward = np.int32((factors.shifts > 0).any())
        return Packed(
            weights=np.concatenate([[leftward], body], dtype=np.int32), bias=None, multipliers=None, shifts=None
        )

    def scratch_bytes(self, operator: Operator, network: Network) -> int:
        """Working memory of one operator in bytes: a gathered window, or the taps' pointers, steps and padding."""
        if isinstance(operator, Convolution):
            window = operator.window
            if window.kernel == (1, 1) and window.pad_left == 0:
                return 0
            return _rounded(math.prod(operator.weights.shape[1:]), 16)
        if isinstance(operator, Depthwise):
            return 8 * _rounded(math.prod(operator.window.kernel), 4) + _rounded(operator.weights.shape[2], 16)
        return super().scratch_bytes(operator, network)


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
    """For the DSP instructions: the zero point is folded into the bias; filters two by two, word by word.

    A filter is a row of words of 4 weights, filled up with zeros. The words of two filters alternate.
    """

    name: ClassVar[str] = "dsp"
    macro: ClassVar[str] = "PC_KERNELS_DSP"
    sources: ClassVar[tuple[str, ...]] = ("pc_dsp.c",)

    def pack(self, operator: Convolution | Depthwise, network: Network) -> Packed:
        """The constants of one convolution."""
        zero_point = network.tensors[operator.reads[0].tensor].zero_point
        factors = operator.requantization
        weights = operator.weights.astype(np.int64)
        if isinstance(operator, Depthwise):
            sums = weights.sum(axis=(0, 1))
            packed = operator.weights.reshape(-1)
        else:
            sums = weights.sum(axis=(1, 2, 3))
            rows = operator.weights.reshape(len(operator.weights), -1)
            rows = np.pad(rows, ((0, len(rows) % 2), (0, -rows.shape[1] % 4)))
            words = np.ascontiguousarray(rows).view("<i4")
            packed = words.reshape(len(rows) // 2, 2, -1).transpose(0, 2, 1).reshape(-1).astype(np.int32)
        return Packed(
            weights=packed,
            bias=_wrapped(operator.bias - zero_point * sums),
            multipliers=factors.multipliers,
            shifts=factors.shifts.astype(np.int8),
        )

    def scratch_bytes(self, operator: Operator, network: Network) -> int:
        """Working memory of one operator in bytes: for a convolution two windows in 16 bits and one in 8."""
        if isinstance(operator, Convolution):
            depth = -(-operator.weights[0].size // 4) * 4
            return int(5 * depth)
        return super().scratch_bytes(operator, network)


def _wrapped(values: np.ndarray) -> np.ndarray:
    """To int32 as the processor's own arithmetic would."""
    return values.astype(np.int64).astype(np.uint64).astype(np.uint32).view(np.int32)


PACKINGS: dict[str, PlainPacking] = {packing.name: packing for packing in (PlainPacking(), DspPacking(), MvePacking())}
"""All packings by the name that users write."""
