"""Finding ST Edge AI Core and asking its version."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from reidfw_core.api import ToolFailed, ToolNotFound
from reidfw_targets.processes import last_words, run_logged

INSTALLATION_VARIABLE = "STEDGEAI_CORE_DIR"
"""Environment variable that names the folder of an installation."""

EXECUTABLE_VARIABLE = "STM32_AI_EXE"
"""Environment variable that names the executable itself."""

PROBE_TIMEOUT_S = 60.0
"""Seconds within which ``--version`` must answer; the first start of an installation is slow."""

Which = Callable[[str], str | None]

_FOLDERS = {"win32": ("windows",), "darwin": ("mac", "macarm"), "linux": ("linux",)}
_PACK = "STM32Cube/Repository/Packs/STMicroelectronics/X-CUBE-AI"
"""Where STM32CubeMX installs the tool, below the home folder; its folders are named by versions of the pack."""

_USUAL = {
    "win32": ("C:/ST/STEdgeAI", f"~/{_PACK}"),
    "darwin": ("/Applications/ST/STEdgeAI", "~/ST/STEdgeAI", f"~/{_PACK}"),
    "linux": ("/opt/ST/STEdgeAI", "~/ST/STEdgeAI", f"~/{_PACK}"),
}
_NUMBER = r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:-(\w+))?(?![\d.])"
_CORE = re.compile(rf"\bST[\s.]?Edge[\s.]?AI(?:[\s.]?Core)?\s+{_NUMBER}", re.IGNORECASE)
_CUBE_AI = re.compile(rf"\b(?:STM32Cube\.?AI|STM\.ai)\s+{_NUMBER}", re.IGNORECASE)
_PLAIN = re.compile(_NUMBER)

_CUBE_AI_AHEAD = 8
"""ST Edge AI Core 1.0 to 4.0 are STM32CubeAI 9.0 to 12.0."""

Numbers = tuple[int, int, int]


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Version of the tool, which is told under two names: ST Edge AI Core 2.1.0 is STM32CubeAI 10.1.0.

    Attributes:
        major, minor, micro: of ST Edge AI Core; of STM32CubeAI where the tool is older than that name. Only these are
            compared.
        build: what follows them, for example ``19899``.
        cube_ai: the numbers under the name STM32CubeAI.
    """

    major: int
    minor: int
    micro: int = 0
    build: str = field(default="", compare=False)
    cube_ai: Numbers | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """The version in what ``--version`` prints, None where it is not that of ST's tool.

        The versions of its parts stand there too, and other programs print numbers as well, so only one behind the
        tool's own name counts.
        """
        core, cube_ai = _CORE.search(text), _CUBE_AI.search(text)
        found = core or cube_ai
        if found is None:
            return None
        numbers = _numbers(found)
        told = _numbers(cube_ai) if cube_ai else (numbers[0] + _CUBE_AI_AHEAD, *numbers[1:])
        return cls(*numbers, build=found[4] or "", cube_ai=told)

    @property
    def numbers(self) -> Numbers:
        """Major, minor and micro."""
        return self.major, self.minor, self.micro

    @property
    def is_cube_ai(self) -> bool:
        """From before the tool was called ST Edge AI Core."""
        return self.cube_ai == self.numbers

    @property
    def is_old(self) -> bool:
        """Puts inputs and outputs into the activations on demand only, as STM32CubeAI did before version 9."""
        return self.is_cube_ai and self.major < 9

    def answers_to(self, asked: str) -> bool:
        """Whether a version such as ``3.0.0``, of either name, is this one."""
        found = _PLAIN.fullmatch(asked.strip())
        return found is not None and _numbers(found) in (self.numbers, self.cube_ai)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}" + (f"-{self.build}" if self.build else "")


def _numbers(found: re.Match[str]) -> Numbers:
    return int(found[1]), int(found[2]), int(found[3] or 0)


RECENT = Version(3, 0, 0)
"""Stands in a dry run for the version that nobody has asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StEdgeAiInstallation:
    """An executable that told its version.

    Attributes:
        executable: its absolute path.
        version: its version.
        found_by: how it was found, for people.
        warning: what the user should know about it, None for nothing.
    """

    executable: Path
    version: Version
    found_by: str
    warning: str | None = None

    @property
    def folder(self) -> Path:
        """The installation's folder: three above the executable (``<folder>/Utilities/<system>/stedgeai``)."""
        return self.executable.parents[2] if len(self.executable.parents) > 2 else self.executable.parent

    @property
    def label(self) -> str:
        """What reports call it."""
        return f"{'STM32CubeAI' if self.version.is_cube_ai else 'ST Edge AI Core'} {self.version}"


