"""How much memory an execution operation by operation needs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Tensor = TypeVar("Tensor", bound=Hashable)


def peak_bytes(
    operations: Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]],
    sizes: Mapping[Tensor, int],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> int:
    """Most bytes that are alive at once, with the operations in their order.

    A tensor lives from the operation that makes it to the last one that reads it; inputs from the start, outputs to the
    end. No allocator can do with less in this order without working in place.

    Args:
        operations: inputs and outputs of each operation.
        sizes: bytes of each tensor that is no constant; others are not counted.
        inputs, outputs: of the network.
    """
    last = {tensor: step for step, (read, made) in enumerate(operations) for tensor in (*made, *read)}
    last.update(dict.fromkeys(outputs, len(operations)))
    alive = {tensor for tensor in inputs if tensor in sizes}
    peak = sum(sizes[tensor] for tensor in alive)
    for step, (_, made) in enumerate(operations):
        alive |= {tensor for tensor in made if tensor in sizes}
        peak = max(peak, sum(sizes[tensor] for tensor in alive))
        alive = {tensor for tensor in alive if last.get(tensor, -1) > step}
    return peak
