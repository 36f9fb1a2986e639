"""Where every row lives, and in which order rows are made.

A network runs in *segments*. Inside of a segment rows are pulled: a row is made when another one needs it, so a tensor
needs room for a few rows only, its *ring*. What one segment leaves for another is stored whole. Cuts between segments
are found by dynamic programming over the memory that each segment takes.

Three things save more. An element-wise operator writes where it reads. Storage is shared by tensors that do not live at
the same time. And a segment's result may move into the place of its input as that is used up (*diagonal* overlap).

Source: row streaming and in-place execution are common in embedded inference; diagonal overlap after P. Blacker et al.,
"Diagonal memory optimisation for machine learning on micro-controllers", 2020.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from reidfw_targets.portable_c.network import (
    Elementwise,
    ImageRows,
    Network,
    Operator,
    Read,
    Reshape,
    Table,
)

InputMode = Literal["resident", "rows"]
ScratchBytes = Callable[[Operator, Network], int]

_LONGEST_SEGMENT = 64
_PACKING_TRIES = 24
_ALIGNMENT = 4
_SOURCE_BYTES = 16  # pc_source: two pointers and two numbers
_DIAGONAL_WEIGHTS = tuple(eighths / 8 for eighths in range(8, -1, -1))
"""How much of the diagonal overlap the choice of cuts counts on; only packing tells what there is of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Operators that run interleaved.

    Attributes:
        first, last: numbers of its operators, the last one included.
        live_bytes: room for all rings and stored tensors while it runs, each with a place of its own.
    """

    first: int
    last: int
    live_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A network with a place for every row.

    Attributes:
        network: the network; with rows by callback its first operator takes them.
        input_mode: whether the image lies in the arena as a whole.
        goals: operators that are completed one after another; all others run when they are needed.
        segments: what the goals came from.
        rings: how many rows each tensor has room for.
        offsets: first byte of each tensor in the arena.
        scratch_offsets: first byte of each operator's working memory.
        arena_bytes: size of the arena.
        depth: how many operators wait for another one at most.
    """

    network: Network
    input_mode: InputMode
    goals: tuple[int, ...]
    segments: tuple[Segment, ...]
    rings: tuple[int, ...]
    offsets: tuple[int, ...]
    scratch_offsets: tuple[int, ...]
    arena_bytes: int
    depth: int

    @property
    def most_rows(self) -> int:
        """How many row pointers a step needs at most."""
        return max(sum(read.kernel for read in operator.reads) for operator in self.network.operators) or 1

    @property
    def state_bytes(self) -> int:
        """RAM of the runtime beside the arena: counters, row pointers (of 4 bytes), and where rows come from."""
        source = _SOURCE_BYTES if self.input_mode == "rows" else 0
        return 2 * len(self.network.operators) + 2 * max(self.depth, 1) + 4 * self.most_rows + source


def plan_memory(network: Network, input_mode: InputMode, scratch_bytes: ScratchBytes) -> Plan:
    """Plans a network.

    Args:
        network: what the reader gave.
        input_mode: ``resident`` places the whole image in the arena, ``rows`` takes it row by row.
        scratch_bytes: working memory that the chosen kernels need for an operator of a network.
    """
    if input_mode == "rows":
        network = _with_image_rows(network)
    graph = _Graph(network, scratch_bytes)
    options = _options(graph)
    cuts = dict.fromkeys(tuple(_segments(options, diagonal_weight=weight)) for weight in _DIAGONAL_WEIGHTS)
    return min((_placed(graph, segments, input_mode) for segments in cuts), key=lambda plan: plan.arena_bytes)


def _with_image_rows(network: Network) -> Network:
    image = network.tensors[network.image]
    take = ImageRows(kind="INPUT", layer=image.name, reads=(), output=network.image, steps=image.height)
    return replace(network, operators=(take, *network.operators))


