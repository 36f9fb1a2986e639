"""What is known about each board: one row a board, each figure with its source.

A row holds the totals as ST's own board table counts them, and the memory map as the data sheet gives it. ST's table
and the NPU's pools were at hand; data sheets and manuals were not, which their sources say. External
memories are counted as ST's board table counts them, which for some boards is less than what is soldered on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from reidfw_core.api import TargetInfo

MemoryKind = Literal["ram", "flash", "external_ram", "external_flash", "npu_ram"]

_MIB = 1024
_SERVICES = "board table of the STM32 AI model zoo services"
_UNCHECKED = " (as generally known; not compared with the document)"
"""Behind sources that were not at hand when the rows were written: data sheets and user manuals."""

_N6_POOLS = "memory pools of the STM32N6 re-identification application (4 x 448 KiB for the NPU)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRegion:
    """A range of addresses with one kind of memory behind it.

    Attributes:
        name: the data sheet's name for it.
        kind: internal or external, to be written or to be programmed; ``npu_ram`` is internal RAM that the NPU uses
            first and the processor can use too.
        origin: first address.
        size_kib: size in KiB (1024 bytes).
        source: where origin and size come from.
    """

    name: str
    kind: MemoryKind
    origin: int
    size_kib: float
    source: str

    @property
    def size_bytes(self) -> int:
        """Size in bytes."""
        return int(self.size_kib * 1024)

    @property
    def end(self) -> int:
        """First address behind it."""
        return self.origin + self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFacts:
    """A board.

    Attributes:
        name: the name that users write and ST's cloud knows.
        series: for example ``STM32H7``.
        core: processor core(s), the one that runs the network first.
        clock_mhz: highest clock of that core in MHz, None where the source does not tell.
        ram_kib, flash_kib: internal memory in KiB, as ``source`` counts it; None where there is none.
        regions: the memory map, by rising address; empty for boards that run Linux.
        external_ram_kib: external RAM of a board without a memory map here, in KiB.
        npu: name of a neural accelerator.
        linux: runs Linux; only the developer cloud measures it.
        source: where the totals come from.
    """

    name: str
    series: str
    core: str
    source: str
    clock_mhz: float | None = None
    ram_kib: float | None = None
    flash_kib: float | None = None
    regions: tuple[MemoryRegion, ...] = ()
    external_ram_kib: float | None = None
    npu: str | None = None
    linux: bool = False

    def of_kind(self, *kinds: MemoryKind) -> tuple[MemoryRegion, ...]:
        """The regions of these kinds, by rising address."""
        return tuple(region for region in self.regions if region.kind in kinds)

    @property
    def arena(self) -> MemoryRegion:
        """The largest internal RAM in one piece; neighbouring regions count as one.

        Raises:
            ValueError: there is no memory map.
        """
        if not self.of_kind("ram", "npu_ram"):
            raise ValueError(f"{self.name} has no memory map")
        return max(_joined(self.of_kind("ram", "npu_ram")), key=lambda region: region.size_kib)

    @property
    def code(self) -> MemoryRegion:
        """The largest flash in one piece: internal where there is enough to speak of, else external.

        Raises:
            ValueError: there is no memory map.
        """
        pieces = [*_joined(self.of_kind("flash")), *_joined(self.of_kind("external_flash"))]
        if not pieces:
            raise ValueError(f"{self.name} has no memory map")
        internal = [piece for piece in pieces if piece.kind == "flash"]
        return max(internal or pieces, key=lambda region: region.size_kib)

    @property
    def main_core(self) -> str:
        """The core that runs the network, for example ``Cortex-M7``."""
        return self.core.split(" + ")[0].removeprefix("2 x ")

    @property
    def info(self) -> TargetInfo:
        """The same as the core's description of a target."""
        return TargetInfo(
            core=self.core,
            clock_mhz=self.clock_mhz,
            ram_kib=self.ram_kib,
            flash_kib=self.flash_kib,
            external_ram_kib=_total(self.of_kind("external_ram")) or self.external_ram_kib,
            external_flash_kib=_total(self.of_kind("external_flash")),
            npu=self.npu,
            source=self.source,
            largest_ram_kib=self._largest_ram_kib,
        )

    @property
    def _largest_ram_kib(self) -> float | None:
        """Of the arena that part of the memory which a model gets: on the STM32N6 the application has the rest."""
        if not self.of_kind("ram", "npu_ram"):
            return None
        size_kib = self.arena.size_kib
        return size_kib if self.ram_kib is None else min(size_kib, self.ram_kib)


def _total(regions: Sequence[MemoryRegion]) -> float | None:
    return sum(region.size_kib for region in regions) or None


