"""The C project: its description ``stmaic_<board>.conf``, read and checked as a whole before anything is done.

The file is JSON with comments and trailing commas. Names in ``${...}`` stand for the entries of ``env`` and for the
tools' paths. Commands are split into arguments before the names are replaced, so blanks in paths do no harm.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reidfw_core.api import DataError, nearest_match

Builder = Literal["stm32_cube_ide", "makefile"]

CONF_VERSION = "0.1"
"""Version of the description's format."""

_TAG = re.compile(r"\$\{([^}]*)\}")
_MOST_NESTING = 10


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class MemoryPool(_Model):
    """Section ``memory_pool``: sizes such as ``1024KB`` (a KB is 1000 bytes there), and files."""

    internalFlash_size: str | None = None  # noqa: N815 (the file's names)
    externalFlash_size: str | None = None  # noqa: N815
    application_size: str | None = None
    memory_pool_path: str | None = None
    neuralart_user_path: str | None = None
    profile: str | None = None


class _Runtime(_Model):
    version: str = "0.0.0"
    toolchain: str = "gcc"


class _Configuration(_Model):
    name: str
    builder: Builder | None = None
    cwd: str | None = None
    cproject_location: str | None = None
    cproject_config: str | None = None
    cproject_name: str | None = None
    external_loader: str | None = None
    clean_cmd: str | None = None
    build_cmd: str | None = None
    sign_cmd: str | None = None
    flash_cmd: str | tuple[str, ...] = ()
    flash_network_data_cmd: str | tuple[str, ...] = ()
    flash_fsbl_cmd: str | tuple[str, ...] = ()
    linked_conf: str | None = None
    no_templates: bool = False
    templates: tuple[tuple[str, str, str], ...] | None = None


class _Description(_Model):
    version: str
    description: str = ""
    series: str = ""
    board: str | tuple[str, ...] = ()
    builder: Builder = "makefile"
    env: dict[str, str] = Field(default_factory=dict)
    templates: tuple[tuple[str, str, str], ...] = ()
    memory_pool: MemoryPool = MemoryPool()
    configurations: tuple[_Configuration, ...] = Field(min_length=1)
    stm_ai_runtime: _Runtime = _Runtime()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What is copied into the project: a file, or a folder, from where it was generated or installed.

    Attributes:
        source: relative to the generated files; empty for the name of the destination.
        destination: absolute path in the project.
        folder: whether it is a folder.
    """

    source: str
    destination: Path
    folder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One way to build the project, names replaced.

    Attributes:
        name: its name, for example ``UVCL``.
        builder: ``stm32_cube_ide`` or ``makefile``.
        cwd: folder in which its commands run.
        location, project, target: of an STM32CubeIDE project: folder, name and build configuration.
        external_loader: file name of the loader for the external flash.
        clean, build, sign: its commands; empty where there are none.
        flash_application, flash_network, flash_boot_loader: commands that write, in their order.
        templates: what is copied into the project.
        linked: name of a configuration that is built too.
    """

    name: str
    builder: Builder
    cwd: Path
    location: Path | None
    project: str | None
    target: str | None
    external_loader: str | None
    clean: tuple[str, ...]
    build: tuple[str, ...]
    sign: tuple[str, ...]
    flash_application: tuple[tuple[str, ...], ...]
    flash_network: tuple[tuple[str, ...], ...]
    flash_boot_loader: tuple[tuple[str, ...], ...]
    templates: tuple[Template, ...]
    linked: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CProject:
    """A C project.

    Attributes:
        path: its description.
        folder: its folder.
        runtime_version: version of ST Edge AI Core that it asks for; None for any.
        memory: sizes and files of the section ``memory_pool``, names replaced, paths absolute.
        configurations: the ways to build it.
    """

    path: Path
    folder: Path
    runtime_version: str | None
    memory: MemoryPool
    configurations: tuple[Configuration, ...]

    def configuration(self, name: str | None) -> Configuration:
        """The configuration of this name, case ignored; the first one for None.

        Raises:
            DataError: there is none of this name.
        """
        if name is None:
            return self.configurations[0]
        for one in self.configurations:
            if one.name.lower() == name.lower():
                return one
        names = [one.name for one in self.configurations]
        near = nearest_match(name, names)
        raise DataError(
            f"{self.path} has no configuration '{name}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint=f"It has: {', '.join(names)}.",
        )