class _Graph:
    """The facts on a network that planning asks for again and again.

    Attributes:
        makers: the operator that makes each tensor; -1 for a resident image.
        consumers: operators that read each tensor, with how they read it.
        last_use: the last of them; the number of operators for the embedding.
        groups: tensors that share a storage because one is written over the other, in order of making.
        group_of: the group of each tensor.
    """

    def __init__(self, network: Network, scratch_bytes: ScratchBytes) -> None:
        self.network = network
        self.scratch = [scratch_bytes(operator, network) for operator in network.operators]
        count = len(network.operators)
        tensors = len(network.tensors)
        self.makers = [-1] * tensors
        self.consumers: list[list[tuple[int, Read]]] = [[] for _ in range(tensors)]
        for number, operator in enumerate(network.operators):
            self.makers[operator.output] = number
            for read in operator.reads:
                self.consumers[read.tensor].append((number, read))
        self.last_use = [max((number for number, _ in found), default=-1) for found in self.consumers]
        self.last_use[network.embedding] = count
        self.steps = [operator.steps for operator in network.operators]
        self.whole = [op.steps != network.tensors[op.output].height for op in network.operators]
        self._ancestors = self._find_ancestors()
        self.groups, self.group_of = self._find_groups()
        self.needs = [self._needs(number) for number in range(count)]
        self.firsts = [
            [
                (number, [read.first(step, network.tensors[tensor].height) for step in range(self.steps[number])])
                for number, read in self.consumers[tensor]
            ]
            for tensor in range(tensors)
        ]

    def _find_ancestors(self) -> list[int]:
        """For each operator a bit set of those that it depends on."""
        found: list[int] = []
        for operator in self.network.operators:
            bits = 0
            for read in operator.reads:
                maker = self.makers[read.tensor]
                if maker >= 0:
                    bits |= found[maker] | 1 << maker
            found.append(bits)
        return found

    def _needs(self, number: int) -> list[list[tuple[int, int]]]:
        """For each step of an operator: which operators must have done how many steps."""
        operator = self.network.operators[number]
        steps: list[list[tuple[int, int]]] = []
        for step in range(operator.steps):
            needed = []
            for read in operator.reads:
                maker = self.makers[read.tensor]
                if maker >= 0:
                    end = read.end(step, self.network.tensors[read.tensor].height)
                    needed.append((maker, self.steps[maker] if self.whole[maker] else end))
            steps.append(needed)
        return steps

    def _find_groups(self) -> tuple[list[list[int]], list[int]]:
        tensors = self.network.tensors
        group_of = list(range(len(tensors)))
        groups: list[list[int]] = [[tensor] for tensor in range(len(tensors))]
        for number, operator in enumerate(self.network.operators):
            for read in operator.reads:
                if self._may_overwrite(number, operator, read):
                    group = groups[group_of[read.tensor]]
                    if group[-1] == read.tensor:
                        group.append(operator.output)
                        group_of[operator.output] = group_of[read.tensor]
                        break
        used = sorted(set(group_of))
        renumbered = {old: new for new, old in enumerate(used)}
        return [groups[old] for old in used], [renumbered[old] for old in group_of]

    def _may_overwrite(self, number: int, operator: Operator, read: Read) -> bool:
        """Whether an operator may write its rows over those that it reads."""
        if not isinstance(operator, Elementwise | Table | Reshape) or self.whole[number]:
            return False
        given, made = self.network.tensors[read.tensor], self.network.tensors[operator.output]
        one_to_one = (read.stride, read.kernel, read.pad) == (1, 1, 0) or given.height == made.height == 1
        if not one_to_one or (given.height, given.row_bytes) != (made.height, made.row_bytes):
            return False
        if isinstance(operator, Elementwise):
            others = [o for o in operator.operands if o.read is None or operator.reads[o.read] is not read]
            if any(o.read is not None and operator.reads[o.read].tensor == read.tensor for o in others):
                return len(self.consumers[read.tensor]) == 2
        # whoever else reads it must have read all of it before this operator can begin
        return (
            all(
                other == number
                or (self.whole[other] and bool(self._ancestors[number] >> other & 1))
                or (given.height == 1 and bool(self._ancestors[number] >> other & 1) and self.steps[other] == 1)
                for other, _ in self.consumers[read.tensor]
            )
            and read.tensor != self.network.embedding
        )

    def group_bytes(self, group: int, rows: int) -> int:
        """Size of a group's storage with room for so many rows."""
        return rows * self.network.tensors[self.groups[group][0]].row_bytes

    def group_height(self, group: int) -> int:
        """Rows of the tensors of a group."""
        return self.network.tensors[self.groups[group][0]].height


