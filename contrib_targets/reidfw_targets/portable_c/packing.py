"""How weights are laid out for each set of kernels, and what working memory these need.

A packing and its kernels belong together: the generated ``model.h`` names the set (``MODEL_KERNELS``), and only that
one is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

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


PACKINGS: dict[str, PlainPacking] = {packing.name: packing for packing in (PlainPacking(), DspPacking())}
"""All packings by the name that users write."""
