"""The programs that a deployment needs: where they are looked for, and what to do where one is missing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reidfw_core.api import ToolNotFound

Which = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program of the vendor's.

    Attributes:
        name: its file name without ``.exe``.
        variable: environment variable that names it.
        plugin: beginning of the name of the STM32CubeIDE plug-in that brings it; None where it is no plug-in's.
        title: what it is, for people.
        on_windows: its file name on Windows, where it is another one.
    """

    name: str
    variable: str
    plugin: str | None
    title: str
    on_windows: str | None = None

    def file_name(self, platform: str) -> str:
        """Its file name on a platform (as ``sys.platform``)."""
        return (self.on_windows or f"{self.name}.exe") if platform == "win32" else self.name


_PLUGIN = "com.st.stm32cube.ide.mcu.externaltools"

CUBE_IDE = Program(
    name="stm32cubeide",
    variable="STM32_CUBE_IDE_EXE",
    plugin=None,
    title="STM32CubeIDE",
    on_windows="stm32cubeidec.exe",
)
GCC = Program(
    name="arm-none-eabi-gcc",
    variable="STM32_ARM_GCC_COMPILER_EXE",
    plugin=f"{_PLUGIN}.gnu-tools-for-stm32",
    title="GNU compiler for Arm",
)
MAKE = Program(name="make", variable="STM32_MAKE_EXE", plugin=f"{_PLUGIN}.make", title="make")
PROGRAMMER = Program(
    name="STM32_Programmer_CLI",
    variable="STM32_CUBE_PROG_EXE",
    plugin=f"{_PLUGIN}.cubeprogrammer",
    title="STM32CubeProgrammer",
)
SIGNING_TOOL = Program(
    name="STM32_SigningTool_CLI",
    variable="STM32_SIGNINGTOOL_CLI",
    plugin=f"{_PLUGIN}.cubeprogrammer",
    title="signing tool of STM32CubeProgrammer",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """Finds the programs: the configuration, environment variables, PATH, then the plug-ins of STM32CubeIDE.

    Attributes:
        cube_ide: ``tools.path_to_cubeIDE``, or None.
        environment: environment variables.
        platform: as ``sys.platform``.
        which: finds a program on PATH.
        tolerant: give the bare name of a program that is not there instead of failing, for a dry run.
    """

    cube_ide: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    platform: str = sys.platform
    which: Which = shutil.which
    tolerant: bool = False

    def find(self, program: Program) -> Path:
        """The program's path.

        Raises:
            ToolNotFound: it is not there, or what is named is no program that may be executed.
        """
        try:
            return self._find(program)
        except ToolNotFound:
            if self.tolerant:
                return Path(program.name)
            raise

    def _find(self, program: Program) -> Path:
        name = program.file_name(self.platform)
        if program is CUBE_IDE and self.cube_ide is not None:
            return self._checked(self.cube_ide.expanduser(), "tools.path_to_cubeIDE", name)
        if named := self.environment.get(program.variable):
            return self._checked(Path(named).expanduser(), f"the environment variable {program.variable}", name)
        if on_path := self.which(name):
            return Path(on_path).absolute()
        for candidate in self._in_plugins(program):
            if candidate.is_file():
                return candidate
        raise ToolNotFound(
            f"The {program.title} ({program.name}) is not there",
            hint=f"Install STM32CubeIDE and STM32CubeProgrammer from www.st.com, then give tools.path_to_cubeIDE, set "
            f"{program.variable}, or put {program.name} on PATH.",
        )

    def _checked(self, path: Path, by: str, name: str) -> Path:
        if path.is_dir():
            if (path / name).is_file():
                return self._checked(path / name, by, name)
            raise ToolNotFound(f"{by} names the folder {path}, in which there is no {name}")
        if not path.is_file():
            raise ToolNotFound(f"{by} names {path}, which is not there")
        if self.platform != "win32" and not os.access(path, os.X_OK):
            raise ToolNotFound(f"{by} names {path}, which may not be executed", hint=f"chmod +x {path}")
        return path.absolute()

    def _in_plugins(self, program: Program) -> Iterator[Path]:
        """The program in the plug-ins of STM32CubeIDE, the newest first."""
        if program.plugin is None:
            return
        try:
            ide = self._find(CUBE_IDE)
        except ToolNotFound:
            if self.cube_ide is not None:  # named, but wrong: that is what is to be said
                raise
            return
        name = program.file_name(self.platform)
        for plugins in (ide.parent / "plugins", ide.parent.parent / "Eclipse" / "plugins"):
            for folder in sorted(plugins.glob(f"{program.plugin}*"), key=_by_version, reverse=True):
                yield folder / "tools" / "bin" / name


def _by_version(folder: Path) -> tuple[list[int], str]:
    """Plug-ins end in ``_2.2.100.202410291445``; numbers are compared as numbers."""
    version = folder.name.rpartition("_")[2]
    return [int(part) if part.isdigit() else 0 for part in version.split(".")], folder.name
