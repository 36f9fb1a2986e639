"""Command lines as values: shown by a dry run, and run one after the other until the first failure."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reidfw_core.api import CommandLine, Progress, ToolFailed, no_progress
from reidfw_targets.processes import Finished, run_logged

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program to run.

    Attributes:
        title: what it does, for people, for example ``Build the application``.
        argv: the program and its arguments.
        timeout_s: seconds that it may take.
        cwd: the folder it runs in.
        environment: variables that it gets beside ours.
        note: what to know about it in a dry run.
    """

    title: str
    argv: tuple[str, ...]
    timeout_s: float
    cwd: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None

    @property
    def line(self) -> CommandLine:
        """What a dry run shows of it."""
        return CommandLine(title=self.title, argv=self.argv, cwd=self.cwd, note=self.note)


def run_command(
    command: Command, log: Path | None, *, verbose: bool = False, progress: Progress = no_progress
) -> Finished:
    """Runs a program to its end; its output goes to the log, if there is one, and with ``verbose`` to the screen too.

    ``progress`` is told the seconds that it takes.

    Raises:
        ToolNotFound: it cannot be started.
        ToolFailed: it failed; the message says in which step, and holds its last lines.
        StorageError: the log cannot be written.
    """
    logger.info("%s ...", command.title)
    try:
        with progress(command.title, 0, "s") as tick:
            return run_logged(
                command.argv,
                timeout_s=command.timeout_s,
                log=log,
                cwd=command.cwd,
                environment=command.environment,
                on_line=logger.info if verbose else logger.debug,
                on_tick=tick,
            )
    except ToolFailed as cause:
        raise ToolFailed(
            f"{command.title}: {cause.message}", argv=cause.argv, code=cause.code, hint=cause.hint
        ) from cause
