"""Changes to a network that leave every number as it is and make it cheaper to run."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from reidfw_targets.portable_c.network import (
    Concatenation,
    Convolution,
    Depthwise,
    Network,
    Operator,
    Pad,
    Slice,
    Table,
    Tensor,
)

_Kept = TypeVar("_Kept", bound=Operator)


def simplified(network: Network) -> Network:
    """All changes of this module, in the order in which they help each other."""
    return ordered(rows_split(pads_merged(network)))


def pads_merged(network: Network) -> Network:
    """The network without the frames that a convolution can make by itself.

    Where a frame holds the zero point and only convolutions read it, their windows begin outside of the unpadded
    image instead.
    """
    operators = list(network.operators)
    for pad in network.operators:
        if not isinstance(pad, Pad) or pad.value != network.tensors[pad.output].zero_point:
            continue
        readers = [k for k, one in enumerate(operators) if any(read.tensor == pad.output for read in one.reads)]
        if not all(isinstance(operators[k], Convolution | Depthwise) for k in readers):
            continue
        for k in readers:
            one = operators[k]
            assert isinstance(one, Convolution | Depthwise)
            window = replace(one.window, pad_top=one.window.pad_top + pad.top, pad_left=one.window.pad_left + pad.left)
            if one.window.pad_top + one.window.pad_left == 0:
                operators[k] = _reading(replace(one, window=window), pad.reads[0].tensor, window.pad_top)
    return replace(network, operators=tuple(operators))


def rows_split(network: Network) -> Network:
    """The network with rows that are joined only to be cut apart again computed one by one.

    Networks stack vectors as rows of an image, run them through layers that look at one pixel at a time, and cut the
    rows out again. Split, each vector can be made, used and forgotten before the next one.
    """
    tensors, operators = list(network.tensors), list(network.operators)
    makers = {operator.output: operator for operator in operators}
    made: dict[tuple[int, int, int], int | None] = {}

    def part(tensor: int, top: int, height: int) -> int | None:
        """A tensor that holds only these rows; None where it cannot be made without the others."""
        key = (tensor, top, height)
        if key not in made:
            made[key] = _part(tensor, top, height)
        return made[key]

    def _part(tensor: int, top: int, height: int) -> int | None:
        maker = makers.get(tensor)
        whole = tensors[tensor]
        if isinstance(maker, Concatenation):
            for read in maker.reads:
                if maker.chunks == 1 and read.pad == top and tensors[read.tensor].height == height < whole.height:
                    return read.tensor
            return None
        if not isinstance(maker, Table) and not (
            isinstance(maker, Convolution) and maker.window.kernel[0] == maker.window.stride[0] == 1
        ):
            return None
        source = part(maker.reads[0].tensor, top, height)
        if source is None:
            return None
        tensors.append(
            replace(whole, shape=(height, *whole.shape[1:]), file_row=whole.file_row + top, name=f"{whole.name}[{top}]")
        )
        number = len(tensors) - 1
        piece = replace(
            _reading(maker, source, 0),
            layer=tensors[number].name,
            output=number,
            steps=height,
            macs=maker.macs * height // whole.height,
        )
        operators.append(piece)
        makers[number] = piece
        return number

    for cut in network.operators:
        if not isinstance(cut, Slice) or cut.width * cut.channels != tensors[cut.reads[0].tensor].row_bytes:
            continue
        number = part(cut.reads[0].tensor, cut.top, tensors[cut.output].height)
        if number is not None:
            operators = [_with_input(one, cut.output, number) for one in operators if one is not cut]
    return ordered(replace(network, tensors=tuple(tensors), operators=tuple(operators)))


def ordered(network: Network) -> Network:
    """The network with each operator right before the first one that needs it, and without what nothing needs.

    A branch is then computed and used up before the next one begins. Tensors are numbered anew, in order of making.
    """
    makers = {operator.output: operator for operator in network.operators}
    order: list[Operator] = []
    placed: set[int] = set()
    waiting = [network.embedding]
    while waiting:
        operator = makers.get(waiting[-1])
        if operator is None or operator.output in placed:
            waiting.pop()
            continue
        missing = [read.tensor for read in operator.reads if read.tensor in makers and read.tensor not in placed]
        if missing:
            if missing[0] in waiting:
                raise ValueError(f"layer '{operator.layer}' needs its own result")
            waiting.append(missing[0])
            continue
        order.append(operator)
        placed.add(operator.output)
        waiting.pop()
    kept = [network.image, *(operator.output for operator in order if operator.output != network.image)]
    numbers = {old: new for new, old in enumerate(kept)}
    tensors: tuple[Tensor, ...] = tuple(network.tensors[old] for old in kept)
    return replace(
        network,
        tensors=tensors,
        operators=tuple(
            replace(
                operator,
                output=numbers[operator.output],
                reads=tuple(replace(read, tensor=numbers[read.tensor]) for read in operator.reads),
            )
            for operator in order
        ),
        image=numbers[network.image],
        embedding=numbers[network.embedding],
    )


def _reading(operator: _Kept, tensor: int, pad: int) -> _Kept:
    """The operator with another tensor as its only input."""
    return replace(operator, reads=(replace(operator.reads[0], tensor=tensor, pad=pad),))


def _with_input(operator: Operator, old: int, new: int) -> Operator:
    if all(read.tensor != old for read in operator.reads):
        return operator
    return replace(
        operator, reads=tuple(replace(read, tensor=new) if read.tensor == old else read for read in operator.reads)
    )
