"""Writing to a board: which probe, the exact command lines, and what state the board is in where writing stops."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reidfw_core.api import BoardNotFound, Progress, ReidfwError, ToolFailed, no_progress
from reidfw_targets.commands import Command, run_command
from reidfw_targets.processes import tail

logger = logging.getLogger(__name__)

LIST_TIMEOUT_S = 60.0
FLASH_TIMEOUT_S = 900.0

UNKNOWN_SERIAL = "<serial number>"
"""Stands in a dry run for the probe that the run itself will find."""

_WRITES = ("-w", "--write", "-d", "--download")
_SERIAL = re.compile(r"ST-?LINK SN\s*:\s*(\S+)", re.IGNORECASE)
_LISTED_BOARD = re.compile(r"Board Name\s*:\s*(\S.*)", re.IGNORECASE)
_CONNECTED_BOARD = re.compile(r"^\s*Board(?: Name)?\s*:\s*(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_ERROR = re.compile(r"^(?!.*\b(?:no|0) errors?\b).*\berrors?\b.*$", re.IGNORECASE | re.MULTILINE)
_NO_NAME = ("--", "-", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSwitches:
    """Where the boot switches of a board go for programming, and for running what was programmed."""

    programming: str
    running: str


BOOT_SWITCHES = {
    "STM32N6570-DK": BootSwitches(
        programming="both boot switches to the right", running="both boot switches to the left"
    ),
    "NUCLEO-N657X0-Q": BootSwitches(
        programming="BOOT0 to position 1 and BOOT1 to position 2", running="BOOT0 and BOOT1 to position 1"
    ),
}
"""Boards that start from external flash only with their switches set; others need nothing.

Source: documentation of ST's STM32N6 re-identification application.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An ST-LINK probe: its serial number, and the board it sits on where it tells."""

    serial: str
    board: str | None


def list_command(programmer: Path) -> Command:
    """Lists the connected probes."""
    return Command(title="List the ST-LINK probes", argv=(str(programmer), "--list"), timeout_s=LIST_TIMEOUT_S)


def connect_command(programmer: Path, serial: str) -> Command:
    """Connects to a board only to read its name."""
    return Command(
        title=f"Read the board's name through probe {serial}",
        argv=(str(programmer), "-c", "port=swd", f"sn={serial}", "mode=HOTPLUG"),
        timeout_s=LIST_TIMEOUT_S,
    )


def parse_probes(output: str) -> tuple[Probe, ...]:
    """The probes in what ``--list`` prints, each once."""
    found: dict[str, Probe] = {}
    for part in re.split(r"ST-?Link Probe\s+\d+", output, flags=re.IGNORECASE):
        serial = _SERIAL.search(part)
        if serial is not None:
            board = _LISTED_BOARD.search(part)
            name = board[1].strip() if board is not None else ""
            found.setdefault(serial[1], Probe(serial=serial[1], board=None if name in _NO_NAME else name))
    return tuple(found.values())


def find_probe(programmer: Path, board: str, wanted: str | None, log: Path | None) -> Probe:
    """The probe to write through. One whose board's name cannot be read does not disturb another on the right board.

    Args:
        programmer: STM32_Programmer_CLI.
        board: the board's name.
        wanted: serial number of the probe; None takes the only one on such a board.
        log: file for the programmer's output; None for none.

    Raises:
        BoardNotFound: there is no probe, not the wanted one, none on such a board, or several.
        ToolFailed: the programmer fails, or cannot read the board's name through the only probe.
    """
    probes = parse_probes(run_command(list_command(programmer), log).output)
    if not probes:
        raise BoardNotFound(
            "No ST-LINK probe is connected",
            hint="Connect the board to its ST-LINK USB connector; on Linux, install ST's udev rules. "
            "deployment.flash_board: False builds without a board.",
        )
    listed = ", ".join(f"{probe.serial} ({probe.board or 'board unknown'})" for probe in probes)
    if wanted is not None:
        probes = tuple(probe for probe in probes if probe.serial.lower() == wanted.lower())
        if not probes:
            raise BoardNotFound(
                f"No ST-LINK probe has the serial number {wanted}; connected: {listed}",
                hint="Correct deployment.hardware_setup.stlink_serial_number.",
            )
    named = []
    for probe in probes:
        try:
            named.append(probe if probe.board else _with_name(programmer, probe, log))
        except ToolFailed as cause:
            if len(probes) == 1:
                raise
            logger.warning(
                "The name of the board on ST-LINK probe %s cannot be read: %s",
                probe.serial,
                cause.message.splitlines()[0],
            )
            named.append(probe)
    fitting = [probe for probe in named if probe.board is not None and _same_board(probe.board, board)]
    if not fitting:
        told = ", ".join(f"{probe.serial} on {probe.board or 'a board that tells no name'}" for probe in named)
        raise BoardNotFound(
            f"No {board} is connected, but: {told}",
            hint="Connect it, correct deployment.hardware_setup.board, or name its probe in "
            "deployment.hardware_setup.stlink_serial_number. Nothing was written to any board.",
        )
    if len(fitting) > 1:
        raise BoardNotFound(
            f"{len(fitting)} boards {board} are connected: {', '.join(probe.serial for probe in fitting)}",
            hint="Name one in deployment.hardware_setup.stlink_serial_number.",
        )
    return fitting[0]


