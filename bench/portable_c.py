"""Portable C against its bars, and as ratios to baselines of the same run.

    python bench/portable_c.py MODEL.tflite... [--kernels plain dsp mve] [--no-run]

Prints, for each model: the RAM arena with the image in it and row by row, as a ratio to the largest set of inputs and
output that running operator by operator would hold; the processor time of planning, as a ratio to one inference of
LiteRT's reference kernels; and, for each set of kernels, flash, and instructions per MAC on the emulated core
(Cortex-M4 in unicorn, Cortex-M55 in QEMU), as a ratio to plain C. Models whose file is named as in the table of bars
are held against it; the exit status is 1 where one is missed. Small models take seconds, large ones a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reidfw_targets.emulation import build_firmware, run_firmware
from reidfw_targets.emulation.cores import core_of
from reidfw_targets.facts import BOARDS, BoardFacts, MemoryRegion
from reidfw_targets.portable_c._tflite.reference import Reference
from reidfw_targets.portable_c.compiling import ArenaLimit, compile_to, planned, random_images
from reidfw_targets.portable_c.network import Network
from reidfw_targets.portable_c.packing import PACKINGS

from reidfw_core.api import ToolNotFound

PLANNING_BAR_S = 10.0


@dataclass(frozen=True, slots=True)
class Bars:
    """What a model at 256x128x3 may take at most; None: no bar."""

    resident_kib: float
    rows_kib: float | None
    dsp: float
    mve: float | None = None


BARS = {
    "mobilenetv1_a025": Bars(125, 34, 2.2, 1.0),
    "mobilenetv2_a035": Bars(128, 40, 2.8),
    "mobilenetv2_a100": Bars(176, 88, 1.9),
    "osnet_a025": Bars(230, None, 3.3),
    "osnet_a100": Bars(920, None, 1.8),
}


def roomy(core: str) -> BoardFacts:
    """A board that no model is too large for: what is counted does not depend on the size of memory."""
    return BoardFacts(
        name=f"bench {core}",
        series="none",
        core=core,
        source="this script",
        regions=(
            MemoryRegion(name="FLASH", kind="flash", origin=0x0800_0000, size_kib=16384, source="this script"),
            MemoryRegion(name="RAM", kind="ram", origin=0x2000_0000, size_kib=4096, source="this script"),
        ),
    )


CORES = {"plain": roomy("Cortex-M4"), "dsp": roomy("Cortex-M4"), "mve": BOARDS["STM32N6570-DK"]}


def operator_by_operator_bytes(network: Network) -> int:
    """The largest set of inputs and output of one operator."""
    return max(
        network.tensors[operator.output].num_bytes
        + sum(network.tensors[number].num_bytes for number in {read.tensor for read in operator.reads})
        for operator in network.operators
    )


def reference_s(content: bytes, network: Network) -> float:
    """Processor seconds of one inference of LiteRT's reference kernels, the best of three."""
    reference = Reference(content)
    image = random_images(network, 1)[0]
    if not reference.takes_integers:
        image = image.astype(np.float32)
    times = []
    for _ in range(3):
        began = time.process_time()
        reference.run(image)
        times.append(time.process_time() - began)
    return min(times)


def memory_and_time(path: Path, bars: Bars | None) -> Iterator[tuple[str, bool]]:
    for mode in ("resident", "rows"):
        began = time.process_time()
        plan, content = planned(path, mode, ArenaLimit(), PACKINGS["dsp"])
        seconds = time.process_time() - began
        inference = reference_s(content, plan.network)
        kib = plan.arena_bytes / 1024
        ratio = plan.arena_bytes / operator_by_operator_bytes(plan.network)
        bar = None if bars is None else {"resident": bars.resident_kib, "rows": bars.rows_kib}[mode]
        yield held(f"RAM arena, {mode}", f"{kib:8.1f} KiB", f"{ratio:5.2f} of operator by operator", kib, bar)
        words = f"{seconds / inference:5.2f} of a reference inference"
        yield held(f"planning, {mode}", f"{seconds:8.2f} s", words, seconds, PLANNING_BAR_S)


def instructions(path: Path, kernels: Sequence[str], bars: Bars | None) -> Iterator[tuple[str, bool]]:
    plain = None
    for name in kernels:
        with tempfile.TemporaryDirectory(prefix="reidfw_bench_") as folder:
            board = CORES[name]
            compiled = compile_to(path, Path(folder) / "c", input_mode="resident", kernels=name)
            try:
                firmware = build_firmware(
                    board, compiled.generated.sources, Path(folder) / "firmware", machine=core_of(board).machine
                )
                run = run_firmware(firmware, random_images(compiled.network, 1))
            except ToolNotFound as missing:
                yield f"  {name:20} not run: {missing.message}", False
                continue
        per_mac = run.instructions / compiled.network.macs
        plain = per_mac if name == "plain" else plain
        ratio = "" if plain is None else f"{per_mac / plain:5.2f} of plain C"
        bar = None if bars is None else {"plain": None, "dsp": bars.dsp, "mve": bars.mve}[name]
        yield held(f"{name}, {core_of(board).name}", f"{per_mac:8.2f} per MAC", ratio, per_mac, bar)
        flash = firmware.use.flash_kib
        weights = flash / (path.stat().st_size / 1024)
        yield held(f"{name}, flash", f"{flash:8.1f} KiB", f"{weights:5.2f} of the model file", flash, None)


def held(what: str, value: str, ratio: str, number: float, bar: float | None) -> tuple[str, bool]:
    """A line, and whether its bar is missed."""
    missed = bar is not None and number > bar
    verdict = "" if bar is None else f"{'MISSED' if missed else 'kept'}: {bar:g}"
    return f"  {what:20} {value:18} {ratio:34} {verdict}".rstrip(), missed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--kernels", nargs="+", choices=sorted(CORES), default=list(CORES))
    parser.add_argument("--no-run", action="store_true", help="plan only")
    given = parser.parse_args()
    missed = 0
    for path in given.models:
        print(path.stem, flush=True)
        bars = BARS.get(path.stem)
        lines = [memory_and_time(path, bars)]
        if not given.no_run:
            lines.append(instructions(path, given.kernels, bars))
        for part in lines:
            for line, failed in part:
                print(line, flush=True)
                missed += failed
    print(f"{missed} bar{'' if missed == 1 else 's'} missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
