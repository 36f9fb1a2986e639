"""``benchmarking.tool: portable_c``: what a model costs on a board's core, without board, account or vendor tool."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from reidfw_core.api import (
    BenchmarkReport,
    ComponentParams,
    ModelFile,
    ReidfwError,
    ToolFailed,
    ToolNotFound,
    atomic_path,
)
from reidfw_targets.board_tools import BoardTool
from reidfw_targets.emulation import FirmwareFault, FirmwareRun, build_firmware, run_firmware
from reidfw_targets.emulation.cores import core_of
from reidfw_targets.emulation.toolchain import find_compiler
from reidfw_targets.facts import BoardFacts
from reidfw_targets.portable_c.compiling import Compiled, check_on_host, random_images, reference_output
from reidfw_targets.portable_c.latency import latency
from reidfw_targets.portable_c.placement import compile_for_board

logger = logging.getLogger(__name__)

REPORT_NAME = "portable_c_report.json"
TABLE_NAME = "portable_c_report.txt"


class PortableC(BoardTool):
    """Generated C99, checked tensor by tensor, linked into the board's memory and run on its emulated core.

    RAM, flash, outputs and instructions are measured; milliseconds are modelled, or calibrated with cycles that the
    user measured. Without compiler or emulator the memory of the plan is still given, and labelled so.
    """

    name: ClassVar[str] = "portable_c"

    class Params(ComponentParams):
        """``benchmarking.tool_options``."""

        input: Literal["auto", "resident", "rows"] = Field(
            "auto", description="Image in RAM as a whole, or row by row; auto: as a whole where that fits"
        )
        verify: int = Field(1, ge=0, le=64, description="Images whose every tensor is compared with LiteRT")
        calibration: Path | None = Field(None, description="cycles.csv with the columns board, instructions, cycles")

    def find(self, board: BoardFacts) -> str:
        """Tells compiler and core; a missing compiler is no error, as memory can still be planned."""
        core = core_of(board)
        try:
            return f"portable C on {core.name}, compiled by {find_compiler().label}"
        except ToolNotFound as missing:
            return f"portable C on {core.name}, memory planned only: {missing.message}. {missing.hint or ''}".strip()

    def benchmark(self, board: BoardFacts, model: ModelFile, workdir: Path) -> BenchmarkReport:
        """Generates, checks, builds, runs; writes ``portable_c_report.json`` and a table beside it."""
        kernels = core_of(board).kernels
        folder = workdir / "portable_c"
        mode = None if self.params.input == "auto" else self.params.input
        compiled = compile_for_board(model.path, folder, board, input_mode=mode, kernels=kernels)
        plan, generated = compiled.plan, compiled.generated
        measured: dict[str, Any] = {
            "ram_arena_kib": _kib(plan.arena_bytes),
            "image": "in the arena" if plan.input_mode == "resident" else "row by row, not in the arena",
            "ram_state_kib": _kib(generated.state_bytes),
            "flash_constants_kib": _kib(generated.constant_bytes),
            "macs": plan.network.macs,
        }
        notes = list(plan.network.notes)
        self._check(compiled, workdir, measured, notes)
        modelled, run = self._run(board, compiled, workdir, measured, notes)
        details = {
            "board": board.name,
            "kernels": generated.kernels,
            "measured": measured,
            "modelled": modelled,
            "published": {},
            "segments": [
                {
                    "first": plan.network.operators[one.first].layer,
                    "last": plan.network.operators[one.last].layer,
                    "live_kib": _kib(one.live_bytes),
                }
                for one in plan.segments
            ],
            "notes": notes,
        }
        _write(workdir, details)
        return BenchmarkReport(
            macs=plan.network.macs,
            activations_ram_kib=_kib(plan.arena_bytes),
            total_ram_kib=measured.get("ram_total_kib"),
            weights_flash_kib=_kib(generated.constant_bytes),
            total_flash_kib=measured.get("flash_total_kib"),
            tool=f"portable_c ({run.label})" if run else "portable_c (planned, not run)",
            details=details,
        )

    def _check(self, compiled: Compiled, workdir: Path, measured: dict[str, Any], notes: list[str]) -> None:
        if not self.params.verify:
            return
        try:
            check = check_on_host(compiled, workdir, self.params.verify)
        except ToolNotFound as missing:
            notes.append(f"not compared with LiteRT: {missing.message}. {missing.hint or ''}".strip())
            return
        measured["tensors_compared"] = check.tensors
        measured["images_compared"] = check.images
        measured["tensors_equal"] = not check.different
        if check.different:
            raise ToolFailed(
                "The generated code computes other numbers than LiteRT's reference kernels: "
                + "; ".join(check.different[:3]),
                argv=["portable_c"],
                code=None,
            )

    def _run(
        self, board: BoardFacts, compiled: Compiled, workdir: Path, measured: dict[str, Any], notes: list[str]
    ) -> tuple[dict[str, Any], FirmwareRun | None]:
        """Builds for the board and runs one image; what is missing for that goes into the notes."""
        network = compiled.network
        try:
            firmware = build_firmware(
                board, compiled.generated.sources, workdir / "firmware", machine=core_of(board).machine
            )
        except ToolNotFound as missing:
            notes.append(f"not built, memory from the plan: {missing.message}. {missing.hint or ''}".strip())
            return {}, None
        notes.append(str(firmware.memory))
        measured["flash_total_kib"] = round(firmware.use.flash_kib, 2)
        measured["ram_variables_kib"] = round(firmware.use.ram_kib, 2)
        measured["compiler"] = firmware.compiler
        images = random_images(network, 1)
        try:
            run = run_firmware(firmware, images)
        except FirmwareFault:
            raise
        except ReidfwError as missing:
            notes.append(f"not run: {missing.message}. {missing.hint or ''}".strip())
            return {}, None
        expected = reference_output(compiled, images[0])
        equal = expected.dtype.kind != "f" and bool(np.array_equal(run.embeddings[0].view(expected.dtype), expected))
        if not equal and expected.dtype.kind != "f":
            raise ToolFailed(
                f"{run.label} computes another embedding than LiteRT's reference kernels",
                argv=["portable_c"],
                code=None,
            )
        if expected.dtype.kind != "f":  # a float output is the application's to make
            measured["embedding_equal_on_core"] = equal
        measured["instructions"] = run.instructions
        measured["instructions_per_mac"] = round(run.instructions / network.macs, 3) if network.macs else None
        measured["instructions_by_function"] = dict(run.by_function)
        measured["stack_kib"] = _kib(run.stack_bytes)
        measured["ram_total_kib"] = round(firmware.use.ram_kib + run.stack_bytes / 1024, 2)
        measured["emulator"] = run.label
        found = latency(board, run.instructions, self.params.calibration)
        if found is None:
            return {"inference_ms": None, "basis": "nothing is known of the cycles of this core"}, run
        modelled = {
            "inference_ms_low": round(found.low_ms, 1),
            "inference_ms_high": round(found.high_ms, 1),
            "basis": found.basis,
        }
        return modelled, run


def _kib(count: int) -> float:
    return round(count / 1024, 2)


def _write(workdir: Path, details: Mapping[str, Any]) -> None:
    with atomic_path(workdir / REPORT_NAME) as temporary:
        temporary.write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
    lines = [f"{details['board']}, kernels {details['kernels']}", ""]
    for column in ("measured", "modelled", "published"):
        lines.append(column)
        rows = {name: value for name, value in details[column].items() if not isinstance(value, Mapping)}
        lines += [f"  {name:28} {value}" for name, value in rows.items()] or ["  nothing"]
    lines += ["", *(f"note: {note}" for note in details["notes"])]
    with atomic_path(workdir / TABLE_NAME) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    logger.info("Report: %s", workdir / REPORT_NAME)
