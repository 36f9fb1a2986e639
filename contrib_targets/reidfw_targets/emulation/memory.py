"""Where a program lies in a board's memory, and the linker script that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reidfw_targets.emulation.cores import QemuMachine
from reidfw_targets.facts import BoardFacts, MemoryRegion

STACK_BYTES = 4096
"""Stack reserved for the program unless said otherwise; the run tells how much of it was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Which memory holds what.

    Attributes:
        code: vector table, instructions and initial values.
        constants: weights and tables.
        stack: stack and initialised variables.
        ram: variables without initial value, the arena above all.
    """

    code: MemoryRegion
    constants: MemoryRegion
    stack: MemoryRegion
    ram: MemoryRegion

    @property
    def external(self) -> bool:
        """Whether a memory chip beside the processor is needed."""
        return any(region.kind.startswith("external") for region in (self.constants, self.ram))

    def __str__(self) -> str:
        """What lies where, for people."""
        return f"code in {self.code.name}, constants in {self.constants.name}, arena in {self.ram.name}"


def memory_plans(board: BoardFacts) -> tuple[MemoryPlan, ...]:
    """Ways to lay out a program on a board, best first: all inside, then constants outside, then the arena too."""
    inside, code = board.arena, board.code
    flashes = [code, *(region for region in board.of_kind("external_flash") if region.origin != code.origin)]
    rams = [inside, *board.of_kind("external_ram")]
    return tuple(
        MemoryPlan(code=code, constants=constants, stack=inside, ram=ram) for ram in rams for constants in flashes
    )


def qemu_plan(board: BoardFacts, plan: MemoryPlan, machine: QemuMachine) -> MemoryPlan:
    """The layout of a board moved to the addresses of a QEMU machine; sizes stay those of the board where they fit."""

    def moved(place: tuple[int, int], *held: MemoryRegion) -> MemoryRegion:
        origin, size_kib = place
        there = {region.origin: region for region in held}.values()
        return MemoryRegion(
            name="+".join(region.name for region in there),
            kind=held[0].kind,
            origin=origin,
            size_kib=min(sum(region.size_kib for region in there), size_kib),
            source=f"QEMU's {machine.name}, size as on {board.name}",
        )

    ram = moved(machine.ram, plan.ram, plan.stack)
    if machine.code == machine.constants:
        code = constants = moved(machine.code, plan.code, plan.constants)
    else:
        code, constants = moved(machine.code, plan.code), moved(machine.constants, plan.constants)
    return MemoryPlan(code=code, constants=constants, stack=ram, ram=ram)


def linker_script(plan: MemoryPlan, stack_bytes: int = STACK_BYTES) -> str:
    """A script for GNU ld and lld.

    The stack lies at the bottom of its memory, so that one that is too small leaves the memory and faults. Regions
    are named after what they hold; two uses of one region share its entry, so that the linker adds them up.
    """
    names: dict[int, str] = {}
    entries = []
    for use, region, rights in (
        ("CODE", plan.code, "rx"),
        ("CONSTANTS", plan.constants, "r"),
        ("STACK", plan.stack, "rw"),
        ("RAM", plan.ram, "rw"),
    ):
        if region.origin not in names:
            names[region.origin] = use
            entries.append(f"  {use} ({rights}) : ORIGIN = {region.origin:#x}, LENGTH = {region.size_bytes}")
    code, constants, stack, ram = (names[region.origin] for region in (plan.code, plan.constants, plan.stack, plan.ram))
    memory = "\n".join(entries)
    return f"""\
ENTRY(reidfw_reset)
MEMORY
{{
{memory}
}}
SECTIONS
{{
  .vectors : {{ KEEP(*(.vectors)) }} > {code}
  .text : {{ *(.text .text.*) }} > {code}
  .ARM.extab : {{ *(.ARM.extab*) }} > {code}
  .ARM.exidx : {{ *(.ARM.exidx*) }} > {code}
  .rodata : ALIGN(16) {{ *(.rodata .rodata.*) }} > {constants}
  .stack (NOLOAD) : ALIGN(16)
  {{
    reidfw_stack_start = .;
    . = . + {(stack_bytes + 15) // 16 * 16};
    reidfw_stack_end = .;
  }} > {stack}
  .data : ALIGN(16)
  {{
    reidfw_data_start = .;
    *(.data .data.*)
    . = ALIGN(4);
    reidfw_data_end = .;
  }} > {stack} AT > {code}
  reidfw_data_load = LOADADDR(.data);
  .bss (NOLOAD) : ALIGN(16)
  {{
    reidfw_bss_start = .;
    *(.bss .bss.* COMMON)
    . = ALIGN(4);
    reidfw_bss_end = .;
  }} > {ram}
  /DISCARD/ : {{ *(.ARM.attributes) *(.comment) *(.note*) }}
}}
"""


_OVERFLOW = re.compile(r"region [`'\"](\w+)[`'\"]:? overflowed by (\d+) bytes")


def overflows(plan: MemoryPlan, linker_output: str) -> dict[MemoryRegion, int]:
    """The regions that a linker found too small, with the missing bytes; empty where that was not the trouble."""
    regions = {"CODE": plan.code, "CONSTANTS": plan.constants, "STACK": plan.stack, "RAM": plan.ram}
    missing: dict[MemoryRegion, int] = {}
    for name, count in _OVERFLOW.findall(linker_output):
        region = regions[name]
        missing[region] = max(missing.get(region, 0), int(count))
    return missing
