"""Code for one board: in the chip's own RAM where a plan fits there, else with the arena in RAM beside the chip."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

from reidfw_core.api import DoesNotFit, MemoryEstimate
from reidfw_targets.emulation.memory import STACK_BYTES
from reidfw_targets.facts import BoardFacts, MemoryRegion
from reidfw_targets.portable_c.compiling import ArenaLimit, Compiled, compile_within, planned
from reidfw_targets.portable_c.packing import PACKINGS
from reidfw_targets.portable_c.planner import InputMode, Plan

logger = logging.getLogger(__name__)

_HARNESS_BYTES = 128
"""Variables of the program that runs the model, and gaps between variables that are aligned to 16 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionLimit(ArenaLimit):
    """What a memory of a board leaves for the arena.

    Attributes:
        board: the board's name.
        region: the memory.
        stack_bytes: what of it is the stack.
    """

    board: str
    region: MemoryRegion
    stack_bytes: int

    def missing_bytes(self, plan: Plan) -> float:
        """How many bytes there are too few for a plan with everything that lies beside its arena."""
        return plan.arena_bytes + self.stack_bytes + variables_bytes(plan) - self.kib * 1024

    def words(self, plan: Plan) -> str:
        """What is there, what is taken off, and what is missing."""
        stack = f"{self.stack_bytes / 1024:g} KiB of stack and " if self.stack_bytes else ""
        variables = variables_bytes(plan) / 1024
        left = self.kib - self.stack_bytes / 1024 - variables
        return (
            f"{self.board} leaves {left:.1f} KiB for it ({self.region.name} with {self.kib:g} KiB, less {stack}"
            f"{variables:.1f} KiB of variables): {self.missing_bytes(plan) / 1024:.1f} KiB are missing"
        )


def estimate_for_board(path: Path, board: BoardFacts, *, input_mode: InputMode | None, kernels: str) -> MemoryEstimate:
    """What the code would take on a board, without writing it; tensors are made once, as trying more takes long.

    Args:
        path: a ``.tflite`` file.
        board: the board.
        input_mode: None takes the resident image where that fits, else rows.
        kernels: which kernels.

    Raises:
        DataError: the model is not one that the engine computes.
    """
    from reidfw_targets._tflite.memory import estimate_tflite

    modes: tuple[InputMode, ...] = ("resident", "rows") if input_mode is None else (input_mode,)
    places = [(board.arena, STACK_BYTES), *((region, 0) for region in board.of_kind("external_ram"))]
    changed_ns = path.stat().st_mtime_ns
    for (region, stack_bytes), mode in product(places, modes):
        plan = _free_plan(path, changed_ns, mode, kernels)
        limit = RegionLimit(kib=region.size_kib, board=board.name, region=region, stack_bytes=stack_bytes)
        if limit.missing_bytes(plan) <= 0:
            break
    image = "resident" if plan.input_mode == "resident" else "row by row"
    return MemoryEstimate(
        weights_bytes=estimate_tflite(path).weights_bytes,
        activations_bytes=plan.arena_bytes + variables_bytes(plan) + STACK_BYTES,
        method=f"portable_c, image {image}, stack included, no tensor made twice",
        one_piece=True,
    )


@lru_cache(maxsize=8)
def _free_plan(path: Path, changed_ns: int, mode: InputMode, kernels: str) -> Plan:  # noqa: ARG001 (part of the key)
    """The plan without a limit: the same for all boards with these kernels."""
    return planned(path, mode, ArenaLimit(), PACKINGS[kernels])[0]


def variables_bytes(plan: Plan) -> int:
    """RAM beside arena and stack: the runtime's state, the embedding, and a row where the image comes row by row."""
    image, embedding = plan.network.tensors[plan.network.image], plan.network.tensors[plan.network.embedding]
    row = image.row_bytes if plan.input_mode == "rows" else 0
    return plan.state_bytes + embedding.row_bytes + row + _HARNESS_BYTES


def compile_for_board(
    path: Path, folder: Path, board: BoardFacts, *, input_mode: InputMode | None, kernels: str
) -> Compiled:
    """Writes a model as C code for a board; where the program lies is for the linker to tell.

    The chip's largest RAM in one piece is tried with everything that makes the arena smaller; only where that is not
    enough, the arena goes to external RAM, which is slower.

    Args:
        path: a ``.tflite`` file.
        folder: for the code; it is made.
        board: the board.
        input_mode: None takes the resident image where that fits, else rows.
        kernels: which kernels.

    Raises:
        DataError: the model is not one that the engine computes.
        DoesNotFit: neither is enough.
    """

    def within(region: MemoryRegion, stack_bytes: int) -> Compiled:
        limit = RegionLimit(kib=region.size_kib, board=board.name, region=region, stack_bytes=stack_bytes)
        return compile_within(path, folder, limit, input_mode=input_mode, kernels=kernels)

    try:
        return within(board.arena, STACK_BYTES)
    except DoesNotFit as too_small:
        external = max(board.of_kind("external_ram"), key=lambda region: region.size_kib, default=None)
        if external is None:
            raise
        logger.warning("%s; the arena goes to %s, which is slower", too_small.message, external.name)
        return within(external, 0)
