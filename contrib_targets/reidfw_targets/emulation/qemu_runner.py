"""All cores in QEMU, where it is installed: the only one for Cortex-M55, a second opinion for the others.

QEMU imitates boards of Arm's MPS family, so programs are linked to their addresses (``machine="qemu"``), with the
sizes of the real board. With ``-icount shift=0`` an instruction takes 1 ns, which SysTick measures.

A program may open any file of this computer through semihosting; only programs built here are run.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from reidfw_core.api import ToolNotFound
from reidfw_targets.emulation.firmware import Firmware
from reidfw_targets.emulation.runs import (
    TIME_LIMIT_S,
    FirmwareFault,
    FirmwareRun,
    emulator_failed,
    read_run,
    run_emulator,
    run_folder,
)
from reidfw_targets.emulation.toolchain import run_tool

_PROGRAM = "qemu-system-arm"


def require_qemu() -> tuple[str, str]:
    """Path, and name with version, of QEMU.

    Raises:
        ToolNotFound: it is not on the PATH.
    """
    path = shutil.which(_PROGRAM)
    if path is None:
        raise ToolNotFound(
            f"Running a program for this processor needs QEMU ({_PROGRAM}), which is not on the PATH",
            hint="Install it, for example: apt-get install qemu-system-arm (Debian, Ubuntu), brew install qemu (macOS)",
        )
    first = (run_tool([path, "--version"], Path.cwd(), 60).stdout or "QEMU").splitlines()[0]
    return path, first.split(" (")[0].replace("emulator version ", "")


def run_in_qemu(firmware: Firmware, images: np.ndarray, *, time_limit_s: float = TIME_LIMIT_S) -> FirmwareRun:
    """Runs a program on images.

    Args:
        firmware: a program linked to the addresses of a QEMU machine.
        images: (N, H, W, C) uint8 or int8, as the model takes them.
        time_limit_s: the run is ended after it.

    Raises:
        ToolNotFound: QEMU is not installed.
        FirmwareFault: the program faulted or did not end in time.
        ToolFailed: QEMU itself failed.
    """
    if firmware.machine != "qemu":
        raise ValueError("QEMU runs programs that were built with machine='qemu'")
    path, label = require_qemu()
    machine = firmware.core.qemu
    argv = [path, "-machine", machine.name, "-nographic", "-monitor", "none", "-serial", "none"]
    argv += ["-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", str(firmware.path)]
    with run_folder(images) as folder:
        done = run_emulator(firmware, "QEMU", argv, folder, time_limit_s)
        result = folder / "result.bin"
        if done.returncode and not (result.is_file() and result.stat().st_size):
            raise emulator_failed("QEMU", argv, done)
        if done.returncode < 0 or "Lockup" in done.stderr:
            raise FirmwareFault(
                f"The program for {firmware.board.name} faulted inside a fault, as a stack that is too small makes it"
            )
        return read_run(firmware, "QEMU", label, result, instructions_a_tick=machine.instructions_a_tick)
