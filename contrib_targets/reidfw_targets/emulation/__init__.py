"""Generated C on the boards' own processors, without a board: compiled, linked into their memory, run, counted.

:func:`build_firmware` makes a program, :func:`run_firmware` runs it. Both need only what ``pip install
"reidfw-targets[emulate]"`` brings; Cortex-M55 needs QEMU.
"""

from __future__ import annotations

import numpy as np

from reidfw_targets.emulation.cores import Core
from reidfw_targets.emulation.firmware import Firmware, build_firmware
from reidfw_targets.emulation.qemu_runner import require_qemu, run_in_qemu
from reidfw_targets.emulation.runs import TIME_LIMIT_S, FirmwareFault, FirmwareRun, TraceRow
from reidfw_targets.emulation.toolchain import find_host_compiler
from reidfw_targets.emulation.unicorn_runner import require_unicorn, run_in_unicorn

__all__ = ["Firmware", "FirmwareFault", "FirmwareRun", "TraceRow", "build_firmware", "find_emulator", "run_firmware"]


def find_emulator(core: Core) -> str:
    """Name and version of what would run a program for a processor here.

    Raises:
        ToolNotFound: it, or the compiler for unicorn's counter of instructions, is not installed.
    """
    if core.machine == "qemu":
        return require_qemu()[1]
    label = require_unicorn()
    find_host_compiler()
    return label


def run_firmware(firmware: Firmware, images: np.ndarray, *, time_limit_s: float = TIME_LIMIT_S) -> FirmwareRun:
    """Runs a program in the emulator that it was linked for: unicorn for a board's own addresses, else QEMU.

    Args:
        firmware: the program.
        images: (N, H, W, C) uint8 or int8, as the model takes them.
        time_limit_s: the run is ended after it.

    Raises:
        ToolNotFound: the emulator is not installed; says what to install.
        DataError: unicorn has no model of the processor.
        FirmwareFault: the program left its memory, met an undefined instruction, or did not end in time.
        ToolFailed: the emulator itself failed.
    """
    run = run_in_qemu if firmware.machine == "qemu" else run_in_unicorn
    return run(firmware, images, time_limit_s=time_limit_s)
