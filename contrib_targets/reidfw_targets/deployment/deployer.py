"""A deployment from the model file to the running board, stopping at the first failure."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reidfw_core.api import (
    ApplicationSettings,
    CommandLine,
    DataError,
    DeploymentReport,
    DoesNotFit,
    ModelFile,
    Progress,
    ToolFailed,
    ToolNotFound,
    atomic_path,
)
from reidfw_targets.board_tools import Optimization
from reidfw_targets.commands import Command, run_command
from reidfw_targets.deployment import header, steps, weights
from reidfw_targets.deployment.files import RUNTIME_FOLDER, copy_all, plan_copies
from reidfw_targets.deployment.flashing import (
    BOOT_SWITCHES,
    UNKNOWN_SERIAL,
    find_probe,
    flash,
    list_command,
    written_file,
)
from reidfw_targets.deployment.project import Configuration, CProject, linked_configurations, read_project
from reidfw_targets.deployment.steps import Tools
from reidfw_targets.deployment.toolbox import CUBE_IDE, GCC, MAKE, PROGRAMMER, SIGNING_TOOL, Toolbox
from reidfw_targets.facts import BoardFacts
from reidfw_targets.model_io import ModelIo, read_model_io
from reidfw_targets.stedgeai import neural_art
from reidfw_targets.stedgeai.command import uses_neural_art
from reidfw_targets.stedgeai.executable import RECENT, Version, find_executable
from reidfw_targets.stedgeai.local import local_installation
from reidfw_targets.stedgeai.reports import ReportError, read_folder

logger = logging.getLogger(__name__)

MOST_LEVELS_OFF = 1.5
"""A model's input may be off from the camera's bytes by so many grey levels: half of one for rounding, and one for
calibration images that just lack black or white."""

HEADER_FOLDER = "C_header"
LOG_FOLDER = "logs"

_NO_CONFIGURATION = re.compile(r"no config(?:uration)? matched", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user asks for.

    Attributes:
        board: the board.
        project_folder: ``deployment.c_project_path``.
        camera, output: ``hardware_setup.input`` and ``output``.
        serial: ``hardware_setup.stlink_serial_number``.
        stedgeai: ``tools.stedgeai.path_to_stedgeai``.
        cube_ide: ``tools.path_to_cubeIDE``.
        optimization: ``tools.stedgeai.optimization``.
        flash_board: write to the board; False builds and signs only.
        detector: a person detector to compile beside the network; None keeps the one in the C project.
        verbose: show every line that the programs print.
    """

    board: BoardFacts
    project_folder: Path
    camera: str | None = None
    output: str | None = None
    serial: str | None = None
    stedgeai: Path | None = None
    cube_ide: Path | None = None
    optimization: Optimization = "balanced"
    flash_board: bool = True
    detector: Path | None = None
    verbose: bool = False

    @property
    def is_n6(self) -> bool:
        """Whether it is an STM32N6, for which ST ships the application."""
        return uses_neural_art(self.board)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """All that is there before the first command.

    Attributes:
        tools: the programs.
        installation: folder of ST Edge AI Core.
        project: the C project.
        configuration: the configuration that is written to the board.
        built: it and those that are built before it, in their order.
    """

    tools: Tools
    installation: Path
    project: CProject
    configuration: Configuration
    built: tuple[Configuration, ...]