def _joined(regions: Sequence[MemoryRegion]) -> Iterator[MemoryRegion]:
    """Regions with neighbours put together; the name of a joined one lists its parts."""
    pieces: list[list[MemoryRegion]] = []
    for region in sorted(regions, key=lambda region: region.origin):
        if pieces and pieces[-1][-1].end == region.origin:
            pieces[-1].append(region)
        else:
            pieces.append([region])
    for piece in pieces:
        first = piece[0]
        yield MemoryRegion(
            name="+".join(region.name for region in piece),
            kind=first.kind,
            origin=first.origin,
            size_kib=sum(region.size_kib for region in piece),
            source="; ".join(source for source, _ in groupby(region.source for region in piece)),
        )


def _map(source: str, *regions: tuple[str, MemoryKind, int, float]) -> tuple[MemoryRegion, ...]:
    """A memory map from (name, kind, origin, KiB), all from the data sheet and so with :data:`_UNCHECKED`."""
    rows = sorted(regions, key=lambda row: row[2])
    return tuple(
        MemoryRegion(name=name, kind=kind, origin=origin, size_kib=size, source=source + _UNCHECKED)
        for name, kind, origin, size in rows
    )


_H74X: tuple[tuple[str, MemoryKind, int, float], ...] = (
    ("ITCM", "ram", 0x0000_0000, 64),
    ("FLASH", "flash", 0x0800_0000, 2048),
    ("DTCM", "ram", 0x2000_0000, 128),
    ("AXISRAM", "ram", 0x2400_0000, 512),
    ("SRAM1", "ram", 0x3000_0000, 128),
    ("SRAM2", "ram", 0x3002_0000, 128),
    ("SRAM3", "ram", 0x3004_0000, 32),
    ("SRAM4", "ram", 0x3800_0000, 64),
)
_N657: tuple[tuple[str, MemoryKind, int, float], ...] = (
    ("FLEXRAM", "ram", 0x3400_0000, 400),
    ("AXISRAM1", "ram", 0x3406_4000, 624),
    ("AXISRAM2", "ram", 0x3410_0000, 1024),
    ("npuRAM3", "npu_ram", 0x3420_0000, 448),
    ("npuRAM4", "npu_ram", 0x3427_0000, 448),
    ("npuRAM5", "npu_ram", 0x342E_0000, 448),
    ("npuRAM6", "npu_ram", 0x3435_0000, 448),
    ("octoFlash", "external_flash", 0x7200_0000, 32 * _MIB),
)
_N6_MAP = "STM32N657 data sheet DS14791; NPU memories and external memories: " + _N6_POOLS