def linked_configurations(project: CProject, configuration: Configuration) -> tuple[Configuration, ...]:
    """A configuration and those that are built with it, in the order in which they are built: itself last.

    Raises:
        DataError: one of them is not there, or they are linked in a circle.
    """
    chain = [configuration]
    while chain[-1].linked is not None:
        following = project.configuration(chain[-1].linked)
        if following in chain:
            raise DataError(f"{project.path}: configurations are linked in a circle: '{following.name}' comes again")
        chain.append(following)
    return tuple(reversed(chain))


def read_project(folder: Path, board: str, tools: Mapping[str, str]) -> CProject:
    """Reads the description of the C project for a board.

    Args:
        folder: ``deployment.c_project_path``; any folder will do, it need not be part of a repository.
        board: the board's name.
        tools: paths by the names that the description uses: ``STM32CubeProgrammer``, ``STM32SigningTool``,
            ``STM32Make``.

    Raises:
        DataError: there is no such folder or description, it is no JSON, for another board, or something in it is
            missing, unknown or of the wrong kind; the message names the place.
    """
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise DataError(f"deployment.c_project_path: there is no folder {folder}")
    path = folder / f"stmaic_{board}.conf"
    if not path.is_file():
        others = sorted(one.name for one in folder.glob("stmaic_*.conf"))
        told = f"it has {', '.join(others)}" if others else "it has no stmaic_*.conf at all"
        raise DataError(
            f"The C project {folder} has no {path.name}, which describes how it is built and flashed; {told}",
            hint="ST's applications bring the file; for a project of your own, write one as docs/deployment.md shows.",
        )
    described = _parse(path)
    boards = (described.board,) if isinstance(described.board, str) else described.board
    if board.lower() not in [one.lower() for one in boards]:
        raise DataError(
            f"{path}: board is {', '.join(boards) or 'not given'}, but deployment.hardware_setup.board is {board}"
        )
    if described.stm_ai_runtime.toolchain.lower() not in ("", "gcc"):
        raise DataError(
            f"{path}: stm_ai_runtime.toolchain is {described.stm_ai_runtime.toolchain}; gcc is the only one"
        )
    names = _Names(path, folder, described.env, tools)
    version = described.stm_ai_runtime.version
    memory = described.memory_pool
    return CProject(
        path=path,
        folder=folder,
        runtime_version=None if version == "0.0.0" else version,
        memory=memory.model_copy(
            update={
                name: str(names.path(value, f"memory_pool.{name}")) if value else None
                for name in ("memory_pool_path", "neuralart_user_path")
                for value in (getattr(memory, name),)
            }
        ),
        configurations=tuple(_configuration(one, described, names) for one in described.configurations),
    )


