"""Running other people's programs: output streamed to a log, a time limit, and errors that show their last lines."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reidfw_core.api import StorageError, ToolFailed, ToolNotFound

logger = logging.getLogger(__name__)

LAST_LINES = 15
"""How many of a program's last lines an error shows."""

_TICK_S = 1.0
"""Seconds between two calls of ``on_tick``."""

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What programs print to colour a terminal, some of them into files too."""

_LONGEST = 400
"""Characters of a line that an error shows."""

_GRACE_S = 5.0
"""Seconds to wait for the output of a program that has ended, or was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended with status 0.

    Attributes:
        argv: its command line.
        output: all that it printed, both streams together.
    """

    argv: tuple[str, ...]
    output: str


def run_logged(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    log: Path | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[int], None] | None = None,
) -> Finished:
    """Runs a program to its end.

    It gets no standard input, so it can wait for nobody. It and all that it starts are ended when the time is over,
    and when this program is interrupted (Ctrl-C).

    Args:
        argv: the program and its arguments; no shell is involved.
        timeout_s: seconds after which it is stopped.
        log: file to which command line and output are added line by line, as they come.
        cwd: folder to run it in.
        environment: variables that it gets beside those of this process.
        on_line: called with each line, without its end and without colours.
        on_tick: called about every second with the seconds since the start.

    Raises:
        ToolNotFound: it cannot be started.
        ToolFailed: it ended with another status than 0, by a signal, or ran past its time.
        StorageError: the log cannot be written.
    """
    command = [str(part) for part in argv]
    lines: list[str] = []
    with _log_file(log) as file:
        _write(file, f"$ {shlex.join(command)}", log)
        process = _start(command, cwd, environment)
        fault: list[StorageError] = []

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                text = _readable(line.rstrip("\r\n"))
                lines.append(text)
                if not fault:
                    try:
                        _write(file, text, log)
                    except StorageError as cause:
                        fault.append(cause)  # go on reading: a full pipe would block the program
                if on_line is not None:
                    on_line(text)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            code = _wait(process, timeout_s, on_tick)
        except subprocess.TimeoutExpired:
            _stop(process)
            reader.join(_GRACE_S)
            raise ToolFailed(
                _with_last(f"{_name(command)} did not end within {timeout_s:g} s and was stopped", lines, log),
                argv=command,
                code=None,
            ) from None
        except BaseException:  # Ctrl-C above all: leave nothing running behind
            _stop(process)
            raise
        reader.join(_GRACE_S)
        if reader.is_alive():  # something that it started holds the pipe
            _stop(process)
            reader.join(_GRACE_S)
    if fault:
        raise fault[0]
    if code != 0:
        raise ToolFailed(_with_last(f"{_name(command)} {_ending(code)}", lines, log), argv=command, code=code)
    return Finished(argv=tuple(command), output="\n".join(lines))


def _wait(process: subprocess.Popen[str], timeout_s: float, on_tick: Callable[[int], None] | None) -> int:
    """The status with which a program ends. Raises TimeoutExpired."""
    if on_tick is None:
        return process.wait(timeout_s)
    started = time.monotonic()
    while True:
        passed = time.monotonic() - started
        try:
            return process.wait(min(_TICK_S, max(timeout_s - passed, 0.0)))
        except subprocess.TimeoutExpired:
            if time.monotonic() - started >= timeout_s:
                raise
            on_tick(int(time.monotonic() - started))


def tail(lines: Sequence[str], count: int = LAST_LINES) -> str:
    """The last lines that hold something, indented for an error message."""
    kept = deque((line for line in lines if line.strip()), maxlen=count)
    return "\n".join(f"    {line[:_LONGEST]}{'...' if len(line) > _LONGEST else ''}" for line in kept)


def last_words(lines: Sequence[str]) -> str:
    """What a program printed last, as the end of a sentence on it."""
    shown = tail(lines)
    return f"Its last lines:\n{shown}" if shown else "It printed nothing."


def _readable(line: str) -> str:
    """A line without colours and without bytes that would upset a terminal."""
    plain = _COLOURS.sub("", line)
    return plain if plain.isprintable() else "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in plain)


def _with_last(message: str, lines: Sequence[str], log: Path | None) -> str:
    text = f"{message}. {last_words(lines)}"
    return f"{text}\n  All of its output: {log}" if log is not None and tail(lines) else text


def _name(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:2]])


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with status {code}"
    try:
        return f"was ended by the signal {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by the signal {-code}"


def _start(command: Sequence[str], cwd: Path | None, environment: Mapping[str, str] | None) -> subprocess.Popen[str]:
    group: dict[str, object] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined,unused-ignore]
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    try:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # noqa: S603 (a list, no shell)
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            **group,
        )
    except OSError as cause:
        raise ToolNotFound(
            f"{command[0]} cannot be started: {cause.strerror or cause}",
            hint="Give the path of a program for this computer that you may execute.",
        ) from cause


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends a program and what it started; first asks, then kills."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            taskkill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]  # ends the whole tree
            subprocess.run(taskkill, capture_output=True, check=False)  # noqa: S603 (a list, no shell)
        else:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)


@contextlib.contextmanager
def _log_file(log: Path | None) -> Iterator[IO[str] | None]:
    if log is None:
        yield None
        return
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("a", encoding="utf-8")
    except OSError as cause:
        raise StorageError(f"Cannot write {log}: {cause.strerror or cause}") from cause
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):  # told already where the lines could not be written
            file.close()


def _write(file: IO[str] | None, line: str, log: Path | None) -> None:
    if file is None:
        return
    try:
        file.write(f"{line}\n")
        file.flush()
    except OSError as cause:
        raise StorageError(
            f"Cannot write {log}: {cause.strerror or cause}", hint="Free some space, or choose another run folder."
        ) from cause
