"""Cortex-M4, M7 and M33 in unicorn, with the memory of the board and nothing else.

The flash can be read and executed, the RAM read and written; any other access ends the run. Instructions are counted
block by block by a few lines of C (``block_counter.c``), built when needed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from reidfw_core.api import DataError, ToolNotFound
from reidfw_targets.emulation.firmware import Firmware
from reidfw_targets.emulation.runs import (
    TIME_LIMIT_S,
    FirmwareFault,
    FirmwareRun,
    code_ranges,
    emulator_failed,
    memory_in_words,
    place_of,
    read_run,
    run_emulator,
    run_folder,
)
from reidfw_targets.emulation.toolchain import find_host_compiler

_HERE = Path(__file__).parent


def require_unicorn() -> str:
    """Name and version of unicorn.

    Raises:
        ToolNotFound: it is not installed.
    """
    if importlib.util.find_spec("unicorn") is None:
        raise ToolNotFound(
            "Running a program for a board needs the Python package 'unicorn', which is not installed",
            hint='Run: pip install "reidfw-targets[emulate]"',
        )
    return f"unicorn {version('unicorn')}"


def run_in_unicorn(firmware: Firmware, images: np.ndarray, *, time_limit_s: float = TIME_LIMIT_S) -> FirmwareRun:
    """Runs a program on images.

    Args:
        firmware: a program linked to its board's own addresses.
        images: (N, H, W, C) uint8 or int8, as the model takes them.
        time_limit_s: the run is ended after it.

    Raises:
        ToolNotFound: unicorn, or a compiler for the counter, is not installed.
        DataError: unicorn has no model of the processor.
        FirmwareFault: the program left its memory, met an undefined instruction, or did not end in time.
        ToolFailed: unicorn itself failed.
    """
    label = require_unicorn()
    with run_folder(images) as folder:
        outcome = emulate(firmware, folder, time_limit_s=time_limit_s)
        if outcome["code"]:
            raise FirmwareFault(f"The program for {firmware.board.name} ended with status {outcome['code']}")
        profile = _by_function(firmware, folder)
        return read_run(firmware, "unicorn", label, folder / "result.bin", by_function=profile)


def emulate(
    firmware: Firmware, folder: Path, *, time_limit_s: float = TIME_LIMIT_S, cycle_counter: bool = False
) -> dict[str, object]:
    """Runs a program in a folder that holds its input.

    Args:
        firmware: a program linked to its board's own addresses.
        folder: where it finds ``input.bin`` and leaves ``result.bin``.
        time_limit_s: the run is ended after it.
        cycle_counter: whether DWT CYCCNT is there; it counts instructions then.

    Returns:
        ``code`` (exit status), ``text`` (what it printed), ``total`` (instructions).

    Raises:
        ToolNotFound, DataError, FirmwareFault, ToolFailed: see :func:`run_in_unicorn`.
    """
    if firmware.core.unicorn is None:
        raise DataError(f"unicorn has no {firmware.core.name}", hint="QEMU has one: apt-get install qemu-system-arm")
    job = _job(firmware, folder, cycle_counter)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    argv = [sys.executable, str(_HERE / "unicorn_worker.py"), str(folder / "job.json")]
    done = run_emulator(firmware, "unicorn", argv, folder, time_limit_s)
    result = folder / "outcome.json"
    if not result.is_file():
        raise emulator_failed("unicorn", argv, done)
    outcome: dict[str, object] = json.loads(result.read_text(encoding="utf-8"))
    if outcome["status"] == "fault":
        raise FirmwareFault(_fault_message(firmware, outcome))
    return outcome


def _job(firmware: Firmware, folder: Path, cycle_counter: bool) -> dict[str, object]:
    library = folder / "block_counter.so"
    find_host_compiler().compile(
        ["-O2", "-shared", "-fPIC", "-std=c99", _HERE / "block_counter.c", "-o", library], folder, "block_counter.c"
    )
    code, harness = code_ranges(firmware)
    segments, content = [], bytearray()
    for segment in firmware.program.segments:
        segments.append((segment.address, len(content), len(segment.content)))
        content += segment.content
    (folder / "image.bin").write_bytes(content)
    return {
        "folder": str(folder),
        "processor": firmware.core.unicorn,
        "regions": [
            (region.origin, region.size_bytes, not region.kind.endswith("flash")) for region in firmware.board.regions
        ],
        "image": str(folder / "image.bin"),
        "segments": segments,
        "entry": firmware.program.entry,
        "stack": firmware.memory.stack.origin + (firmware.stack_bytes + 15) // 16 * 16,
        "code": code,
        "uncounted": harness,
        "counter": str(library),
        "cycle_counter": cycle_counter,
    }


def _fault_message(firmware: Firmware, outcome: dict[str, object]) -> str:
    place = place_of(firmware, int(str(outcome["pc"])))
    if "access" in outcome:
        address = int(str(outcome["address"]))
        what = {"read": f"read {outcome['bytes']} bytes", "write": f"wrote {outcome['bytes']} bytes"}.get(
            str(outcome["access"]), "jumped"
        )
        return f"The program {what} at {address:#010x}, {memory_in_words(firmware, address)}, {place}"
    return f"The program faulted {place}: {outcome.get('reason')}"


def _by_function(firmware: Firmware, folder: Path) -> dict[str, int]:
    """Instructions by function, most first; labels inside a function belong to it."""
    (begin, _), _ = code_ranges(firmware)
    runs = np.fromfile(folder / "runs.bin", np.uint64)
    executed = runs * np.fromfile(folder / "instructions.bin", np.uint32)
    profile: dict[str, int] = {}
    for symbol in firmware.program.symbols:
        if symbol.section != ".text" or symbol.of_harness:
            continue
        low = (symbol.address - begin) // 2
        count = int(executed[low : low + symbol.size_bytes // 2].sum())
        if count:
            profile[symbol.name] = count
    return dict(sorted(profile.items(), key=lambda item: -item[1]))