def prepare(wanted: Wanted, toolbox: Toolbox, *, dry: bool = False) -> Ready:
    """Finds the tools and reads the C project; changes nothing.

    Args:
        wanted: what the user asks for.
        toolbox: finds the programs.
        dry: a missing ST Edge AI Core is no error, and it is not asked for its version.

    Raises:
        ToolNotFound, ToolFailed: a program is missing, or does not work.
        DataError: the C project or ``hardware_setup`` is not as it should be.
    """
    _check_detector(wanted)
    programmer = toolbox.find(PROGRAMMER) if wanted.flash_board else None
    tags = {"STM32CubeProgrammer": str(programmer or PROGRAMMER.name), "STM32SigningTool": SIGNING_TOOL.name}
    # read twice: which tools are needed stands in the file in which their paths are put
    first = read_project(wanted.project_folder, wanted.board.name, {**tags, "STM32Make": MAKE.name})
    chosen = first.configuration(_configuration_name(wanted, first))
    builders = {one.builder for one in first.configurations}
    make = toolbox.find(MAKE) if "makefile" in builders else None
    signer = toolbox.find(SIGNING_TOOL) if chosen.sign else None
    tags |= {"STM32SigningTool": str(signer or SIGNING_TOOL.name), "STM32Make": str(make or MAKE.name)}
    project = read_project(wanted.project_folder, wanted.board.name, tags)
    _check_memory_files(wanted, project)
    compiler = toolbox.find(GCC) if make is not None else None
    executable, version, installation = _stedgeai(wanted, dry=dry)
    if not dry and project.runtime_version is not None and not version.answers_to(project.runtime_version):
        raise ToolNotFound(
            f"The C project is made for ST Edge AI Core {project.runtime_version}; {executable} is {version}",
            hint=f"Install {project.runtime_version}, or change stm_ai_runtime.version in {project.path}.",
        )
    tools = Tools(
        stedgeai=executable,
        version=version,
        cube_ide=toolbox.find(CUBE_IDE) if "stm32_cube_ide" in builders else None,
        objcopy=None if compiler is None else compiler.with_name(compiler.name.replace("-gcc", "-objcopy")),
        programmer=programmer,
    )
    configuration = project.configuration(chosen.name)
    loader = steps.loader_path(configuration, tools)
    if not dry and loader is not None and not loader.is_file():
        raise ToolNotFound(
            f"STM32CubeProgrammer has no external loader {loader}",
            hint=f"Update STM32CubeProgrammer, or correct external_loader in {project.path}.",
        )
    return Ready(
        tools=tools,
        installation=installation,
        project=project,
        configuration=configuration,
        built=linked_configurations(project, configuration),
    )


def list_steps(wanted: Wanted, ready: Ready, model: Path, workdir: Path) -> tuple[CommandLine, ...]:
    """Every command of a deployment, in its order; runs none."""
    tools, configuration = ready.tools, ready.configuration
    settings = _neural_art_path(wanted, ready, workdir)
    commands = [] if tools.programmer is None else [list_command(tools.programmer).line]
    generate = _generate(wanted, ready, model, workdir, settings).line
    if wanted.is_n6:
        commands.append(generate)
        if wanted.detector is not None:
            assert settings is not None
            commands.append(steps.detector_command(wanted.board, tools, wanted.detector, workdir, settings).line)
        if tools.objcopy is not None:
            commands.append(steps.weights_hex_command(tools.objcopy, workdir).line)
    else:
        note = "A model too large for the internal memories is generated again, with --split-weights or --memory-pool."
        commands.append(replace(generate, note=note))
    commands += [one.line for one in steps.build_commands(ready.built, tools, workdir)]
    sign = steps.sign_command(configuration)
    if sign is not None:
        commands.append(sign.line)
    if tools.programmer is not None:
        commands += [one.line for one in steps.flash_commands(configuration, tools, wanted.serial or UNKNOWN_SERIAL)]
    return tuple(commands)


