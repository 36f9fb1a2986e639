"""The complete state of a training, kept inside ``last_augmented_model.keras``, so that one file is enough to go on.

A ``.keras`` file is a zip archive; Keras reads its own members and ignores ours.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.errors import DataError

FACTS_MEMBER = "reidfw/training_state.json"
ARRAYS_MEMBER = "reidfw/training_state.npz"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """Everything that the next epoch depends on, beside the configuration and the images.

    Attributes:
        facts: JSON-able: ``epoch`` (epochs done), ``history``, ``identities``, ``optimizer``, and more.
        arrays: groups of arrays (``network``, ``averages``, ``optimizer`` ...), each in the order of its variables.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, Sequence[NDArray[Any]]] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return int(self.facts["epoch"])


def add_state(archive: Path, state: TrainingState) -> None:
    """Puts a state into an existing ``.keras`` file."""
    stream = io.BytesIO()
    named = {
        f"{group}/{place:05d}": array for group, items in state.arrays.items() for place, array in enumerate(items)
    }
    np.savez(stream, allow_pickle=False, **named)
    facts = {"version": VERSION, **state.facts, "groups": {group: len(items) for group, items in state.arrays.items()}}
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(ARRAYS_MEMBER, stream.getvalue())
        file.writestr(FACTS_MEMBER, json.dumps(facts))


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a state alone; cheap.

    Raises:
        DataError: the file is missing, damaged, or holds no state.
    """
    with _opened(path) as file:
        return _facts(file, path)


def read_state(path: Path) -> TrainingState:
    """Reads the state inside a ``last_augmented_model.keras``.

    Raises:
        DataError: the file is missing, damaged, or holds no state.
    """
    with _opened(path) as file:
        facts = _facts(file, path)
        try:
            with np.load(io.BytesIO(file.read(ARRAYS_MEMBER)), allow_pickle=False) as stored:
                arrays = {
                    group: [stored[f"{group}/{place:05d}"] for place in range(count)]
                    for group, count in facts["groups"].items()
                }
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as cause:
            raise _damaged(path) from cause
    return TrainingState(facts=facts, arrays=arrays)


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise DataError(f"There is no file {path} to resume the training from")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as cause:
        raise _damaged(path) from cause


def _facts(file: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    if FACTS_MEMBER not in file.namelist():
        sibling = path.with_name("last_augmented_model.keras")
        beside = f" (there is one: {sibling})" if sibling.is_file() and sibling != path else ""
        raise DataError(
            f"{path} holds no state of a training, so that it cannot be resumed from it",
            hint=f"Give the last_augmented_model.keras of a training{beside}; to train a model further without its "
            "optimizer's state, give it as model.model_path alone.",
        )
    try:
        facts: dict[str, Any] = json.loads(file.read(FACTS_MEMBER))
    except (ValueError, OSError, zipfile.BadZipFile) as cause:
        raise _damaged(path) from cause
    if facts.get("version") != VERSION:
        raise DataError(f"{path} was written by another version of reidfw (state {facts.get('version')})")
    return facts


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} cannot be read: it is no .keras file, or it is cut off or damaged",
        hint="Give a complete last_augmented_model.keras; it is written whole at the end of each epoch.",
    )