class _Schedule:
    """Simulates the runtime: the order of all steps and what each tensor needs.

    Args:
        graph: the network.
        goals: operators to complete, one after another.
        first: operators before this one count as done.

    Attributes:
        order: operators in the order in which their steps run.
        rings: rows that each group needs.
        depth: the longest chain of operators waiting for another one.
        starts: for each goal the number of steps before it.
    """

    def __init__(self, graph: _Graph, goals: Sequence[int], first: int = 0) -> None:
        self.graph = graph
        self.order: list[int] = []
        self.rings = [0] * len(graph.groups)
        self.depth = 0
        self.starts: list[int] = []
        self.writes: dict[int, list[int]] = {}
        self.deaths: dict[int, tuple[list[int], list[int]]] = {}
        self._done = [graph.steps[number] if number < first else 0 for number in range(len(graph.steps))]
        for goal in goals:
            self.starts.append(len(self.order))
            self._complete(goal)

    def _complete(self, goal: int) -> None:
        graph, done, path = self.graph, self._done, [goal]
        while path:
            current = path[-1]
            step = done[current]
            if step == graph.steps[current]:  # only ever the goal: others are left as soon as they did their step
                break
            for maker, needed in graph.needs[current][step]:
                if done[maker] < needed:
                    path.append(maker)
                    break
            else:
                self._run(current, step)
                if len(path) > 1:
                    path.pop()
                continue
            self.depth = max(self.depth, len(path))

    def _run(self, number: int, step: int) -> None:
        graph, done = self.graph, self._done
        operator = graph.network.operators[number]
        output = operator.output
        group = graph.group_of[output]
        row = 0 if graph.whole[number] else step
        live = row + 1 - self._dead(graph.groups[group])
        self.rings[group] = max(self.rings[group], live, 1)
        self.writes.setdefault(output, []).append(len(self.order))
        done[number] = step + 1
        time = len(self.order)
        self.order.append(number)
        for read in operator.reads:
            times, rows = self.deaths.setdefault(read.tensor, ([], []))
            times.append(time)
            rows.append(min(self._dead((read.tensor,)), self._made(read.tensor)))

    def _dead(self, tensors: Sequence[int]) -> int:
        """How many leading rows of these tensors nobody reads any more."""
        done = self._done
        dead = 1 << 30
        for tensor in tensors:
            for number, firsts in self.graph.firsts[tensor]:
                step = done[number]
                if step < len(firsts) and firsts[step] < dead:
                    dead = firsts[step]
        return dead

    def _made(self, tensor: int) -> int:
        """How many rows of a tensor are there."""
        maker = self.graph.makers[tensor]
        if maker < 0 or self._done[maker] == self.graph.steps[maker]:
            return self.graph.network.tensors[tensor].height
        return 0 if self.graph.whole[maker] else self._done[maker]

    def lag_bytes(self, used: int, made: int) -> int:
        """How far below the tensor ``used`` the tensor ``made`` must begin so that it never overtakes it."""
        tensors = self.graph.network.tensors
        times, rows = self.deaths[used]
        lag = 0
        for row, time in enumerate(self.writes[made]):
            place = bisect_left(times, time)
            dead = min(rows[place - 1] if place else 0, tensors[used].height)
            lag = max(lag, (row + 1) * tensors[made].row_bytes - dead * tensors[used].row_bytes)
        return lag


def _goals(graph: _Graph, first: int, last: int) -> list[int]:
    """What a segment must complete: first what nobody in it reads, then what later ones read too."""
    unread, read = [], []
    for number in range(first, last + 1):
        output = graph.network.operators[number].output
        if all(consumer > last for consumer, _ in graph.consumers[output]):
            unread.append(number)
        elif graph.last_use[output] > last:
            read.append(number)
    return unread + read


@dataclass(frozen=True, slots=True)
class _Option:
    """A possible segment that ends with a certain operator.

    Attributes:
        first: its first operator.
        live_bytes: room that it needs, with a place of its own for everything.
        saving: what diagonal overlap takes off.
    """

    first: int
    live_bytes: int
    saving: int


def _options(graph: _Graph) -> list[list[_Option]]:
    """For each operator all segments that end with it."""
    found = []
    for last in range(len(graph.steps)):
        start = max(0, last - _LONGEST_SEGMENT + 1)
        schedule = _Schedule(graph, _goals(graph, start, last), start)
        found.append(list(_segment_bytes(graph, schedule, start, last)))
    return found