def deploy(
    wanted: Wanted, ready: Ready, model: ModelFile, workdir: Path, app: ApplicationSettings, progress: Progress
) -> DeploymentReport:
    """Deploys; see the hook ``deploy_model`` for what it raises."""
    io = checked_io(model, wanted, app)
    logs = workdir / LOG_FOLDER
    logs.mkdir(exist_ok=True)
    tools, configuration = ready.tools, ready.configuration
    runner = _Runner(logs, progress, verbose=wanted.verbose)
    try:
        probe_serial = None
        if wanted.flash_board:
            assert tools.programmer is not None
            found = find_probe(tools.programmer, wanted.board.name, wanted.serial, logs / "probes.log")
            probe_serial = found.serial
            logger.info("Board: %s, ST-LINK probe %s", wanted.board.name, probe_serial)
        header_path = _write_header(wanted, io, model, workdir, app)
        _generate_all(wanted, ready, model, workdir, runner)
        copies = plan_copies(
            [template for one in ready.built for template in one.templates],
            (header_path.parent, workdir),
            ready.installation / RUNTIME_FOLDER,
        )
        logger.info("Copying %d files and folders into %s", len(copies), ready.project.folder)
        copy_all(copies)
        firmware = _build_and_sign(ready, workdir, runner)
        flashing = () if probe_serial is None else steps.flash_commands(configuration, tools, probe_serial)
        _check_files(flashing, configuration)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Nothing was written to the board.") from None
    if flashing and (switches := BOOT_SWITCHES.get(wanted.board.name)):
        logger.info("Writing needs the boot switches so: %s", switches.programming)
    flash(flashing, wanted.board.name, logs / "flash.log", verbose=wanted.verbose, progress=progress)
    return DeploymentReport(
        firmware=firmware,
        next_steps=_next_steps(wanted),
        details={
            "board": wanted.board.name,
            "configuration": configuration.name,
            "c_project": str(ready.project.folder),
            "probe": probe_serial,
            "flashed": bool(flashing),
            "tool": f"ST Edge AI Core {tools.version}",
            "threshold": app.score_threshold,
            "threshold_origin": app.threshold_origin,
            "header": str(header_path),
            "commands": [*runner.done, *(command.line.argv for command in flashing)],
            "copied": [str(one.destination) for one in copies],
        },
    )


def checked_io(model: ModelFile, wanted: Wanted, app: ApplicationSettings) -> ModelIo:
    """The model's input and output.

    Args:
        model: the model.
        wanted: what the user asks for.
        app: how the model's images were made.

    Raises:
        DataError: the board's application cannot use such a model.
    """
    io = read_model_io(model)
    if io is None or not io.format.is_integer:
        raise DataError(
            f"{model.path.name} is a float model; a deployment takes a quantized one (TFLite, or ONNX with QDQ)",
            hint="Quantize it first, or both in one run with operation_mode: chain_qd.",
        )
    if not wanted.is_n6:
        return io
    _check_image(io, model.path.name, wanted.board.name, app)
    embedding = io.embedding_integers
    lowest = None if embedding is None else {"int8": -128, "uint8": 0}.get(embedding.dtype.name)
    if embedding is None or lowest is None:
        raise DataError(
            f"{model.path.name}: its embedding is not made of 8-bit integers, which the application on "
            f"{wanted.board.name} compares",
            hint="Quantize the whole model to int8, its last layer too.",
        )
    if embedding.zero_point != lowest:
        raise DataError(
            f"{model.path.name}: the zero point of its embedding is {embedding.zero_point}, not {lowest}: it "
            "holds negative numbers. The application on the board compares the unsigned integers as they are, and "
            "would not recognise anybody",
            hint="Deploy a model whose embedding ends in a ReLU and a pooling (no bn_neck, no embedding_size).",
        )
    return io