def find_executable(
    path: Path | None,
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    which: Which = shutil.which,
) -> tuple[Path, str]:
    """Looks for the executable: the configuration, the environment, PATH, the usual folders; the first one counts.

    Args:
        path: ``tools.stedgeai.path_to_stedgeai``: the executable, its name on PATH, or a folder of an installation.
        environment: environment variables.
        platform: as ``sys.platform``.
        which: finds a program on PATH.

    Returns:
        Its path, and how it was found.

    Raises:
        ToolNotFound: what was named is none, or nothing was named and nothing found.
    """
    if path is not None:
        return _named(path.expanduser(), "tools.stedgeai.path_to_stedgeai", platform, which)
    for variable in (EXECUTABLE_VARIABLE, INSTALLATION_VARIABLE):
        if value := environment.get(variable):
            return _named(Path(value).expanduser(), f"the environment variable {variable}", platform, which)
    if on_path := which("stedgeai"):
        return Path(on_path).absolute(), "PATH"
    for usual in _USUAL.get(platform, ()):
        folder = Path(usual).expanduser()
        if folder.is_dir() and (inside := _inside(folder, platform)):
            return inside, str(folder)
    raise ToolNotFound(
        "ST Edge AI Core is not there: tools.stedgeai.path_to_stedgeai is not given, "
        f"{INSTALLATION_VARIABLE} is not set, and there is no stedgeai on PATH",
        hint="Install ST Edge AI Core from www.st.com and give tools.stedgeai.path_to_stedgeai, or set "
        "tools.stedgeai.on_cloud: True.",
    )


def is_named(path: Path | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether configuration or environment name the tool, so that nothing else may be taken for it."""
    return path is not None or any(environment.get(name) for name in (EXECUTABLE_VARIABLE, INSTALLATION_VARIABLE))


def probe(executable: Path, found_by: str, timeout_s: float = PROBE_TIMEOUT_S) -> StEdgeAiInstallation:
    """Asks an executable for its version.

    Raises:
        ToolNotFound: it cannot be started.
        ToolFailed: it fails, does not answer in time, or tells no version.
    """
    hint = (
        f"It was found by {found_by}. Give the program stedgeai of ST Edge AI Core in tools.stedgeai.path_to_stedgeai."
    )
    try:
        done = run_logged([executable, "--version"], timeout_s=timeout_s)
    except ToolFailed as cause:
        raise ToolFailed(cause.message, argv=cause.argv, code=cause.code, hint=hint) from cause
    version = Version.parse(done.output)
    if version is None:
        raise ToolFailed(
            f"{executable} does not tell a version of ST Edge AI Core, so it is something else. "
            f"{last_words(done.output.splitlines())}",
            argv=done.argv,
            code=0,
            hint=hint,
        )
    return StEdgeAiInstallation(
        executable=executable, version=version, found_by=found_by, warning=_mismatch(executable, version)
    )


def _named(path: Path, by: str, platform: str, which: Which) -> tuple[Path, str]:
    if path.is_file():
        if platform != "win32" and not os.access(path, os.X_OK):
            raise ToolNotFound(f"{by} names {path}, which may not be executed", hint=f"chmod +x {path}")
        return path.absolute(), by
    if path.is_dir():
        inside = _inside(path, platform)
        if inside is None:
            raise ToolNotFound(
                f"{by} names the folder {path}, in which there is no stedgeai for this system",
                hint=f"Give the executable, usually <folder>/Utilities/{_FOLDERS.get(platform, ('linux',))[0]}/stedgeai"
                + (".exe" if platform == "win32" else ""),
            )
        return inside, by
    if on_path := which(str(path)):
        return Path(on_path).absolute(), by
    raise ToolNotFound(f"{by} names {path}, which is not there")


def _inside(folder: Path, platform: str) -> Path | None:
    """The executable in a folder of an installation, or in the newest version below the folder."""
    name = "stedgeai.exe" if platform == "win32" else "stedgeai"
    found = [candidate for candidate in _places(folder, name, platform) if candidate.is_file()]
    return found[0].absolute() if found else None


def _places(folder: Path, name: str, platform: str) -> Iterator[Path]:
    versions = [entry for entry in folder.iterdir() if entry.is_dir() and re.fullmatch(r"\d+(\.\d+)+", entry.name)]
    versions.sort(key=lambda entry: [int(part) for part in entry.name.split(".")], reverse=True)
    for root in (folder, *versions):
        yield root / name
        for system in _FOLDERS.get(platform, ("linux",)):
            yield root / "Utilities" / system / name
            yield root / system / name


def _mismatch(executable: Path, version: Version) -> str | None:
    """A folder named like a version in the path that is not the version told."""
    for above, part in reversed(list(pairwise(executable.parts[:-1]))):
        if re.fullmatch(r"\d+\.\d+(\.\d+)?", part):
            told = (".".join(map(str, numbers)) for numbers in (version.numbers, version.cube_ai) if numbers)
            if above != Path(_PACK).name and not any(f"{one}.".startswith(f"{part}.") for one in told):
                return f"{executable} lies in a folder of version {part}, but says that it is {version}"
            return None
    return None