def flash_argv(argv: Sequence[str], serial: str, loader: Path | None) -> tuple[str, ...]:
    """A flash command of the C project with probe and external loader put in, and without ``-hardRst``.

    Args:
        argv: the command.
        serial: serial number of the probe.
        loader: the external loader; None for a board without.
    """
    parts = [part for part in argv if part != "-hardRst"]
    port = next((number for number, part in enumerate(parts) if part.lower().startswith("port=")), None)
    if port is not None:
        parts.insert(port + 1, f"sn={serial}")
    if loader is not None:
        write = next((number for number, part in enumerate(parts) if part in _WRITES), len(parts))
        parts[write:write] = ["--extload", str(loader)]
    return tuple(parts)


def written_file(argv: Sequence[str], cwd: Path) -> Path | None:
    """The file that a flash command writes; None where it names none."""
    for number, part in enumerate(argv[:-1]):
        if part in _WRITES:
            return cwd / argv[number + 1]
    return None


def written_place(argv: Sequence[str]) -> str:
    """The address that a flash command writes to, or the file, which knows it itself."""
    for number, part in enumerate(argv[:-1]):
        if part in _WRITES:
            following = argv[number + 2] if number + 2 < len(argv) else ""
            return following if following.lower().startswith("0x") else Path(argv[number + 1]).name
    return "the board"


def flash(
    commands: Sequence[Command], board: str, log: Path, *, verbose: bool = False, progress: Progress = no_progress
) -> None:
    """Writes to the board, one command after the other, until the first failure; ``progress`` is told of each.

    Raises:
        ToolFailed: the programmer failed or printed an error; the message says what state the board is in.
        KeyboardInterrupt: Ctrl-C; its text says what state the board is in.
    """
    for number, command in enumerate(commands):
        try:
            done = run_command(command, log, verbose=verbose, progress=progress)
            fault = _ERROR.search(done.output)
            if fault is not None:
                raise ToolFailed(
                    f"{command.title}: the programmer says: {fault[0].strip()}\n{tail(done.output.splitlines())}",
                    argv=command.argv,
                    code=0,
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(board_state(commands, number, board)) from None
        except ToolFailed as cause:
            state = board_state(commands, number, board)
            raise ToolFailed(
                f"{cause.message}\n{state}", argv=cause.argv, code=cause.code, hint=cause.hint or f"Log: {log}"
            ) from cause
        except ReidfwError as cause:
            raise type(cause)(f"{cause.message}\n{board_state(commands, number, board)}", hint=cause.hint) from cause


def board_state(commands: Sequence[Command], stopped: int, board: str) -> str:
    """What is on the board after the command number ``stopped`` (from 0) did not end well."""
    titles = [command.title.removeprefix("Write the ") for command in commands]
    parts = [f"written: {', '.join(titles[:stopped])}"] if stopped else []
    parts.append(f"perhaps half written: {titles[stopped]}")
    if titles[stopped + 1 :]:
        parts.append(f"not written: {', '.join(titles[stopped + 1 :])}")
    switches = BOOT_SWITCHES.get(board)
    again = f"set {switches.programming}, reset it" if switches else "reset it"
    return (
        f"State of the {board}: {'; '.join(parts)}. Do not use it like this; it is not damaged: {again}, and "
        "deploy again."
    )


def _with_name(programmer: Path, probe: Probe, log: Path | None) -> Probe:
    found = _CONNECTED_BOARD.search(run_command(connect_command(programmer, probe.serial), log).output)
    return probe if found is None or found[1] in _NO_NAME else replace(probe, board=found[1])


def _same_board(told: str, wanted: str) -> bool:
    """Whether a name that a probe tells is that of a board; probes write ``NUCLEO-N657X0-Q`` or ``STM32N6570-DK``."""
    return re.sub(r"[^a-z0-9]", "", told.lower()) == re.sub(r"[^a-z0-9]", "", wanted.lower())
