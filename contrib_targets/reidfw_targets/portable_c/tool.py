"""``benchmarking.tool: portable_c``: what a model costs on a board's core, without board, account or vendor tool."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from reidfw_core.api import (
    BenchmarkReport,
    ComponentParams,
    DataError,
    DoesNotFit,
    MemoryEstimate,
    ModelFile,
    ReidfwError,
    ToolFailed,
    ToolNotFound,
)
from reidfw_targets.board_tools import BoardTool
from reidfw_targets.emulation import Firmware, FirmwareRun, build_firmware, find_emulator, run_firmware
from reidfw_targets.emulation.cores import Machine, core_of
from reidfw_targets.emulation.toolchain import find_compiler
from reidfw_targets.facts import BoardFacts
from reidfw_targets.portable_c.compiling import (
    Compiled,
    check_on_host,
    check_traced,
    random_images,
    reference_embedding,
)
from reidfw_targets.portable_c.latency import calibrated_ratios, latency
from reidfw_targets.portable_c.placement import compile_for_board, estimate_for_board
from reidfw_targets.portable_c.report import Findings, OnCore, report_of, write_files
from reidfw_targets.published import figures_for

logger = logging.getLogger(__name__)

MOST_DISAGREEMENT = 1e-3
"""Two emulators agree where their instructions differ by no more than this share: QEMU counts in ticks."""


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
        verify: int = Field(
            1,
            ge=0,
            le=64,
            description="Images whose every tensor is compared with LiteRT on this computer; the first one of them on "
            "the board's core too",
        )
        calibration: Path | None = Field(None, description="cycles.csv with the columns board, instructions, cycles")

    def find(self, board: BoardFacts) -> str:
        """Tells core, compiler and emulator; a missing one is no error, as memory can still be planned or linked.

        Raises:
            DataError: the board has no microcontroller, or the calibration file is unusable.
        """
        core = core_of(board)
        if self.params.calibration is not None:
            calibrated_ratios(self.params.calibration, board.name)
        try:
            compiled = f"portable C on {core.name}, compiled by {find_compiler().label}"
        except ToolNotFound as missing:
            return f"portable C on {core.name}, memory planned only: {_words(missing)}"
        try:
            return f"{compiled}, run in {find_emulator(core)}"
        except ToolNotFound as missing:
            return f"{compiled}, not run (no stack, instructions, time): {_words(missing)}"

    def estimate(self, board: BoardFacts, model: ModelFile) -> MemoryEstimate | None:
        """The memory plan; None for boards and models that generated C is not made for."""
        mode = None if self.params.input == "auto" else self.params.input
        try:
            kernels = core_of(board).kernels
            return estimate_for_board(model.path, board, input_mode=mode, kernels=kernels)
        except DataError as other:
            logger.debug("No plan of portable C: %s", other)
            return None

    def benchmark(self, board: BoardFacts, model: ModelFile, workdir: Path) -> BenchmarkReport:
        """Generates, checks, builds, runs; writes ``portable_c_report.json`` and a table beside it."""
        core = core_of(board)
        mode = None if self.params.input == "auto" else self.params.input
        logger.info("Planning memory and writing C for %s", core.name)
        compiled = compile_for_board(model.path, workdir / "portable_c", board, input_mode=mode, kernels=core.kernels)
        notes = list(compiled.network.notes)
        on_host = None
        if self.params.verify:
            logger.info("Comparing every tensor with LiteRT's reference kernels on this computer")
            try:
                on_host = check_on_host(compiled, workdir, self.params.verify)
                on_host.require_equal("The generated code, on this computer,")
            except ToolNotFound as missing:
                notes.append(f"not compared with LiteRT on this computer: {_words(missing)}")
        firmware, on_core = None, None
        try:
            logger.info("Building for %s", board.name)
            firmware = build_firmware(board, compiled.generated.sources, workdir / "firmware", machine=core.machine)
            notes.append(str(firmware.memory))
            on_core = self._run(firmware, compiled, workdir, notes)
        except ToolNotFound as missing:
            what = "not built, memory from the plan" if firmware is None else "built, not run"
            notes.append(f"{what}: {_words(missing)}")
        shape = compiled.network.tensors[compiled.network.image].shape
        findings = Findings(
            board=board,
            compiled=compiled,
            firmware=firmware,
            on_host=on_host,
            on_core=on_core,
            latency=None if on_core is None else latency(board, on_core.run.instructions, self.params.calibration),
            published=figures_for(board.name, model.name, shape),
            notes=tuple(notes),
        )
        write_files(findings, workdir)
        return report_of(findings)

    def _run(self, firmware: Firmware, compiled: Compiled, workdir: Path, notes: list[str]) -> OnCore:
        """Runs one image on the emulated core, traces every tensor of it, and asks a second emulator.

        Raises:
            ToolNotFound: the emulator is not installed.
            FirmwareFault, ToolFailed: the program fails, or computes other numbers than LiteRT's reference kernels.
        """
        core, sources = firmware.core, compiled.generated.sources
        images = random_images(compiled.network, 1)
        logger.info("Running one image on the emulated %s", core.name)
        run = run_firmware(firmware, images)
        expected = reference_embedding(compiled, images[0])
        if expected is not None and not np.array_equal(run.embeddings[0].view(expected.dtype), expected):
            raise ToolFailed(
                f"{run.label} computes another embedding than LiteRT's reference kernels",
                argv=["portable_c"],
                code=None,
            )
        traced, check = None, None
        if self.params.verify:
            logger.info("Comparing every tensor on the emulated %s", core.name)
            try:
                tracing = build_firmware(
                    firmware.board, sources, workdir / "firmware_traced", machine=core.machine, trace=True
                )
                traced = run_firmware(tracing, images)
                check = check_traced(compiled, images[0], traced.tensors())
                check.require_equal(f"The generated code, on the emulated {core.name},")
                _require_same(run, traced, "without and with trace")
            except DoesNotFit as full:
                notes.append(f"tensors not compared on the core, as there is no room for the trace: {full.message}")
        second = _second_opinion(firmware, compiled, images, workdir, notes) if core.machine == "board" else None
        if second is not None:
            _require_same(run, second, f"in {run.label} and {second.label}")
            if abs(second.instructions - run.instructions) > MOST_DISAGREEMENT * run.instructions:
                notes.append(
                    f"the emulators disagree: {run.instructions} instructions in {run.label}, "
                    f"{second.instructions} in {second.label}"
                )
        return OnCore(run=run, traced=traced, check=check, second=second)


def _second_opinion(
    firmware: Firmware, compiled: Compiled, images: np.ndarray, workdir: Path, notes: list[str]
) -> FirmwareRun | None:
    """The same image in QEMU; None, with a note, where it is not installed or its machine is too small."""
    machine: Machine = "qemu"
    logger.info("Asking QEMU for a second opinion")
    try:
        imitated = build_firmware(
            firmware.board, compiled.generated.sources, workdir / "firmware_qemu", machine=machine
        )
        return run_firmware(imitated, images)
    except (ToolNotFound, DoesNotFit) as missing:
        notes.append(f"no second opinion: {_words(missing)}")
        return None


def _require_same(one: FirmwareRun, other: FirmwareRun, where: str) -> None:
    if not np.array_equal(one.embeddings, other.embeddings):
        raise ToolFailed(f"The program computes different embeddings {where}", argv=["portable_c"], code=None)


def _words(missing: ReidfwError) -> str:
    return f"{missing.message}. {missing.hint or ''}".strip()