def _check_image(io: ModelIo, model: str, board: str, app: ApplicationSettings) -> None:
    """Checks that the model takes what the STM32N6 application gives: pixels stretched to its size, RGB, as bytes.

    Raises:
        DataError: it takes others.
    """
    where = "preprocessing"
    if io.image.shape[2] != 3 or app.color_mode == "grayscale":
        raise DataError(
            f"{model} takes {io.image.shape[2]} channels, {where}.color_mode is {app.color_mode}; the application on "
            f"{board} gives RGB"
        )
    if app.aspect_ratio != "fit":
        logger.warning(
            "%s.resizing.aspect_ratio is %s, but the application on %s always stretches people to the model's size "
            "(fit): it will recognise them less well than the evaluation said",
            *(where, app.aspect_ratio, board),
        )
    numbers = io.image_integers
    if numbers is None or numbers.dtype.name not in ("int8", "uint8"):
        raise DataError(
            f"{model}: its image is not made of 8-bit integers, which the application on {board} gives",
            hint="Quantize the whole model to int8, its first layer too.",
        )
    if app.rescaling is None:
        logger.warning(
            "%s.rescaling is not given, so nobody knows whether the camera's bytes are what %s was trained with",
            *(where, model),
        )
        return
    scale, offset = app.rescaling
    off = numbers.levels_off(scale, offset)
    if off > MOST_LEVELS_OFF:
        raise DataError(
            f"{model} does not take the camera's bytes as they are, which the application on {board} gives: with "
            f"{where}.rescaling {scale:g} and {offset:g}, its input (scale {numbers.scale:g}, zero point "
            f"{numbers.zero_point}) is up to {off:.1f} grey levels off",
            hint=f"Give the {where}.rescaling that the model was quantized with; or quantize it anew, with reidfw "
            "or with images that hold black and white.",
        )


class _Runner:
    """Runs commands, each with a log of its own, and remembers them."""

    def __init__(self, logs: Path, progress: Progress, *, verbose: bool) -> None:
        self.logs, self._progress, self._verbose = logs, progress, verbose
        self.done: list[tuple[str, ...]] = []

    def run(self, command: Command) -> str:
        name = re.sub(r"[^a-z0-9]+", "_", command.title.lower()).strip("_")
        self.done.append(command.argv)
        log = self.logs / f"{len(self.done):02d}-{name}.log"
        return run_command(command, log, verbose=self._verbose, progress=self._progress).output


def _configuration_name(wanted: Wanted, project: CProject) -> str | None:
    """Which configuration ``hardware_setup`` asks for. Raises DataError."""
    where = "deployment.hardware_setup"
    name, output = wanted.board.name, wanted.output
    if name == "NUCLEO-N657X0-Q":
        if output is None:
            names = ", ".join(one.name for one in project.configurations)
            raise DataError(f"{where}.output is required for the {name}: one of {names}")
        return output
    if name == "NUCLEO-H743ZI2":
        faults = header.interface_faults(wanted.camera, output)
        if faults:
            raise DataError("\n".join(f"{where}.{fault}" for fault in faults))
        return None
    given = [attribute for attribute, value in (("input", wanted.camera), ("output", output)) if value is not None]
    if given:
        raise DataError(f"{where}: {' and '.join(given)} cannot be chosen on the {name}; leave them out")
    return None


def _check_detector(wanted: Wanted) -> None:
    """Raises DataError where the detector is no file, or the board has none beside the network."""
    where = "deployment.detector_model"
    if wanted.detector is None:
        return
    if not wanted.is_n6:
        raise DataError(f"{where} is for STM32N6 boards; the {wanted.board.name} compiles no detector")
    if not wanted.detector.is_file():
        raise DataError(f"{where}: there is no model file {wanted.detector}")


def _check_memory_files(wanted: Wanted, project: CProject) -> None:
    """Reads the files that the C project's ``memory_pool`` names. Raises DataError where one is not as it should be."""
    named = project.memory.neuralart_user_path
    if not wanted.is_n6:
        weights.board_memory(wanted.board, project.memory)
    elif named is not None:
        neural_art.check_settings(Path(named), _profile(project))


def _stedgeai(wanted: Wanted, *, dry: bool) -> tuple[Path, Version, Path]:
    if not dry:
        installed = local_installation(wanted.stedgeai, "A deployment")
        return installed.executable, installed.version, installed.folder
    try:
        executable, _ = find_executable(wanted.stedgeai)
    except ToolNotFound:
        executable = wanted.stedgeai or Path("stedgeai")
    return executable, RECENT, Path("<folder of ST Edge AI Core>")


