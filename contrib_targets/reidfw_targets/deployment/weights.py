"""Large models on boards without NPU: what goes into internal memory and what does not.

Source: the rule of the STM32 model zoo services for the STM32H747I-DISCO. A KB is 1000 bytes in its files.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import DataError, DoesNotFit
from reidfw_targets.deployment.project import MemoryPool
from reidfw_targets.facts import BoardFacts

INTERNAL_SECTION = ".InternalFlashSection"
EXTERNAL_SECTION = ".ExternalFlashSection"
_FIRST_EXTERNAL_ADDRESS = 0x60000000
_UNITS = {"B": 1, "BYTES": 1, "KB": 1000, "KBYTES": 1000, "MB": 1_000_000, "MBYTES": 1_000_000}
_DECLARATION = re.compile(
    r"^(?:static\s+)?const\s+ai_u(?P<bits>8|16|32|64)\s+(?P<name>\w+)\s*\[\s*(?P<count>\d+)\s*\]", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardMemory:
    """Memory for a model, in bytes.

    Attributes:
        internal_flash, external_flash: for application and weights.
        application: flash that the application itself takes.
        internal_ram, external_ram: for activations.
        pools: the file that lets the tool use both.
    """

    internal_flash: int
    external_flash: int
    application: int
    internal_ram: int
    external_ram: int
    pools: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What the generated code must be told: weights as separate arrays, activations in several memories."""

    split_weights: bool
    use_pools: bool


def board_memory(board: BoardFacts, given: MemoryPool) -> BoardMemory:
    """The memory that the C project tells, else that of the board's table (internal memory only).

    Raises:
        DataError: a size or the memory-pool file cannot be read.
    """
    internal = given.internalFlash_size
    pools = Path(given.memory_pool_path) if given.memory_pool_path else None
    ram = _ram(pools) if pools is not None else (board.arena.size_bytes, 0)
    return BoardMemory(
        internal_flash=size_bytes(internal) if internal else int((board.flash_kib or 0) * 1024),
        external_flash=size_bytes(given.externalFlash_size) if given.externalFlash_size else 0,
        application=size_bytes(given.application_size) if given.application_size else 0,
        internal_ram=ram[0],
        external_ram=ram[1],
        pools=pools,
    )


def place(weights: int, activations: int, memory: BoardMemory, board: str) -> Placement:
    """Decides where a model goes.

    Args:
        weights, activations: of the model, in bytes.
        memory: of the board.
        board: its name, for the message.

    Raises:
        DoesNotFit: it goes nowhere; the message tells how much is missing.
    """
    flash = memory.internal_flash + memory.external_flash - memory.application
    ram = memory.internal_ram + memory.external_ram
    faults = [
        f"{what} take {needed:,} bytes, {there:,} are there: {needed - there:,} too many"
        for what, needed, there in (("weights", weights, flash), ("activations", activations, ram))
        if needed > there
    ]
    if faults:
        raise DoesNotFit(
            f"The model does not fit on {board}: {'; '.join(faults)}",
            hint="Take a smaller backbone or input_shape (reidfw fit tells what fits), or another board.",
        )
    return Placement(
        split_weights=weights > memory.internal_flash - memory.application, use_pools=activations > memory.internal_ram
    )


def dispatch_weights(source: str, internal_bytes: int) -> str:
    """Gives each weight array of generated C code its flash section: the largest internal while they fit.

    Args:
        source: ``network_data*.c`` of a model with split weights.
        internal_bytes: internal flash that is free for weights.

    Raises:
        DataError: there are no weight arrays in it.
    """
    arrays = {match["name"]: int(match["bits"]) // 8 * int(match["count"]) for match in _DECLARATION.finditer(source)}
    if not arrays:
        raise DataError("The generated code has no arrays of weights to distribute over the flash memories")
    internal: set[str] = set()
    left = internal_bytes
    for name, size in sorted(arrays.items(), key=lambda item: (-item[1], item[0])):
        if size <= left:
            internal.add(name)
            left -= size

    def placed(match: re.Match[str]) -> str:
        section = INTERNAL_SECTION if match["name"] in internal else EXTERNAL_SECTION
        return f'__attribute__((section("{section}")))\n{match[0]}'

    return _DECLARATION.sub(placed, source)


def size_bytes(text: str) -> int:
    """``1024KB`` in bytes. Raises DataError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if found is None or found[2].upper() not in _UNITS:
        raise DataError(f"memory_pool of the C project: '{text}' is no size; write it like 1024KB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _ram(path: Path) -> tuple[int, int]:
    """Internal and external RAM for activations in a memory-pool file: the largest internal pool, all external ones."""
    try:
        pools = json.loads(path.read_text(encoding="utf-8"))["memory"]["mempools"]
        internal, external = 0, 0
        for pool in pools:
            if "WRITE" not in pool.get("prop", {}).get("rights", pool.get("rights", "ACC_WRITE")):
                continue
            size = size_bytes(f"{pool['size']['value']}{pool['size']['magnitude']}")
            if int(str(pool["offset"]["value"]), 0) < _FIRST_EXTERNAL_ADDRESS:
                internal = max(internal, size)
            else:
                external += size
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise DataError(f"The memory pools {path} cannot be read: {type(cause).__name__}: {cause}") from cause
    return internal, external
