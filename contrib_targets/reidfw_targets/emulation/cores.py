"""Cortex-M processors: how compilers are told of them, and what emulates them.

Compiler options were each checked by what they switch on. ``zig`` needs the extensions said one by one: its
``cortex_m4`` alone has no floating point unit, its ``cortex_m33`` no DSP and its ``cortex_m55`` no MVE instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reidfw_core.api import DataError
from reidfw_targets.facts import BoardFacts

KernelSet = Literal["dsp", "mve"]

Machine = Literal["board", "qemu"]
"""Whose addresses a program is linked to: the board's own, or those of a board that QEMU imitates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuMachine:
    """A board that QEMU imitates, of Arm's MPS family.

    Attributes:
        name: for ``qemu-system-arm -machine``.
        code, constants, ram: (first address, size in KiB) of what holds instructions, constants and variables.
        instructions_a_tick: SysTick's clock with ``-icount shift=0`` (1 ns an instruction): 1000 / MHz.
    """

    name: str
    code: tuple[int, int]
    constants: tuple[int, int]
    ram: tuple[int, int]
    instructions_a_tick: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A processor.

    Attributes:
        name: Arm's, for example ``Cortex-M4``.
        gcc: options of ``arm-none-eabi-gcc``.
        zig: processor and extensions for ``zig cc -mcpu=``.
        kernels: the fastest kernels that it can run.
        unicorn: name of its model in unicorn, None where there is none.
        qemu: the machine that has it in QEMU.
    """

    name: str
    gcc: tuple[str, ...]
    zig: str
    kernels: KernelSet
    unicorn: str | None
    qemu: QemuMachine

    @property
    def machine(self) -> Machine:
        """Whose addresses a program is linked to so that it can be run: the board's own, where unicorn has the core."""
        return "board" if self.unicorn else "qemu"


_MIB = 1024

CORES: dict[str, Core] = {
    core.name: core
    for core in (
        Core(
            name="Cortex-M4",
            gcc=("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            zig="cortex_m4+vfp4d16sp",
            kernels="dsp",
            unicorn="UC_CPU_ARM_CORTEX_M4",
            qemu=QemuMachine(
                name="mps2-an386",
                code=(0x0000_0000, 4 * _MIB),
                constants=(0x0000_0000, 4 * _MIB),
                ram=(0x2000_0000, 4 * _MIB),
                instructions_a_tick=40.0,
            ),
        ),
        Core(
            name="Cortex-M7",
            gcc=("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
            zig="cortex_m7+fp_armv8d16sp",
            kernels="dsp",
            unicorn="UC_CPU_ARM_CORTEX_M7",
            qemu=QemuMachine(
                name="mps2-an500",
                code=(0x0000_0000, 4 * _MIB),
                constants=(0x0000_0000, 4 * _MIB),
                ram=(0x2000_0000, 4 * _MIB),
                instructions_a_tick=40.0,
            ),
        ),
        Core(
            name="Cortex-M33",
            gcc=("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
            zig="cortex_m33+dsp+fp_armv8d16sp",
            kernels="dsp",
            unicorn="UC_CPU_ARM_CORTEX_M33",
            qemu=QemuMachine(
                name="mps2-an505",
                code=(0x1000_0000, 4 * _MIB),
                constants=(0x1000_0000, 4 * _MIB),
                ram=(0x3800_0000, 4 * _MIB),
                instructions_a_tick=50.0,
            ),
        ),
        Core(
            name="Cortex-M55",
            gcc=("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-mfpu=auto"),
            zig="cortex_m55+mve+fp_armv8d16",
            kernels="mve",
            unicorn=None,  # unicorn 2.1 takes MVE for undefined instructions
            qemu=QemuMachine(
                name="mps3-an547",
                code=(0x1000_0000, 512),
                constants=(0x6000_0000, 256 * _MIB),
                ram=(0x7000_0000, 256 * _MIB),
                instructions_a_tick=31.25,
            ),
        ),
    )
}
"""The processors of the boards that generated code runs on."""


def core_of(board: BoardFacts) -> Core:
    """The processor that runs the network on a board.

    Raises:
        DataError: it is no Cortex-M; such a board runs Linux and an interpreter.
    """
    if board.main_core not in CORES or not board.regions:
        raise DataError(
            f"{board.name} has no microcontroller that runs generated C ({board.core})",
            hint=f"Generated C runs on {', '.join(CORES)}.",
        )
    return CORES[board.main_core]