def _neural_art_path(wanted: Wanted, ready: Ready, workdir: Path) -> Path | None:
    if not wanted.is_n6:
        return None
    named = ready.project.memory.neuralart_user_path
    return Path(named) if named else neural_art.settings_path(wanted.board, workdir)


def _profile(project: CProject) -> str:
    """The Neural-ART profile: the C project's own, where it brings a file with profiles."""
    named = project.memory.profile if project.memory.neuralart_user_path else None
    return named or neural_art.PROFILE


def _generate(wanted: Wanted, ready: Ready, model: Path, workdir: Path, settings: Path | None) -> Command:
    return steps.generate_command(
        wanted.board,
        ready.tools,
        model,
        workdir,
        neural_art=settings,
        profile=_profile(ready.project),
        optimization=wanted.optimization,
    )


def _generate_all(wanted: Wanted, ready: Ready, model: ModelFile, workdir: Path, runner: _Runner) -> None:
    settings = _neural_art_path(wanted, ready, workdir)
    if settings is not None and not ready.project.memory.neuralart_user_path:
        neural_art.write_settings(wanted.board, workdir)
    command = _generate(wanted, ready, model.path, workdir, settings)
    runner.run(command)
    if not wanted.is_n6:
        _fit(wanted, ready, model, workdir, runner, command)
        return
    raw = workdir / f"{steps.NETWORK}_atonbuf.xSPI2.raw"
    expected = [f"{steps.NETWORK}.c", f"stai_{steps.NETWORK}.c", f"stai_{steps.NETWORK}.h", raw.name]
    _require(command, workdir, expected)
    window = wanted.board.of_kind("external_flash")[0]
    if (size := raw.stat().st_size) > window.size_bytes:
        raise DoesNotFit(
            f"The weights take {size:,} bytes; the flash from 0x{window.origin:08X} holds {window.size_bytes:,}: "
            f"{size - window.size_bytes:,} too many",
            hint="Take a smaller backbone (reidfw fit tells what fits).",
        )
    if wanted.detector is not None:
        assert settings is not None
        detector = steps.detector_command(wanted.board, ready.tools, wanted.detector, workdir, settings)
        runner.run(detector)
        _require(detector, workdir, [f"{steps.DETECTOR}.c", f"{steps.DETECTOR}_atonbuf.xSPI2.raw"])
    if ready.tools.objcopy is not None:
        runner.run(steps.weights_hex_command(ready.tools.objcopy, workdir))


def _fit(wanted: Wanted, ready: Ready, model: ModelFile, workdir: Path, runner: _Runner, command: Command) -> None:
    """Looks whether what was generated fits, and generates it again where it must be told how."""
    try:
        cost = read_folder(workdir)
    except ReportError as cause:
        raise ToolFailed(f"{command.title}: {cause}", argv=command.argv, code=0) from cause
    memory = weights.board_memory(wanted.board, ready.project.memory)
    placement = weights.place(cost.weights_bytes, cost.activations_bytes, memory, wanted.board.name)
    if not (placement.split_weights or placement.use_pools):
        return
    logger.info(
        "Generating again: %s",
        " and ".join(
            what
            for what, told in (
                ("weights over internal and external flash", placement.split_weights),
                ("activations over several memories", placement.use_pools),
            )
            if told
        ),
    )
    again = steps.generate_command(
        wanted.board,
        ready.tools,
        model.path,
        workdir,
        neural_art=None,
        optimization=wanted.optimization,
        split_weights=placement.split_weights,
        pools=memory.pools if placement.use_pools else None,
    )
    runner.run(again)
    if placement.split_weights:
        _dispatch(again, workdir, memory.internal_flash - memory.application)


