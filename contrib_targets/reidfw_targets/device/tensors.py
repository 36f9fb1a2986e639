"""What a device tells about a tensor: number format, shape, scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reidfw_core.api import BoardFailed
from reidfw_targets.device import messages
from reidfw_targets.device.messages import ShapeFormat
from reidfw_targets.images import Layout
from reidfw_targets.numbers import TensorNumbers

_FLOAT, _INTEGER = 1, 2
"""Type codes in bits 17 to 20 of a format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTensor:
    """An input or output of the model on the device.

    Attributes:
        name: its name there.
        dimensions: its sizes in the order in which the device keeps them in memory, batch first.
        layout: the order that an image would have.
        numbers: dtype, scale and zero point.
    """

    name: str
    dimensions: tuple[int, ...]
    layout: Layout
    numbers: TensorNumbers

    @property
    def size_bytes(self) -> int:
        """Bytes of one batch entry."""
        return int(np.prod(self.dimensions)) * self.numbers.dtype.itemsize


def describe_tensor(description: Any) -> DeviceTensor:
    """Reads a ``TensorDescription`` message.

    Raises:
        BoardFailed: a number format or shape that no ReID model has.
    """
    dtype = number_type(description.format)
    dimensions, layout = memory_shape(description.n_dims, tuple(description.dims))
    scale = float(description.scale) if dtype.kind in "iu" else 0.0
    if dtype.kind in "iu" and not scale > 0:
        raise BoardFailed(
            f"The board's tensor '{description.name}' is {dtype} without a scale, so it stands for no real numbers",
            hint="Give another input_type or output_type, for example float32.",
        )
    return DeviceTensor(
        name=description.name,
        dimensions=dimensions,
        layout=layout,
        numbers=TensorNumbers(dtype, scale, int(description.zeropoint)),
    )


def number_type(code: int) -> np.dtype:
    """The dtype of a format code (X-CUBE-AI's): bit 23 sign, bits 17 to 20 kind, 7 to 13 width, 0 to 6 fraction + 64.

    Raises:
        BoardFailed: fixed-point numbers and other formats that are not used for inputs and outputs here.
    """
    kind, bits, fraction = code >> 17 & 0xF, code >> 7 & 0x7F, (code & 0x7F) - 64
    signed = bool(code >> 23 & 1)
    if kind == _FLOAT and bits in (16, 32):
        return np.dtype(f"<f{bits // 8}")
    if kind == _INTEGER and bits in (8, 16, 32) and fraction == 0:
        return np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    raise BoardFailed(
        f"The board's model has numbers of the format 0x{code:08x}; float32, int8, uint8 and int16 are known"
    )


def memory_shape(n_dims: int, dims: Sequence[int]) -> tuple[tuple[int, ...], Layout]:
    """Sizes in memory order, batch first, and the order of an image.

    Args:
        n_dims: the format of the shape in the upper byte, its number of sizes below.
        dims: the sizes as sent.

    Raises:
        BoardFailed: no sizes, or zeros among them.
    """
    if not dims or min(dims) < 1:
        raise BoardFailed(f"The board tells a tensor of shape {tuple(dims)}")
    style = n_dims >> 24
    kind = style & 0xF
    sizes = tuple(int(size) for size in dims)
    if kind == ShapeFormat.BCWH and len(sizes) == 4:
        batch, channels, width, height = sizes
        return (batch, height, width, channels), "NHWC"
    if kind == ShapeFormat.BCHW and len(sizes) == 4:
        batch, height, width, channels = sizes
        return (batch, channels, height, width), "NCHW"
    if kind == ShapeFormat.ST_AI and not style & messages.HAS_BATCH:
        sizes = (1, *sizes)
    first = kind == ShapeFormat.ST_AI and bool(style & messages.CHANNELS_FIRST)
    return sizes, "NCHW" if first else "NHWC"
