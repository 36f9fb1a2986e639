"""Milliseconds from counted instructions: a modelled range, or one calibrated on the user's own board."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import DataError
from reidfw_targets.facts import BoardFacts

_CYCLES_PER_INSTRUCTION = {"Cortex-M4": (1.2, 1.6), "Cortex-M33": (1.2, 1.6), "Cortex-M7": (0.65, 1.0)}
_COLUMNS = ("board", "instructions", "cycles")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time of one inference.

    Attributes:
        low_ms, high_ms: the range in milliseconds.
        basis: where it comes from; to be shown beside it.
    """

    low_ms: float
    high_ms: float
    basis: str


def latency(board: BoardFacts, instructions: int, calibration: Path | None = None) -> Latency | None:
    """The time that so many instructions take; None where nothing is known of the core's speed.

    Args:
        board: its core and clock count.
        instructions: of one inference, counted.
        calibration: a file with the columns board, instructions, cycles: one run of a model a row.

    Raises:
        DataError: the file is not as described.
    """
    if board.clock_mhz is None:
        return None
    models = {} if calibration is None else calibrated_ratios(calibration, board.name)
    ratios = [ratio for measured in models.values() for ratio in measured]
    if ratios:
        low, high = min(ratios), max(ratios)
        basis = f"calibrated on {board.name}, {len(models)} model{'s' if len(models) > 1 else ''}"
    elif board.main_core in _CYCLES_PER_INSTRUCTION:
        low, high = _CYCLES_PER_INSTRUCTION[board.main_core]
        basis = f"not validated on hardware: {low:g} to {high:g} cycles an instruction, no memory stalls"
        if calibration is not None:
            basis += f"; {calibration.name} has no row for {board.name}"
    else:
        return None
    milliseconds = instructions / (board.clock_mhz * 1000)
    return Latency(low_ms=low * milliseconds, high_ms=high * milliseconds, basis=basis)


def calibrated_ratios(path: Path, board: str) -> dict[int, list[float]]:
    """Cycles an instruction of all rows of a calibration file for one board, by model.

    Rows with the same number of instructions are runs of one model.

    Raises:
        DataError: there is no such file, a column is missing, or a number is not positive (with its line).
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: no column {', '.join(missing)}; needed are {', '.join(_COLUMNS)}")
            ratios: dict[int, list[float]] = {}
            for row in table:
                try:
                    instructions, cycles = int(row["instructions"]), int(row["cycles"])
                except (TypeError, ValueError):
                    instructions = cycles = 0
                if instructions < 1 or cycles < 1:
                    raise DataError(f"{path}:{table.line_num}: instructions and cycles must be positive integers")
                if row["board"] == board:
                    ratios.setdefault(instructions, []).append(cycles / instructions)
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise DataError(f"{path} cannot be read as a calibration file: {cause}") from cause
    return ratios