def _dispatch(command: Command, workdir: Path, internal_bytes: int) -> None:
    for name in ("network_data_params.c", "network_data.c"):
        path = workdir / name
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        if "const ai_u" in source:
            with atomic_path(path) as temporary:
                temporary.write_text(weights.dispatch_weights(source, internal_bytes), encoding="utf-8")
            return
    raise ToolFailed(
        f"{command.title}: --split-weights made no arrays of weights in {workdir}", argv=command.argv, code=0
    )


def _require(command: Command, folder: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ToolFailed(
            f"{command.title}: the tool ended without error, but made no {', '.join(missing)}",
            argv=command.argv,
            code=0,
            hint=f"Its output is in {folder / LOG_FOLDER}.",
        )


def _write_header(wanted: Wanted, io: ModelIo, model: ModelFile, workdir: Path, app: ApplicationSettings) -> Path:
    name = model.path.name
    if wanted.is_n6:
        two_lines = wanted.board.name == "NUCLEO-N657X0-Q"
        path, text = header.APP_CONFIG, header.app_config(io, app, name, two_line_welcome=two_lines)
    else:
        interfaces = wanted.board.name == "NUCLEO-H743ZI2"
        text = header.ai_model_config(
            io,
            app,
            name,
            camera=wanted.camera if interfaces else None,
            display=wanted.output if interfaces else None,
        )
        path = header.AI_MODEL_CONFIG
    written = workdir / HEADER_FOLDER / path
    with atomic_path(written) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return written


def _build_and_sign(ready: Ready, workdir: Path, runner: _Runner) -> Path | None:
    configuration, tools = ready.configuration, ready.tools
    unsigned, signed = steps.signed_files(configuration)
    flashed = [written_file(argv, configuration.cwd) for argv in configuration.flash_application]
    results = [path for path in (unsigned, signed, *flashed) if path is not None]
    for path in results:  # of an earlier build: never to be taken for this one's
        path.unlink(missing_ok=True)
    for command in steps.build_commands(ready.built, tools, workdir):
        output = runner.run(command)
        if found := _NO_CONFIGURATION.search(output):
            raise ToolFailed(
                f"{command.title}: STM32CubeIDE says '{found[0]}': the project has no such build configuration",
                argv=command.argv,
                code=0,
                hint=f"Check cproject_name and cproject_config in {ready.project.path}.",
            )
    sign = steps.sign_command(configuration)
    built = unsigned if sign is not None else next(iter(results), None)
    if built is not None and not built.is_file():
        raise ToolFailed(
            f"Build the application ({configuration.name}): it ended without error, but there is no {built}",
            argv=runner.done[-1],
            code=0,
            hint=f"Its output is in {runner.logs}.",
        )
    if sign is not None:
        runner.run(sign)
        if signed is not None and not signed.is_file():
            raise ToolFailed(f"{sign.title}: it ended without error, but there is no {signed}", argv=sign.argv, code=0)
    return signed or built


def _check_files(flashing: Sequence[Command], configuration: Configuration) -> None:
    """Everything that will be written is there, before the first byte is."""
    files = [written_file(command.argv, configuration.cwd) for command in flashing]
    missing = [str(path) for path in files if path is not None and not path.is_file()]
    if missing:
        raise DataError(
            f"What is to be written to the board is not there: {', '.join(missing)}. Nothing was written.",
            hint="Check the flash commands and templates of the C project.",
        )


def _next_steps(wanted: Wanted) -> tuple[str, ...]:
    switches = BOOT_SWITCHES.get(wanted.board.name)
    if not wanted.flash_board:
        return ("The application is built; set deployment.flash_board: True to write it to the board.",)
    if switches is None:
        return ("Press the reset button of the board: it starts the new application.",)
    run = f"To run it: set {switches.running}, then switch the power off and on"
    return (
        f"{run} (USB-C to USB-C cable: other cables may not give enough current).",
        f"To program the board again: set {switches.programming}, then reset it.",
    )
