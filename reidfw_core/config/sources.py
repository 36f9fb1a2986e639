"""Where each value of a configuration was written, so that every complaint names file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reidfw_core.errors import Problem, nearest_match

TreePath = tuple[str | int, ...]
"""The way from the top of a configuration to a value: attribute names, and places in lists counted from 0."""

COMMAND_LINE = "command line"


def dotted(path: TreePath) -> str:
    """A path as people write it: ``training.losses[0].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attribute stands.

    Attributes:
        file: the file as the user named it, or ``command line``.
        line: counted from 1, None on the command line.
        text: the value as it was written, None where it is no single value.
    """

    file: str
    line: int | None = None
    text: str | None = None

    @property
    def is_command_line(self) -> bool:
        """Whether an override brought the value."""
        return self.file == COMMAND_LINE


@dataclass(frozen=True, slots=True)
class SourceMap:
    """The places of all attributes.

    Attributes:
        file: the configuration file, for complaints on the whole of it.
        places: by path.
    """

    file: str
    places: Mapping[TreePath, Place] = field(default_factory=dict)

    def place(self, path: TreePath) -> Place:
        """The place of an attribute, or of the nearest one around it."""
        if path and path not in self.places:
            for below, place in self.places.items():
                if below[: len(path)] == path:
                    return place  # an override named only something below it
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return Place(self.file)

    def text(self, path: TreePath) -> str | None:
        """The value as it was written, None where that is not known."""
        place = self.places.get(path)
        return place.text if place else None

    def replaced(self, places: Mapping[TreePath, Place]) -> SourceMap:
        """With these places added, or put for those below the same path."""
        kept = {
            path: place for path, place in self.places.items() if not any(path[: len(new)] == new for new in places)
        }
        return replace(self, places={**kept, **places})

    def moved(self, old: TreePath, new: TreePath) -> SourceMap:
        """With everything at and below ``old`` at and below ``new``."""
        return replace(
            self,
            places={
                (*new, *path[len(old) :]) if path[: len(old)] == old else path: place
                for path, place in self.places.items()
            },
        )

    def copied(self, old: TreePath, new: TreePath) -> SourceMap:
        """With everything at and below ``old`` at and below ``new`` too."""
        copies = {(*new, *path[len(old) :]): place for path, place in self.places.items() if path[: len(old)] == old}
        return replace(self, places={**self.places, **copies})

    def problem(
        self,
        path: TreePath,
        message: str,
        *,
        allowed: Iterable[str] | str | None = None,
        given: str | None = None,
    ) -> Problem:
        """A problem at an attribute's place.

        Args:
            path: the attribute; empty for the whole file.
            message: what is wrong.
            allowed: what would be right: names, or a sentence.
            given: what was written, for the nearest of the allowed names.
        """
        names = None if allowed is None or isinstance(allowed, str) else list(allowed)
        place = self.place(path)
        return Problem(
            where=dotted(path),
            message=message,
            allowed=allowed if isinstance(allowed, str) else ", ".join(names) if names else None,
            nearest=nearest_match(given, names) if given is not None and names else None,
            file=place.file,
            line=place.line,
        )