class _Names:
    """Replaces ``${name}`` by entries of ``env`` and the tools' paths."""

    def __init__(self, file: Path, folder: Path, env: Mapping[str, str], tools: Mapping[str, str]) -> None:
        self.file = file
        self._values = {**tools, "ProjectFolder": folder.as_posix(), **env}
        self._values.setdefault("cwd", "${ProjectFolder}")

    def replace(self, text: str, where: str) -> str:
        """The text without names. Raises DataError for a name that is not known, or that contains itself."""
        result = text
        for _ in range(_MOST_NESTING):
            if _TAG.search(result) is None:
                return result
            result = _TAG.sub(lambda match: self._value(match[1], where), result)
        raise DataError(f"{self.file}: {where}: the names in '{text}' contain each other")

    def path(self, text: str, where: str) -> Path:
        """A path; a relative one lies below the project's folder."""
        return Path(os.path.normpath(Path(self._values["ProjectFolder"]) / self.replace(text, where)))

    def command(self, text: str, where: str) -> tuple[str, ...]:
        """A command, split as a POSIX shell would and only then with its names replaced."""
        try:
            parts = shlex.split(text)
        except ValueError as cause:
            raise DataError(f"{self.file}: {where}: '{text}': {cause}") from cause
        return tuple(self.replace(part, where) for part in parts)

    def commands(self, given: str | Sequence[str], where: str) -> tuple[tuple[str, ...], ...]:
        """Several commands, or one."""
        texts = (given,) if isinstance(given, str) else given
        return tuple(self.command(text, where) for text in texts if text.strip())

    def _value(self, name: str, where: str) -> str:
        if name in self._values:
            return self._values[name]
        near = nearest_match(name, self._values)
        raise DataError(
            f"{self.file}: {where}: ${{{name}}} is not known" + (f" (did you mean ${{{near}}}?)" if near else ""),
            hint=f"Known are: {', '.join(sorted(self._values))}.",
        )


def _parse(path: Path) -> _Description:
    import json5

    try:
        content: Any = json5.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:  # UnicodeDecodeError is a ValueError too
        raise DataError(f"{path} cannot be read as JSON with comments: {cause}") from cause
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object")
    if (found := content.get("version")) != CONF_VERSION:
        raise DataError(f'{path}: version is {found!r}; "{CONF_VERSION}" is the only one known')
    try:
        return _Description.model_validate(content)
    except ValidationError as cause:
        faults = "\n".join(
            f"  - {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in cause.errors()
        )
        raise DataError(f"{path} is not as it should be:\n{faults}") from cause


def _configuration(given: _Configuration, described: _Description, names: _Names) -> Configuration:
    where = f"configurations '{given.name}'"
    builder = given.builder or described.builder
    needed = (
        ("cproject_location", "cproject_config", "cproject_name") if builder == "stm32_cube_ide" else ("build_cmd",)
    )
    missing = [name for name in needed if not getattr(given, name)]
    if missing:
        raise DataError(f"{names.file}: {where}: {', '.join(missing)} missing, which the builder {builder} needs")
    templates = described.templates if given.templates is None else given.templates
    return Configuration(
        name=given.name,
        builder=builder,
        cwd=names.path(given.cwd or "${cwd}", f"{where}, cwd"),
        location=names.path(given.cproject_location, where) if given.cproject_location else None,
        project=names.replace(given.cproject_name, where) if given.cproject_name else None,
        target=names.replace(given.cproject_config, where) if given.cproject_config else None,
        external_loader=names.replace(given.external_loader, where) if given.external_loader else None,
        clean=names.command(given.clean_cmd or "", f"{where}, clean_cmd"),
        build=names.command(given.build_cmd or "", f"{where}, build_cmd"),
        sign=names.command(given.sign_cmd or "", f"{where}, sign_cmd"),
        flash_application=names.commands(given.flash_cmd, f"{where}, flash_cmd"),
        flash_network=names.commands(given.flash_network_data_cmd, f"{where}, flash_network_data_cmd"),
        flash_boot_loader=names.commands(given.flash_fsbl_cmd, f"{where}, flash_fsbl_cmd"),
        templates=() if given.no_templates else tuple(_template(one, names) for one in templates),
        linked=given.linked_conf or None,
    )


def _template(given: tuple[str, str, str], names: _Names) -> Template:
    source, destination, how = given
    if how not in ("copy", "copy-file", "copy-dir"):
        raise DataError(f"{names.file}: templates: '{how}' for {destination}; known are copy, copy-file and copy-dir")
    return Template(
        source=names.replace(source, "templates"),
        destination=names.path(destination, "templates"),
        folder=how == "copy-dir",
    )
