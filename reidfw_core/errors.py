"""Every error that reidfw raises on purpose.

Each class carries a message (what is wrong, where, what is allowed), an optional ``hint`` (what to do)
and the ``exit_code`` with which the command line ends:

==== ==========================================================================================
code meaning
==== ==========================================================================================
1    a bug of reidfw itself (the traceback is shown)
2    bad input: configuration, plan, data, command line
3    the surroundings: a broken plugin, a missing tool, a board, a full disk
4    a component failed inside a step (:class:`StepError`)
130  interrupted with Ctrl-C
==== ==========================================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def nearest_match(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name most like ``name`` (case and ``-``/``_`` ignored), or None if none is alike."""
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in allowed}
    wanted = name.lower().replace("-", "_")

    def likeness(candidate: str) -> float:  # of two equally like names, the one of like length was meant
        longest = max(len(candidate), len(wanted))
        ratio = difflib.SequenceMatcher(None, wanted, candidate).ratio()
        return ratio - 0.3 * abs(len(candidate) - len(wanted)) / longest

    matches = difflib.get_close_matches(wanted, list(folded), n=5, cutoff=0.6)
    return folded[max(matches, key=likeness)] if matches else None


class ReidfwError(Exception):
    """Base of all errors that reidfw raises on purpose.

    Args:
        message: what is wrong and where; shown as it is.
        hint: what the user can do about it; shown below the message.
    """

    exit_code: int = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with an input, so that all of them can be shown at once.

    Attributes:
        where: dotted attribute, for example ``training.optimizer``; empty for the whole file.
        message: what is wrong.
        allowed: what would be right, as short text.
        nearest: the allowed name nearest to the one given.
        file: the file it stands in, as text.
        line: line in that file, counted from 1.
    """

    where: str
    message: str
    allowed: str | None = None
    nearest: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        text = ": ".join(part for part in (place, self.where, self.message) if part)
        if self.nearest:
            text += f" (did you mean '{self.nearest}'?)"
        if self.allowed:
            text += f"\n    allowed: {self.allowed}"
        return text


class ConfigError(ReidfwError):
    """One or more faults in a configuration file or in the overrides given beside it."""

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"The configuration has {count}:\n{lines}", hint=hint)


class PlanError(ReidfwError):
    """The steps of the operation mode do not fit together, or an input of one of them is missing."""


class DataError(ReidfwError):
    """A data set, an image or a model file given by the user is not what the step needs."""


class PluginNotFound(ReidfwError):
    """No installed distribution registers a component of this kind and name."""


class PluginConflict(ReidfwError):
    """Several installed distributions register a component of this kind and name."""


class PluginBroken(ReidfwError):
    """A component cannot be imported, or does not keep the contract of its kind."""

    exit_code = 3


class PluginIncompatible(ReidfwError):
    """The distribution of a component asks for another version of reidfw-core."""

    exit_code = 3


class ToolNotFound(ReidfwError):
    """An external program or an optional Python package that the step needs is not installed."""

    exit_code = 3


class ToolFailed(ReidfwError):
    """An external program ended with an error.

    Attributes:
        argv: the command line.
        code: its exit status, None where it ran past its time limit.
    """

    exit_code = 3

    def __init__(self, message: str, *, argv: Sequence[str], code: int | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.argv = tuple(argv)
        self.code = code


class ServiceError(ReidfwError):
    """A remote service (cloud, tracking server, download) refused or did not answer."""

    exit_code = 3


class BoardNotFound(ReidfwError):
    """No board answers on the given connection."""

    exit_code = 3


class BoardFailed(ReidfwError):
    """A connected board refused, stopped answering, or answered something else than its protocol says."""

    exit_code = 3


class DoesNotFit(ReidfwError):
    """The model needs more memory than the board has."""

    exit_code = 3


class StorageError(ReidfwError):
    """A file or folder cannot be written: no permission, no space left, a read-only medium."""

    exit_code = 3


class StepError(ReidfwError):
    """A component raised something unexpected inside a step; the cause is chained with ``from``."""

    exit_code = 4