BOARDS: dict[str, BoardFacts] = {
    board.name: board
    for board in (
        BoardFacts(
            name="B-U585I-IOT02A",
            series="STM32U5",
            core="Cortex-M33",
            clock_mhz=160,
            ram_kib=786,
            flash_kib=2048,
            source=_SERVICES,
            regions=_map(
                "STM32U585xx data sheet DS13086; external memory: " + _SERVICES,
                ("FLASH", "flash", 0x0800_0000, 2048),
                ("SRAM1", "ram", 0x2000_0000, 192),
                ("SRAM2", "ram", 0x2003_0000, 64),
                ("SRAM3", "ram", 0x2004_0000, 512),
                ("SRAM4", "ram", 0x2800_0000, 16),
                ("OCTOSPI2", "external_flash", 0x7000_0000, 64 * _MIB),
            ),
        ),
        BoardFacts(
            name="NUCLEO-F401RE",
            series="STM32F4",
            core="Cortex-M4",
            clock_mhz=84,
            ram_kib=96,
            flash_kib=512,
            source="STM32F401xD/xE data sheet DS10086" + _UNCHECKED,
            regions=_map(
                "STM32F401xD/xE data sheet DS10086",
                ("FLASH", "flash", 0x0800_0000, 512),
                ("SRAM", "ram", 0x2000_0000, 96),
            ),
        ),
        BoardFacts(
            name="NUCLEO-G474RE",
            series="STM32G4",
            core="Cortex-M4",
            clock_mhz=170,
            ram_kib=128,
            flash_kib=512,
            source=_SERVICES,
            regions=_map(
                "STM32G474xx data sheet DS12288 (CCM SRAM at its second address, next to SRAM2)",
                ("FLASH", "flash", 0x0800_0000, 512),
                ("SRAM1", "ram", 0x2000_0000, 80),
                ("SRAM2", "ram", 0x2001_4000, 16),
                ("CCMSRAM", "ram", 0x2001_8000, 32),
            ),
        ),
        BoardFacts(
            name="NUCLEO-H743ZI2",
            series="STM32H7",
            core="Cortex-M7",
            clock_mhz=480,
            ram_kib=1024,
            flash_kib=2048,
            source="STM32H742/743 data sheet DS12110" + _UNCHECKED,
            regions=_map("STM32H742/743 data sheet DS12110", *_H74X),
        ),
        BoardFacts(
            name="NUCLEO-N657X0-Q",
            series="STM32N6",
            core="Cortex-M55",
            clock_mhz=800,
            ram_kib=4 * 448,
            npu="Neural-ART",
            source=_N6_POOLS + "; clock: STM32N657 data sheet DS14791" + _UNCHECKED,
            regions=_map(_N6_MAP, *_N657),
        ),
        BoardFacts(
            name="STM32F469I-DISCO",
            series="STM32F4",
            core="Cortex-M4",
            clock_mhz=180,
            ram_kib=384,
            flash_kib=2048,
            source=_SERVICES,
            regions=_map(
                "STM32F469xx data sheet DS11189; external memories: " + _SERVICES,
                ("FLASH", "flash", 0x0800_0000, 2048),
                ("CCMRAM", "ram", 0x1000_0000, 64),
                ("SRAM1", "ram", 0x2000_0000, 160),
                ("SRAM2", "ram", 0x2002_8000, 32),
                ("SRAM3", "ram", 0x2003_0000, 128),
                ("QUADSPI", "external_flash", 0x9000_0000, 16 * _MIB),
                ("SDRAM", "external_ram", 0xC000_0000, 16 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32F746G-DISCO",
            series="STM32F7",
            core="Cortex-M7",
            clock_mhz=216,
            ram_kib=320,
            flash_kib=1024,
            source="STM32F746xx data sheet DS10916" + _UNCHECKED,
            regions=_map(
                "STM32F746xx data sheet DS10916; external memories: Discovery kit user manual UM1907",
                ("ITCM", "ram", 0x0000_0000, 16),
                ("FLASH", "flash", 0x0800_0000, 1024),
                ("DTCM", "ram", 0x2000_0000, 64),
                ("SRAM1", "ram", 0x2001_0000, 240),
                ("SRAM2", "ram", 0x2004_C000, 16),
                ("QUADSPI", "external_flash", 0x9000_0000, 16 * _MIB),
                ("SDRAM", "external_ram", 0xC000_0000, 8 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32F769I-DISCO",
            series="STM32F7",
            core="Cortex-M7",
            clock_mhz=216,
            ram_kib=512,
            flash_kib=2048,
            source=_SERVICES,
            regions=_map(
                "STM32F769xx data sheet DS11532; external memories: " + _SERVICES,
                ("ITCM", "ram", 0x0000_0000, 16),
                ("FLASH", "flash", 0x0800_0000, 2048),
                ("DTCM", "ram", 0x2000_0000, 128),
                ("SRAM1", "ram", 0x2002_0000, 368),
                ("SRAM2", "ram", 0x2007_C000, 16),
                ("QUADSPI", "external_flash", 0x9000_0000, 64 * _MIB),
                ("SDRAM", "external_ram", 0xC000_0000, 1 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32H573I-DK",
            series="STM32H5",
            core="Cortex-M33",
            clock_mhz=250,
            ram_kib=640,
            flash_kib=2048,
            source="STM32H573xx data sheet DS14258" + _UNCHECKED,
            regions=_map(
                "STM32H573xx data sheet DS14258; external memory: Discovery kit user manual UM3143",
                ("FLASH", "flash", 0x0800_0000, 2048),
                ("SRAM1", "ram", 0x2000_0000, 256),
                ("SRAM2", "ram", 0x2004_0000, 64),
                ("SRAM3", "ram", 0x2005_0000, 320),
                ("OCTOSPI1", "external_flash", 0x9000_0000, 64 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32H735G-DK",
            series="STM32H7",
            core="Cortex-M7",
            clock_mhz=550,
            ram_kib=564,
            flash_kib=1024,
            source=_SERVICES,
            regions=_map(
                "STM32H735xG data sheet DS13312 (shared TCM/AXI RAM given to AXI); external memories: " + _SERVICES,
                ("ITCM", "ram", 0x0000_0000, 64),
                ("FLASH", "flash", 0x0800_0000, 1024),
                ("DTCM", "ram", 0x2000_0000, 128),
                ("AXISRAM", "ram", 0x2400_0000, 320),
                ("SRAM1", "ram", 0x3000_0000, 16),
                ("SRAM2", "ram", 0x3000_4000, 16),
                ("SRAM4", "ram", 0x3800_0000, 16),
                ("OCTOSPI2", "external_ram", 0x7000_0000, 16 * _MIB),
                ("OCTOSPI1", "external_flash", 0x9000_0000, 64 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32H747I-DISCO",
            series="STM32H7",
            core="Cortex-M7 + Cortex-M4",
            clock_mhz=400,
            ram_kib=1024,
            flash_kib=2048,
            source=_SERVICES,
            regions=_map(
                "STM32H747xI data sheet DS12930; external memories: " + _SERVICES,
                *_H74X,
                ("QUADSPI", "external_flash", 0x9000_0000, 16 * _MIB),
                ("SDRAM", "external_ram", 0xD000_0000, 8 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32H7B3I-DK",
            series="STM32H7",
            core="Cortex-M7",
            clock_mhz=280,
            ram_kib=1184,
            flash_kib=2048,
            source=_SERVICES,
            regions=_map(
                "STM32H7B3xI data sheet DS13139; external memories: " + _SERVICES,
                ("ITCM", "ram", 0x0000_0000, 64),
                ("FLASH", "flash", 0x0800_0000, 2048),
                ("DTCM", "ram", 0x2000_0000, 128),
                ("AXISRAM1", "ram", 0x2400_0000, 256),
                ("AXISRAM2", "ram", 0x2404_0000, 384),
                ("AXISRAM3", "ram", 0x240A_0000, 384),
                ("AHBSRAM1", "ram", 0x3000_0000, 64),
                ("AHBSRAM2", "ram", 0x3001_0000, 64),
                ("SRDSRAM", "ram", 0x3800_0000, 32),
                ("OCTOSPI1", "external_flash", 0x9000_0000, 64 * _MIB),
                ("SDRAM", "external_ram", 0xD000_0000, 16 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32H7S78-DK",
            series="STM32H7RS",
            core="Cortex-M7",
            clock_mhz=600,
            ram_kib=620,
            flash_kib=64,
            source="STM32H7Sxx8 data sheet DS14359" + _UNCHECKED,
            regions=_map(
                "STM32H7Sxx8 data sheet DS14359 (smallest TCM); external memories: Discovery kit user manual UM3289",
                ("ITCM", "ram", 0x0000_0000, 64),
                ("FLASH", "flash", 0x0800_0000, 64),
                ("DTCM", "ram", 0x2000_0000, 64),
                ("AXISRAM", "ram", 0x2400_0000, 456),
                ("AHBSRAM1", "ram", 0x3000_0000, 16),
                ("AHBSRAM2", "ram", 0x3000_4000, 16),
                ("XSPI2", "external_flash", 0x7000_0000, 128 * _MIB),
                ("XSPI1", "external_ram", 0x9000_0000, 32 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32L4R9I-DISCO",
            series="STM32L4",
            core="Cortex-M4",
            clock_mhz=120,
            ram_kib=640,
            flash_kib=2048,
            source=_SERVICES,
            regions=_map(
                "STM32L4R9xx data sheet DS12023 (SRAM2 at its second address, next to SRAM1); external memory: "
                + _SERVICES,
                ("FLASH", "flash", 0x0800_0000, 2048),
                ("SRAM1", "ram", 0x2000_0000, 192),
                ("SRAM2", "ram", 0x2003_0000, 64),
                ("SRAM3", "ram", 0x2004_0000, 384),
                ("OCTOSPI1", "external_flash", 0x9000_0000, 16 * _MIB),
            ),
        ),
        BoardFacts(
            name="STM32MP135F-DK",
            series="STM32MP1",
            core="Cortex-A7",
            clock_mhz=1000,
            external_ram_kib=512 * _MIB,
            linux=True,
            source="STM32MP135C/F data sheet DS13483, Discovery kit user manual UM2993" + _UNCHECKED,
        ),
        BoardFacts(
            name="STM32MP157F-DK2",
            series="STM32MP1",
            core="2 x Cortex-A7 + Cortex-M4",
            clock_mhz=800,
            external_ram_kib=512 * _MIB,
            linux=True,
            source="STM32MP157C/F data sheet DS12505, Discovery kit user manual UM2637" + _UNCHECKED,
        ),
        BoardFacts(
            name="STM32MP257F-EV1",
            series="STM32MP2",
            core="2 x Cortex-A35 + Cortex-M33",
            clock_mhz=1500,
            external_ram_kib=4096 * _MIB,
            npu="NPU and GPU of the STM32MP25",
            linux=True,
            source="STM32MP257C/F data sheet DS14284, evaluation board user manual UM3359" + _UNCHECKED,
        ),
        BoardFacts(
            name="STM32N6570-DK",
            series="STM32N6",
            core="Cortex-M55",
            clock_mhz=800,
            ram_kib=4 * 448,
            npu="Neural-ART",
            source=_N6_POOLS + "; clock: STM32N657 data sheet DS14791" + _UNCHECKED,
            regions=_map(_N6_MAP, *_N657, ("hyperRAM", "external_ram", 0x9000_0000, 16 * _MIB)),
        ),
    )
}
"""All boards of this distribution, by name."""
