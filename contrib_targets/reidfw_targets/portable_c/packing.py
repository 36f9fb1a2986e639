"""How weights are laid out for each set of kernels, and what working memory these need.

A packing and its kernels belong together: the generated ``model.h`` names the set (``MODEL_KERNELS``), and only that set
is compiled.
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


PACKINGS: dict[str, PlainPacking] = {packing.name: packing for packing in (PlainPacking(),)}
"""All packings by the name that users write."""
