"""Code for one board: in the chip's own RAM where a plan fits there, else with the arena in RAM beside the chip."""

from __future__ import annotations

import logging
from pathlib import Path

from reidfw_core.api import DoesNotFit
from reidfw_targets.emulation.memory import STACK_BYTES
from reidfw_targets.facts import BoardFacts
from reidfw_targets.portable_c.compiling import Compiled, compile_to
from reidfw_targets.portable_c.planner import InputMode

logger = logging.getLogger(__name__)

_ROOM_FOR_STATE_KIB = 4.0


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
    limit_kib = board.arena.size_kib - STACK_BYTES / 1024 - _ROOM_FOR_STATE_KIB
    try:
        return compile_to(path, folder, input_mode=input_mode, ram_limit_kib=limit_kib, kernels=kernels)
    except DoesNotFit as too_small:
        external = max(board.of_kind("external_ram"), key=lambda region: region.size_kib, default=None)
        if external is None:
            raise
        logger.warning("%s; the arena goes to %s, which is slower", too_small.message, external.name)
        limit_kib = external.size_kib - _ROOM_FOR_STATE_KIB
        return compile_to(path, folder, input_mode=input_mode, ram_limit_kib=limit_kib, kernels=kernels)
