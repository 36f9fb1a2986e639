"""An integer network as the planner and the emitter see it: tensors, and operators that make them row by row.

Every tensor is an image: height, width, channels; a vector has height and width 1. An operator works in *steps*. A
step reads rows of its inputs and, for most operators, makes one row of the output. An operator with more steps than
output rows (a mean over the image) makes its only row with its last step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor that is computed, 8 bits an element.

    Attributes:
        name: its name in the model file.
        file_index: its number there; None where the file has no such tensor.
        file_row: which row of the file's tensor is its first; not 0 where a tensor was split into rows.
        shape: height, width, channels.
        unsigned: uint8 instead of int8; only an input is.
        scale, zero_point: ``real = scale * (integer - zero_point)``.
    """

    name: str
    file_index: int | None
    shape: tuple[int, int, int]
    unsigned: bool
    scale: float
    zero_point: int
    file_row: int = 0

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return self.shape[1] * self.shape[2]

    @property
    def num_bytes(self) -> int:
        """Size of all rows in bytes."""
        return self.height * self.row_bytes


@dataclass(frozen=True, slots=True)
class Read:
    """Which rows of a tensor a step reads: ``step * stride - pad`` and the ``kernel - 1`` rows behind it.

    Rows outside of the tensor are padding. A stride of 0 reads the same rows in every step.
    """

    tensor: int
    stride: int = 1
    kernel: int = 1
    pad: int = 0

    def first(self, step: int, height: int) -> int:
        """The first row, of a tensor with ``height`` rows, that this step reads or a later one may read."""
        return min(max(step * self.stride - self.pad, 0), height - 1)

    def end(self, step: int, height: int) -> int:
        """The row behind the last one that this step reads; 0 where it reads only padding above the image."""
        return min(max(step * self.stride - self.pad + self.kernel, 0), height)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operator:
    """Base of all operators.

    Attributes:
        kind: the operator's name in the model file, for example ``CONV_2D``.
        layer: what messages and tables call it: its output's name.
        reads: its computed inputs.
        output: the tensor it makes.
        steps: how many steps it takes.
        macs: multiply-accumulate operations of all steps.
    """

    kind: str
    layer: str
    reads: tuple[Read, ...]
    output: int
    steps: int
    macs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRows(Operator):
    """Takes the image row by row from the application, where it is not resident."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requantization:
    """From 32-bit sums to 8-bit results, one factor a channel: multiply, round, shift, round, add, clamp.

    Attributes:
        multipliers: int32 (C,), in [2^30, 2^31), or 0.
        shifts: int32 (C,), to the left where positive.
        zero_point: added at the end.
        low, high: limits of the result.

    Source: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference, 2018, section 2.2.
    """

    multipliers: np.ndarray
    shifts: np.ndarray
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """A window that moves over an image.

    Attributes:
        kernel, stride: height and width in pixels.
        pad_top, pad_left: rows and columns of padding before the image.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad_top: int
    pad_left: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convolution(Operator):
    """A convolution over all channels.

    Attributes:
        window: its window.
        weights: int8 (O, kernel height, kernel width, I).
        bias: int32 (O,), without the share of the input's zero point.
        requantization: O factors.
    """

    window: Window
    weights: np.ndarray
    bias: np.ndarray
    requantization: Requantization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Depthwise(Operator):
    """A convolution of each channel with itself.

    Attributes:
        window: its window.
        weights: int8 (kernel height, kernel width, C).
        bias: int32 (C,), without the share of the input's zero point.
        requantization: C factors.
    """

    window: Window
    weights: np.ndarray
    bias: np.ndarray
    requantization: Requantization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dense(Operator):
    """A fully connected layer on a vector.

    It is no convolution of one pixel: LiteRT's reference kernel rounds its sums once, those of convolutions twice,
    which makes one of some 2000 results differ by 1.

    Attributes:
        weights: int8 (O, I).
        bias: int32 (O,), without the share of the input's zero point.
        requantization: O factors.
    """

    weights: np.ndarray
    bias: np.ndarray
    requantization: Requantization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool(Operator):
    """The mean or the maximum of a window; padding does not count."""

    window: Window
    average: bool
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mean(Operator):
    """The mean of each channel over the image; a step takes one row of it."""

    requantization: Requantization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageMaximum(Operator):
    """The largest element of each channel over the image; a step takes one row of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operand:
    """One side of an element-wise operator.

    Attributes:
        read: which of the operator's ``reads`` it is; None for a constant.
        constant: int8 (H, W, C), each dimension that of the output or 1; None for a computed tensor.
        shape: (H, W, C) of the one or the other.
        zero_point: its zero point.
        multiplier, shift: factor to the common scale of a sum; 0 in a product.
    """

    read: int | None
    constant: np.ndarray | None
    shape: tuple[int, int, int]
    zero_point: int
    multiplier: int = 0
    shift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Elementwise(Operator):
    """Sum, difference, product or extremum of two tensors, the smaller one repeated along its dimensions of size 1.

    Both sides and the result of an extremum have the same scale, so that it compares the integers themselves.
    """

    function: Literal["add", "subtract", "multiply", "minimum", "maximum"]
    operands: tuple[Operand, Operand]
    requantization: Requantization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table(Operator):
    """A function of one element: its 256 values, by the input's byte read as unsigned."""

    values: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pad(Operator):
    """A frame of one value around an image."""

    top: int
    left: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Concatenation(Operator):
    """Images joined along channels (``chunks`` pixels a row), width or height (one chunk a row)."""

    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice(Operator):
    """A part of an image: rows from ``top``, ``width`` pixels from ``left``, ``channels`` of each from ``channel``."""

    top: int
    left: int
    channel: int
    width: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reshape(Operator):
    """The same elements in another shape, one of the two having a single row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class L2Normalization(Operator):
    """The channels of each pixel divided by their Euclidean length; the result's scale is 1/128."""

    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Softmax(Operator):
    """Exponentials of the channels of each pixel, divided by their sum; the result has the scale 1/256.

    Attributes:
        exponentials: int32 (256,), in units of 2^-31, by how far an element lies below the largest one.
    """

    exponentials: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network from one image to one embedding.

    Attributes:
        name: what it is called, for comments in the C code.
        tensors: all computed tensors.
        operators: in an order in which each finds its inputs made.
        image: the tensor that is given.
        embedding: the tensor that is wanted; it has one pixel.
        notes: what the reader changed, for people.
    """

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    image: int
    embedding: int
    notes: tuple[str, ...] = field(default=())

    @property
    def rows_needed(self) -> tuple[int, ...]:
        """How many rows of each tensor the embedding depends on: a strided window may leave the last ones unread."""
        needed = [0] * len(self.tensors)
        needed[self.embedding] = self.tensors[self.embedding].height
        for operator in reversed(self.operators):
            made = self.tensors[operator.output]
            steps = operator.steps if operator.steps != made.height else needed[operator.output]
            for read in operator.reads if steps else ():
                end = max(read.end(step, self.tensors[read.tensor].height) for step in (0, steps - 1))
                needed[read.tensor] = max(needed[read.tensor], end)
        return tuple(needed)

    @property
    def rows_read(self) -> dict[int, np.ndarray]:
        """Which rows of each of the file's tensors anything reads: bool (rows,) by number in the file.

        A 1x1 convolution of stride 2, for one, never reads the last of an even number of rows, so nobody makes it.
        """
        ends: dict[int, int] = {}
        for tensor in self.tensors:
            if tensor.file_index is not None:
                ends[tensor.file_index] = max(ends.get(tensor.file_index, 0), tensor.file_row + tensor.height)
        found = {index: np.zeros(end, bool) for index, end in ends.items()}
        for tensor, needed in zip(self.tensors, self.rows_needed, strict=True):
            if tensor.file_index is not None:
                found[tensor.file_index][tensor.file_row : tensor.file_row + needed] = True
        return found

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one inference."""
        return sum(operator.macs for operator in self.operators)


def shortened(name: str, most: int = 60, *, ellipsis: str = "\N{HORIZONTAL ELLIPSIS}") -> str:
    """The end of a layer's or tensor's name, from one of its slashes on, in at most so many characters."""
    if len(name) <= most:
        return name
    end = name[len(ellipsis) - most :]
    start = end.find("/")
    return ellipsis + (end if start < 0 else end[start:])
