"""What stands in a linked program: bytes to load, sizes, symbols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import ToolNotFound

HARNESS_PREFIX = "reidfw_"
"""How the names of everything begin that belongs to start-up and measuring, not to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A function or a variable.

    Attributes:
        name: as the linker knows it.
        section: ``.text``, ``.rodata``, ``.data`` or ``.bss``.
        address: where it lies (of a function without the Thumb bit).
        size_bytes: its size.
    """

    name: str
    section: str
    address: int
    size_bytes: int

    @property
    def of_harness(self) -> bool:
        """Whether it belongs to start-up and measuring."""
        return self.name.startswith(HARNESS_PREFIX) or self.section == ".vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Bytes to be loaded.

    Attributes:
        address: where (the load address).
        content: the bytes.
    """

    address: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A linked program.

    Attributes:
        entry: address of its first instruction, with the Thumb bit.
        segments: what is loaded.
        sections: size in bytes by name, of those that take memory.
        symbols: functions and variables, by address.
    """

    entry: int
    segments: tuple[Segment, ...]
    sections: dict[str, int]
    symbols: tuple[Symbol, ...]

    def function_at(self, address: int) -> str | None:
        """The name of the function that an address lies in."""
        for symbol in self.symbols:
            if symbol.section == ".text" and symbol.address <= address < symbol.address + max(symbol.size_bytes, 2):
                return symbol.name
        return None


def read_program(path: Path) -> Program:
    """Reads an ELF file that the linker made.

    Raises:
        ToolNotFound: the Python package ``pyelftools`` is not installed.
    """
    try:
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection
    except ModuleNotFoundError as cause:
        raise ToolNotFound(
            "Reading a linked program needs the Python package 'pyelftools', which is not installed",
            hint='Run: pip install "reidfw-targets[emulate]"',
        ) from cause
    with path.open("rb") as file:
        elf = ELFFile(file)
        sections = [section for section in elf.iter_sections() if section["sh_flags"] & 2]  # SHF_ALLOC
        names = {index: section.name for index, section in enumerate(elf.iter_sections())}
        symbols = [
            Symbol(
                name=symbol.name,
                section=names.get(symbol["st_shndx"], "") if isinstance(symbol["st_shndx"], int) else "",
                address=symbol["st_value"] & ~1 if symbol["st_info"]["type"] == "STT_FUNC" else symbol["st_value"],
                size_bytes=symbol["st_size"],
            )
            for table in elf.iter_sections()
            if isinstance(table, SymbolTableSection)
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT") and symbol.name
        ]
        return Program(
            entry=elf["e_entry"],
            segments=tuple(
                Segment(address=segment["p_paddr"], content=segment.data())
                for segment in elf.iter_segments("PT_LOAD")
                if segment["p_filesz"]
            ),
            sections={section.name: section["sh_size"] for section in sections if section["sh_size"]},
            symbols=tuple(sorted(symbols, key=lambda symbol: (symbol.address, symbol.name))),
        )