def _segments(options: Sequence[Sequence[_Option]], *, diagonal_weight: float) -> list[Segment]:
    """The cuts with the smallest peak; of equal ones those with the fewest segments."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    chosen: list[_Option] = []
    for ending_here in options:
        peak, number, _, option = min(
            (
                max(best[option.first][0], option.live_bytes - diagonal_weight * option.saving),
                best[option.first][1] + 1,
                option.first,  # no two are alike, so options are never compared
                option,
            )
            for option in ending_here
        )
        best.append((peak, number))
        chosen.append(option)
    segments = []
    end = len(options)
    while end > 0:
        option = chosen[end - 1]
        segments.append(Segment(first=option.first, last=end - 1, live_bytes=option.live_bytes))
        end = option.first
    return segments[::-1]


def _segment_bytes(graph: _Graph, schedule: _Schedule, start: int, last: int) -> Iterator[_Option]:
    """The segments from each operator down to ``start`` to ``last``."""
    savings: dict[tuple[int, int], int] = {}
    spans = []
    for group, members in enumerate(graph.groups):
        makers = [graph.makers[tensor] for tensor in members]
        uses = [graph.last_use[tensor] for tensor in members]
        if makers[0] <= last and uses[-1] >= start:
            spans.append((group, list(zip(makers, uses, strict=True))))
    scratch = 0
    sums = 0
    for first in range(last, start - 1, -1):
        if graph.whole[first]:
            sums += graph.scratch[first]
        else:
            scratch = max(scratch, graph.scratch[first])
        total = scratch + sums
        dying, born = [], []
        for group, uses_of_members in spans:
            stored_before = any(maker < first <= use for maker, use in uses_of_members)
            stored_after = any(maker <= last < use for maker, use in uses_of_members)
            if stored_before or stored_after:
                total += graph.group_bytes(group, graph.group_height(group))
                if stored_before and not stored_after:
                    dying.append(group)
                elif stored_after and not stored_before:
                    born.append(group)
            elif any(first <= maker <= last for maker, _ in uses_of_members):
                total += graph.group_bytes(group, min(schedule.rings[group], graph.group_height(group)))
        for pair in product(dying, born):
            if pair not in savings:
                savings[pair] = _saving(graph, schedule, *pair)
        saving = max((savings[pair] for pair in product(dying, born)), default=0)
        yield _Option(first, total, saving)


def _saving(graph: _Graph, schedule: _Schedule, used_group: int, made_group: int) -> int:
    """Bytes that are shared when one stored tensor moves into the place of another."""
    used, made = graph.groups[used_group][-1], graph.groups[made_group][0]
    if used not in schedule.deaths or made not in schedule.writes:
        return 0
    used_bytes, made_bytes = (graph.network.tensors[tensor].num_bytes for tensor in (used, made))
    lag = schedule.lag_bytes(used, made)
    return max(0, used_bytes + made_bytes - max(lag + used_bytes, made_bytes))


@dataclass(slots=True)
class _Storage:
    """A piece of the arena.

    Attributes:
        size: bytes.
        born, dead: first and last step in which it is used.
        first, last: where it holds whole tensors, the one written first and the one read last.
    """

    size: int
    born: int
    dead: int
    first: int | None = None
    last: int | None = None
    offset: int = 0


def _placed(graph: _Graph, segments: Sequence[Segment], input_mode: InputMode) -> Plan:
    """The plan with these segments."""
    goals = [goal for segment in segments for goal in _goals(graph, segment.first, segment.last)]
    schedule = _Schedule(graph, goals)
    end = len(schedule.order)
    first_run: dict[int, int] = {}
    last_run: dict[int, int] = {}
    for time, number in enumerate(schedule.order):
        first_run.setdefault(number, time)
        last_run[number] = time
    storages: list[_Storage] = []
    tensors = graph.network.tensors
    rings = [0] * len(graph.groups)
    for group, members in enumerate(graph.groups):
        height = graph.group_height(group)
        resident = graph.makers[members[0]] < 0
        rings[group] = height if resident else min(schedule.rings[group], height)
        born = 0 if resident else first_run[graph.makers[members[0]]]
        uses = [last_run[number] for tensor in members for number, _ in graph.consumers[tensor]]
        dead = end if graph.network.embedding in members else max(uses)
        storage = _Storage(graph.group_bytes(group, rings[group]), born, dead)
        if rings[group] == height:
            storage.first, storage.last = members[0], members[-1]
        storages.append(storage)
    scratch_storage: dict[int, _Storage] = {}
    for segment in segments:
        shared: _Storage | None = None
        for number in range(segment.first, segment.last + 1):
            if not graph.scratch[number]:
                continue
            if graph.whole[number]:
                own = _Storage(graph.scratch[number], first_run[number], last_run[number])
                storages.append(own)
                scratch_storage[number] = own
                continue
            if shared is None:
                shared = _Storage(0, end, 0)
                storages.append(shared)
            shared.size = max(shared.size, graph.scratch[number])
            shared.born = min(shared.born, first_run[number])
            shared.dead = max(shared.dead, last_run[number])
            scratch_storage[number] = shared
    arena_bytes = _pack(storages, schedule)
    return Plan(
        network=graph.network,
        input_mode=input_mode,
        goals=tuple(goals),
        segments=tuple(segments),
        rings=tuple(rings[graph.group_of[tensor]] for tensor in range(len(tensors))),
        offsets=tuple(storages[graph.group_of[tensor]].offset for tensor in range(len(tensors))),
        scratch_offsets=tuple(
            scratch_storage[number].offset if number in scratch_storage else 0 for number in range(len(graph.steps))
        ),
        arena_bytes=arena_bytes,
        depth=schedule.depth,
    )


def _pack(storages: list[_Storage], schedule: _Schedule) -> int:
    """Gives every storage its offset; returns the size of the arena.

    Storages are placed one after another as low as they can be, in several orders; the best one counts.
    """
    for storage in storages:
        storage.size = -(-storage.size // _ALIGNMENT) * _ALIGNMENT
    count = len(storages)
    gaps = _gaps(storages, schedule)
    bound = _lower_bound(storages)
    generator = random.Random(0)  # noqa: S311 (no secret; the same plan every time)
    orders = [
        sorted(range(count), key=lambda k: (-storages[k].size, storages[k].born)),
        sorted(range(count), key=lambda k: -storages[k].size * (storages[k].dead - storages[k].born + 1)),
        sorted(range(count), key=lambda k: (storages[k].born, -storages[k].size)),
        sorted(range(count), key=lambda k: (-storages[k].dead, -storages[k].size)),
    ]
    best: tuple[int, list[int]] | None = None
    for attempt in range(_PACKING_TRIES):
        if attempt < len(orders):
            order = orders[attempt]
        else:
            weights = [storage.size * generator.uniform(0.5, 1.5) for storage in storages]
            order = sorted(range(count), key=lambda k: -weights[k])
        offsets = _place(storages, order, gaps)
        size = max(offset + storage.size for offset, storage in zip(offsets, storages, strict=True))
        if best is None or size < best[0]:
            best = size, offsets
        if attempt >= len(orders) - 1 and best[0] <= bound:
            break
    assert best is not None
    for storage, offset in zip(storages, best[1], strict=True):
        storage.offset = offset
    return best[0]


def _gaps(storages: Sequence[_Storage], schedule: _Schedule) -> list[dict[int, tuple[int, int]]]:
    """For each storage those that live at the same time: by how many bytes it must lie (above, below) the other.

    ``above`` is the smallest distance from the other's first byte to its own where it lies above, ``below`` where it
    lies below.
    """
    gaps: list[dict[int, tuple[int, int]]] = [{} for _ in storages]
    by_birth = sorted(range(len(storages)), key=lambda k: storages[k].born)
    alive: list[int] = []
    for new in by_birth:
        mine = storages[new]
        alive = [old for old in alive if storages[old].dead >= mine.born]
        for old in alive:
            other = storages[old]
            below = mine.size  # the newer one ends before the older one begins ...
            if (
                mine.first is not None
                and other.last is not None
                and other.dead <= mine.dead
                and other.last in schedule.deaths
                and mine.first in schedule.writes
            ):  # ... or it follows the older one as that is used up
                lag = schedule.lag_bytes(other.last, mine.first)
                below = min(below, -(-lag // _ALIGNMENT) * _ALIGNMENT)
            gaps[new][old] = (other.size, below)
            gaps[old][new] = (below, other.size)
        alive.append(new)
    return gaps


def _place(storages: Sequence[_Storage], order: Sequence[int], gaps: Sequence[dict[int, tuple[int, int]]]) -> list[int]:
    offsets = [-1] * len(storages)
    for number in order:
        forbidden = sorted(
            (offsets[other] - below, offsets[other] + above)
            for other, (above, below) in gaps[number].items()
            if offsets[other] >= 0
        )
        place = 0
        for low, high in forbidden:
            if place <= low:
                break
            place = max(place, high)
        # intervals are sorted by their lower end, so the first gap that holds ``place`` is free
        offsets[number] = place
    return offsets


def _lower_bound(storages: Sequence[_Storage]) -> int:
    """The most bytes that live at one time, without diagonal overlap."""
    changes: list[tuple[int, int]] = []
    for storage in storages:
        changes += [(storage.born, storage.size), (storage.dead + 1, -storage.size)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
