"""Less memory for more work: a large tensor that is needed twice is made twice instead of being kept.

The operators that make it are copied for its last reader, back to tensors that are smaller together, and those are kept
instead. What is copied works row by row, so the second making needs a few rows only.

Source: T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, for the idea.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reidfw_targets.portable_c.network import ImageRows, Network, Operator
from reidfw_targets.portable_c.planner import Plan, ScratchBytes, plan_memory
from reidfw_targets.portable_c.rewriting import ordered

logger = logging.getLogger(__name__)

_MOST_COPIES = 64  # operators copied for one tensor
_MOST_ROUNDS = 12
_PLANS_A_ROUND = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """A way to make a tensor a second time.

    Attributes:
        tensor: its number.
        reader: the operator that reads the copy.
        operators: what is copied, in order.
        kept_bytes: size of the tensors that are kept for it.
        macs: multiply-accumulate operations of the copies.
    """

    tensor: int
    reader: int
    operators: tuple[int, ...]
    kept_bytes: int
    macs: int


def plan_within(
    plan: Plan, network: Network, scratch_bytes: ScratchBytes, missing_bytes: Callable[[Plan], float]
) -> Plan:
    """Recomputes until the arena keeps a limit, or as far as that helps.

    In each round the tensors that lie in the fullest segment are tried, the cheapest in multiply-accumulate operations
    first. The first plan that keeps the limit is taken, else the one with the smallest arena.

    Args:
        plan: the plan without recomputation.
        network: what it plans.
        scratch_bytes: see :func:`plan_memory`.
        missing_bytes: how many bytes there are too few for a plan; it keeps the limit where they are none.

    Returns:
        A plan, whose network tells in its notes what is made twice; ``plan`` itself where nothing helps.
    """
    if missing_bytes(plan) > 0:
        logger.info(
            "The arena takes %.1f KiB, %.1f KiB too many; looking for tensors to make twice (large networks: a minute)",
            plan.arena_bytes / 1024,
            missing_bytes(plan) / 1024,
        )
    for _ in range(_MOST_ROUNDS):
        if missing_bytes(plan) <= 0:
            break
        better: tuple[Plan, Network] | None = None
        for change in _promising(plan, network):
            logger.debug(
                "The arena takes %.1f KiB; trying to make '%s' twice",
                plan.arena_bytes / 1024,
                network.tensors[change.tensor].name,
            )
            changed = recomputed(network, change)
            candidate = plan_memory(changed, plan.input_mode, scratch_bytes)
            if missing_bytes(candidate) <= 0:
                return candidate
            if _key(candidate) < _key(better[0] if better else plan):
                better = candidate, changed
        if better is None:
            break
        plan, network = better
    return plan


def recomputed(network: Network, change: Recomputation) -> Network:
    """The network with these operators copied for one reader; every number stays as it is."""
    tensors, operators = list(network.tensors), list(network.operators)
    copies: dict[int, int] = {}
    for number in change.operators:
        original = network.operators[number]
        copies[original.output] = len(tensors)
        tensors.append(tensors[original.output])
        operators.append(_with_inputs(replace(original, output=copies[original.output]), copies))
    operators[change.reader] = _with_inputs(operators[change.reader], {change.tensor: copies[change.tensor]})
    share = 100 * change.macs / network.macs if network.macs else 0.0
    note = (
        f"'{network.tensors[change.tensor].name}' is made twice to save memory: {change.macs / 1e6:.1f} million more "
        f"MACs ({share:.1f} %)"
    )
    return ordered(replace(network, tensors=tuple(tensors), operators=tuple(operators), notes=(*network.notes, note)))


def recomputations(network: Network, tensor: int) -> Iterator[Recomputation]:
    """Ways to make a tensor again for its last reader, each with less to keep than the one before, and more work.

    Nothing is given for a tensor with one reader, or one that cannot be made again row by row.
    """
    makers = {operator.output: number for number, operator in enumerate(network.operators)}
    readers = [k for k, one in enumerate(network.operators) if any(read.tensor == tensor for read in one.reads)]
    if len(readers) < 2 or tensor not in makers:
        return
    kept, macs, least = {tensor}, 0, network.tensors[tensor].num_bytes
    copied: list[int] = []
    while len(copied) < _MOST_COPIES:
        again = [makers[one] for one in kept if one in makers and _by_rows(network, makers[one])]
        if not again:
            return
        number = max(again)
        operator = network.operators[number]
        copied.append(number)
        macs += operator.macs
        kept = kept - {operator.output} | {read.tensor for read in operator.reads}
        kept_bytes = sum(network.tensors[one].num_bytes for one in kept)
        if kept_bytes < least:
            least = kept_bytes
            yield Recomputation(
                tensor=tensor,
                reader=readers[-1],
                operators=tuple(sorted(copied)),
                kept_bytes=kept_bytes,
                macs=macs,
            )


def _by_rows(network: Network, number: int) -> bool:
    """Whether an operator can run again for a few rows; the camera gives each row only once."""
    operator = network.operators[number]
    return not isinstance(operator, ImageRows) and operator.steps == network.tensors[operator.output].height > 1


def _promising(plan: Plan, network: Network) -> list[Recomputation]:
    """What may make the fullest segment smaller, cheapest first."""
    shift = len(plan.network.operators) - len(network.operators)  # the operator that takes the image row by row
    fullest = max(plan.segments, key=lambda segment: segment.live_bytes)
    first, last = fullest.first - shift, fullest.last - shift
    makers = {operator.output: number for number, operator in enumerate(network.operators)}
    found = []
    for tensor, maker in makers.items():
        if maker <= last:
            found += [
                change
                for change in recomputations(network, tensor)
                if change.reader >= first and change.operators[-1] < change.reader
            ]
    found.sort(key=lambda change: change.kept_bytes - network.tensors[change.tensor].num_bytes)
    return sorted(found[:_PLANS_A_ROUND], key=lambda change: change.macs)


def _key(plan: Plan) -> tuple[int, list[int]]:
    """What a better plan has less of; of equal arenas the one with fewer full segments."""
    return plan.arena_bytes, sorted((segment.live_bytes for segment in plan.segments), reverse=True)


def _with_inputs(operator: Operator, numbers: dict[int, int]) -> Operator:
    reads = tuple(replace(read, tensor=numbers.get(read.tensor, read.tensor)) for read in operator.reads)
    return replace(operator, reads=reads)
