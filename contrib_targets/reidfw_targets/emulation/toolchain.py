"""Compilers: the one for the board's processor, and the one for this computer."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidfw_core.api import ToolFailed, ToolNotFound
from reidfw_targets.emulation.cores import Core

CompilerKind = Literal["gcc", "zig"]

_TIME_LIMIT_S = 600
_GCC = "arm-none-eabi-gcc"
_HOST_COMPILERS = ("cc", "gcc", "clang")
_INSTALL_ZIG = 'pip install "reidfw-targets[emulate]"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A C compiler, which links too.

    Attributes:
        kind: ``gcc`` or ``zig``; what options it understands.
        command: the first words of each command line.
        version: as it tells.
    """

    kind: CompilerKind
    command: tuple[str, ...]
    version: str

    @property
    def label(self) -> str:
        """Name and version, for reports."""
        return f"{Path(self.command[0]).stem if self.kind == 'gcc' else 'zig cc'} {self.version}"

    def run(self, arguments: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs it in a folder and returns what it said, whatever its exit status.

        Raises:
            ToolFailed: it ran past ten minutes.
        """
        return run_tool([*self.command, *map(str, arguments)], folder)

    def compile(self, arguments: Sequence[str | Path], folder: Path, what: str) -> None:
        """Runs it and wants success.

        Raises:
            ToolFailed: with the first lines of what the compiler found wrong.
        """
        done = self.run(arguments, folder)
        if done.returncode:
            lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[:12])
            raise ToolFailed(
                f"{self.label} cannot compile {what}:\n{lines}",
                argv=[*self.command, *map(str, arguments)],
                code=done.returncode,
            )


def find_compiler() -> Compiler:
    """The compiler for Cortex-M: ``arm-none-eabi-gcc`` on the PATH, else the Python package ``ziglang``.

    Raises:
        ToolNotFound: there is neither; says what to install.
    """
    if path := shutil.which(_GCC):
        return Compiler(kind="gcc", command=(path,), version=_version((path, "-dumpfullversion")))
    if zig := _zig():
        return zig
    raise ToolNotFound(
        "There is no C compiler for Cortex-M: neither arm-none-eabi-gcc on the PATH nor the Python package 'ziglang'",
        hint=f"Run: {_INSTALL_ZIG}",
    )


def find_host_compiler() -> Compiler:
    """The compiler for this computer: ``$CC``, else ``cc``, ``gcc`` or ``clang`` on the PATH, else ``ziglang``.

    Raises:
        ToolNotFound: there is none, or ``$CC`` names one that is not there; says what to do.
    """
    if named := shlex.split(os.environ.get("CC", "")):
        if shutil.which(named[0]) is None:
            raise ToolNotFound(
                f"The environment variable CC names '{named[0]}', which is not there",
                hint="Correct CC, or unset it.",
            )
        return Compiler(kind="gcc", command=tuple(named), version=_version((*named, "-dumpversion")))
    for name in _HOST_COMPILERS:
        if path := shutil.which(name):
            return Compiler(kind="gcc", command=(path,), version=_version((path, "-dumpversion")))
    if zig := _zig():
        return zig
    raise ToolNotFound(
        "There is no C compiler for this computer: none of cc, gcc and clang on the PATH, nor the Python package "
        "'ziglang'",
        hint=f"Run: {_INSTALL_ZIG}",
    )


def core_options(compiler: Compiler, core: Core) -> tuple[str, ...]:
    """Options that make the compiler write code for a processor, with its floating point unit and extensions."""
    if compiler.kind == "gcc":
        return core.gcc
    return ("-target", "thumb-freestanding-eabihf", f"-mcpu={core.zig}", "-fno-sanitize=undefined")


def run_tool(
    argv: Sequence[str], folder: Path, time_limit_s: float = _TIME_LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Runs a program in a folder; its output is text.

    Raises:
        ToolFailed: it ran past the time limit; it has been ended then.
    """
    try:
        return subprocess.run(  # noqa: S603 (found by name on the PATH or in this Python)
            list(argv),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=time_limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as cause:
        raise ToolFailed(f"{Path(argv[0]).name} did not end within {time_limit_s:g} s", argv=argv, code=None) from cause


def _zig() -> Compiler | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    command = (sys.executable, "-m", "ziglang")
    return Compiler(kind="zig", command=(*command, "cc"), version=_version((*command, "version")))


def _version(argv: Sequence[str]) -> str:
    """What a compiler says about itself. Raises ToolNotFound where it is there but does not run."""
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as cause:
        raise ToolNotFound(f"{' '.join(argv[:-1])} is there but does not run: {cause}") from cause
    return done.stdout.strip()
