"""What makes a device ready: ST's tool generates the network, its loader builds and flashes the validation firmware."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import ToolNotFound
from reidfw_targets.commands import Command
from reidfw_targets.stedgeai.command import (
    SERIAL_SPEED,
    InputsOutputs,
    validate_arguments,
    validation_generate_arguments,
)

SCRIPTS_FOLDER = Path("scripts", "N6_scripts")
"""Where an installation keeps loaders, their settings and the compiler profiles."""

NEURAL_ART_SETTINGS = "user_neuralart.json"
"""The profiles, in the folder of the scripts."""

AUTO_VALID = "auto_valid"
"""The profile that stands for: the board is ready, only measure."""

WORKSPACE = "st_ai_ws"
"""Folder into which the library for this computer is built."""

GENERATE_TIMEOUT_S = 3600.0
LOAD_TIMEOUT_S = 1800.0
VALIDATE_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKind:
    """A kind of board that ST's loaders know.

    Attributes:
        target: the value of ``--target``.
        loader: the loader's script.
        settings_option: its option for the file with its settings.
        settings: that file, in the folder of the script.
        device_ids: what such devices call themselves.
    """

    target: str
    loader: str
    settings_option: str
    settings: str
    device_ids: frozenset[int]


N6 = DeviceKind(
    target="stm32n6",
    loader="n6_loader.py",
    settings_option="--n6-loader-config",
    settings="config_n6l.json",
    device_ids=frozenset({0x486}),
)
H7P = DeviceKind(
    target="stm32h7",
    loader="h7p_loader.py",
    settings_option="--h7p-loader-config",
    settings="config_h7p.json",
    device_ids=frozenset({0x47B}),
)


def connection(port: str | None, speed: int = SERIAL_SPEED) -> str:
    """How ST's tool names a serial connection: ``serial:921600``, or ``serial:COM7:921600``."""
    return f"serial:{speed}" if port is None else f"serial:{port}:{speed}"


def device_commands(
    executable: Path,
    scripts: Path,
    kind: DeviceKind,
    model: Path,
    profile: str,
    in_out: InputsOutputs,
    connected: str,
) -> tuple[Command, ...]:
    """Generate, load, validate: the three commands that make a board ready, none where it is ready already.

    All run in the folder of the scripts: the loader looks there for what was generated.
    """
    if profile == AUTO_VALID:
        return ()
    program = str(executable)
    generate = validation_generate_arguments(kind.target, model, in_out, neural_art=f"{profile}@{NEURAL_ART_SETTINGS}")
    load = (sys.executable, kind.loader, kind.settings_option, f"./{kind.settings}")
    validate = validate_arguments(kind.target, model, in_out, connection=connected)
    return (
        Command(title="Generate the network", argv=(program, *generate), timeout_s=GENERATE_TIMEOUT_S, cwd=scripts),
        Command(title="Build and load the validation firmware", argv=load, timeout_s=LOAD_TIMEOUT_S, cwd=scripts),
        Command(
            title="Validate with random data", argv=(program, *validate), timeout_s=VALIDATE_TIMEOUT_S, cwd=scripts
        ),
    )


def library_command(executable: Path, model: Path, in_out: InputsOutputs, folder: Path) -> Command:
    """Builds the library for this computer, below ``folder``."""
    arguments = validation_generate_arguments("stm32", model, in_out, dll=True)
    return Command(
        title="Build the network for this computer",
        argv=(str(executable), *arguments),
        timeout_s=GENERATE_TIMEOUT_S,
        cwd=folder,
    )


def scripts_folder(installation: Path, kind: DeviceKind) -> Path:
    """The folder of the scripts, with all that the flow needs.

    Raises:
        ToolNotFound: a file is missing; all missing ones are named.
    """
    folder = installation / SCRIPTS_FOLDER
    missing = [name for name in (kind.loader, kind.settings, NEURAL_ART_SETTINGS) if not (folder / name).is_file()]
    if missing:
        raise ToolNotFound(
            f"The installation of ST Edge AI Core in {installation} lacks {', '.join(missing)} in {folder}",
            hint="They come with the STM32N6 component of ST Edge AI Core; check tools.stedgeai.path_to_stedgeai.",
        )
    return folder
