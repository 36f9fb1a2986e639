"""The steps of a deployment as command lines: what a dry run shows is what a run runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reidfw_targets.board_tools import Optimization
from reidfw_targets.commands import Command
from reidfw_targets.deployment.flashing import FLASH_TIMEOUT_S, flash_argv, written_place
from reidfw_targets.deployment.project import Configuration
from reidfw_targets.facts import BoardFacts
from reidfw_targets.stedgeai.command import (
    GenerateOptions,
    InputsOutputs,
    deployment_arguments,
    target_of,
    uses_neural_art,
)
from reidfw_targets.stedgeai.executable import Version
from reidfw_targets.stedgeai.neural_art import DETECTOR_PROFILE, PROFILE

GENERATE_TIMEOUT_S = 3600.0
BUILD_TIMEOUT_S = 3600.0
SIGN_TIMEOUT_S = 120.0

NETWORK = "reid"
DETECTOR = "od"
"""C names of the network and of the detector beside it, in the STM32N6 application."""

WEIGHTS_ADDRESS = "0x72000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The programs of a deployment.

    Attributes:
        stedgeai: ST Edge AI Core, and its version.
        cube_ide, objcopy, programmer: None where the C project needs none.
    """

    stedgeai: Path
    version: Version
    cube_ide: Path | None
    objcopy: Path | None
    programmer: Path | None


def generate_command(
    board: BoardFacts,
    tools: Tools,
    model: Path,
    folder: Path,
    *,
    neural_art: Path | None,
    profile: str = PROFILE,
    optimization: Optimization | None = None,
    split_weights: bool = False,
    pools: Path | None = None,
) -> Command:
    """Generates the C code of the network.

    Args:
        board: the board.
        tools: the programs.
        model: the model file.
        folder: where the code goes.
        neural_art: file with the profiles, for a board with Neural-ART.
        profile: the profile in it.
        optimization: what the code is optimised for, on other boards.
        split_weights: each layer's weights become an array of their own, on other boards.
        pools: memory-pool file, on other boards.
    """
    if uses_neural_art(board):
        options = GenerateOptions(
            no_outputs_allocation=True,
            name=NETWORK,
            st_neural_art=f"{profile}@{neural_art}",
            in_out=InputsOutputs(input_data_type="uint8", output_data_type="uint8", inputs_ch_position="chlast"),
        )
    else:
        options = GenerateOptions(
            split_weights=split_weights, optimization=optimization or "balanced", memory_pool=pools
        )
    arguments = deployment_arguments(target_of(board), model, folder, options, tools.version)
    return Command(
        title="Generate the network's C code",
        argv=(str(tools.stedgeai), *arguments),
        timeout_s=GENERATE_TIMEOUT_S,
    )


def detector_command(board: BoardFacts, tools: Tools, detector: Path, folder: Path, neural_art: Path) -> Command:
    """Generates the C code of the person detector beside the network."""
    options = GenerateOptions(
        no_inputs_allocation=True,
        name=DETECTOR,
        st_neural_art=f"{DETECTOR_PROFILE}@{neural_art}",
        in_out=InputsOutputs(input_data_type="uint8", output_data_type="int8", inputs_ch_position="chlast"),
    )
    arguments = deployment_arguments(target_of(board), detector, folder, options, tools.version)
    return Command(
        title="Generate the detector's C code",
        argv=(str(tools.stedgeai), *arguments),
        timeout_s=GENERATE_TIMEOUT_S,
    )


def weights_hex_command(objcopy: Path, folder: Path) -> Command:
    """Makes an Intel HEX file of the weights, for other programmers."""
    raw = folder / f"{NETWORK}_atonbuf.xSPI2.raw"
    return Command(
        title="Make a HEX file of the weights",
        argv=(
            *(str(objcopy), "-I", "binary", str(raw), "--change-addresses", WEIGHTS_ADDRESS),
            *("-O", "ihex", str(raw.with_suffix(".hex"))),
        ),
        timeout_s=SIGN_TIMEOUT_S,
    )


def build_commands(configurations: Sequence[Configuration], tools: Tools, folder: Path) -> tuple[Command, ...]:
    """Builds configurations, one after the other."""
    return tuple(command for one in configurations for command in _build(one, tools, folder))


def sign_command(configuration: Configuration) -> Command | None:
    """Signs the application; None where the C project signs nothing."""
    if not configuration.sign:
        return None
    return Command(
        title="Sign the application", argv=configuration.sign, timeout_s=SIGN_TIMEOUT_S, cwd=configuration.cwd
    )


def loader_path(configuration: Configuration, tools: Tools) -> Path | None:
    """The programmer's loader for the external flash; None where the board needs none, or nothing is written."""
    if configuration.external_loader is None or tools.programmer is None:
        return None
    return tools.programmer.parent / "ExternalLoader" / configuration.external_loader


def flash_commands(configuration: Configuration, tools: Tools, serial: str) -> tuple[Command, ...]:
    """Writes application, weights and boot loader, in this order."""
    loader = loader_path(configuration, tools)
    titled = (
        ("application", configuration.flash_application),
        ("weights", configuration.flash_network),
        ("boot loader", configuration.flash_boot_loader),
    )
    return tuple(
        Command(
            title=f"Write the {what} ({written_place(argv)})",
            argv=flash_argv(argv, serial, loader),
            timeout_s=FLASH_TIMEOUT_S,
            cwd=configuration.cwd,
        )
        for what, commands in titled
        for argv in commands
    )


def signed_files(configuration: Configuration) -> tuple[Path | None, Path | None]:
    """What the signing tool reads and what it writes."""
    found: dict[str, Path] = {}
    for option, value in zip(configuration.sign, configuration.sign[1:], strict=False):
        if option in ("-bin", "-o"):
            found[option] = configuration.cwd / value
    return found.get("-bin"), found.get("-o")


def _build(one: Configuration, tools: Tools, folder: Path) -> tuple[Command, ...]:
    title = f"Build the application ({one.name})"
    if one.builder == "stm32_cube_ide":
        assert tools.cube_ide is not None
        return (
            Command(
                title=title,
                argv=(
                    *(str(tools.cube_ide), "--launcher.suppressErrors", "-nosplash"),
                    *("-application", "org.eclipse.cdt.managedbuilder.core.headlessbuild"),
                    *("-import", str(one.location), "-data", str(folder / "cubeide_workspace")),
                    *("-cleanBuild", f"{one.project}/{one.target}"),
                ),
                timeout_s=BUILD_TIMEOUT_S,
            ),
        )
    commands = [
        Command(title=what, argv=argv, timeout_s=BUILD_TIMEOUT_S, cwd=one.cwd)
        for what, argv in ((f"Clean the application ({one.name})", one.clean), (title, one.build))
        if argv
    ]
    return tuple(replace(command, environment=_compiler_path(tools)) for command in commands)


def _compiler_path(tools: Tools) -> dict[str, str]:
    """Where make finds the compiler that was found for it."""
    if tools.objcopy is None or not tools.objcopy.is_absolute():
        return {}
    return {"PATH": os.pathsep.join([str(tools.objcopy.parent), os.environ.get("PATH", "")])}
