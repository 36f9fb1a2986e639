"""Going on with a training where it stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidfw_core.errors import DataError

if TYPE_CHECKING:
    from reidfw_core._keras.network import ReidNetwork
    from reidfw_core._keras.state import TrainingState
    from reidfw_core.config.sections import ModelSection, TrainingSection
    from reidfw_core.services.training import TrainInput

logger = logging.getLogger(__name__)

LAST_MODEL = "last_augmented_model.keras"
"""File with the newest state of a training, in ``general.saved_models_dir``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """Where a training goes on.

    Attributes:
        path: the file that holds it.
        state: everything that the next epoch depends on.
        network: the network as saved, with dropout and frozen layers as they were.
    """

    path: Path
    state: TrainingState
    network: ReidNetwork


def state_file(training: TrainingSection, model: ModelSection) -> Path | None:
    """The file that ``training.resume_training_from`` names, None where nothing is resumed.

    Raises:
        DataError: a folder without such a file.
    """
    given = training.resume_training_from
    if given is None or given is False:
        return None
    path = Path(str(model.model_path)) if given is True else Path(given)
    path = path.expanduser().absolute()
    if not path.is_dir():
        return path
    found = sorted(path.glob(f"**/{LAST_MODEL}"))
    if len(found) != 1:
        raise DataError(
            f"training.resume_training_from: {path} holds {len(found)} files {LAST_MODEL}, one is needed",
            hint="Give the path of the file itself." if found else "No epoch of that run was finished; start it anew.",
        )
    return found[0]


def check_resume_point(training: TrainingSection, model: ModelSection) -> Mapping[str, Any] | None:
    """Reads the facts of the saved state, before anything else is done.

    Returns:
        The facts, None where nothing is resumed.

    Raises:
        DataError: the file is missing, damaged, holds no state, or its training is over.
    """
    path = state_file(training, model)
    if path is None:
        return None
    from reidfw_core._keras.state import read_facts

    facts = read_facts(path)
    if facts["epoch"] >= training.epochs:
        raise DataError(
            f"{path} has {facts['epoch']} epochs done, and training.epochs is {training.epochs}: nothing is left to do",
            hint="epochs counts from the beginning of the training; raise it to train on.",
        )
    if facts["finished"]:
        logger.warning(
            "That training had been ended after epoch %d by %s; it goes on now", facts["epoch"], facts["finished"]
        )
    return facts


def open_resume_point(inp: TrainInput) -> ResumePoint | None:
    """Loads the network and the state to go on with.

    Raises:
        DataError: the file is damaged, or it belongs to a training of other identities.
    """
    path = state_file(inp.training, inp.model)
    if path is None:
        return None
    from reidfw_core._keras.files import load_keras_file
    from reidfw_core._keras.network import network_of_augmented_model
    from reidfw_core._keras.state import read_state

    check_resume_point(inp.training, inp.model)
    state = read_state(path)
    names = list(inp.data.train.identity_names)
    if state.facts["identities"] != names:
        absent = sorted(set(state.facts["identities"]) - set(names))[:3]
        new = sorted(set(names) - set(state.facts["identities"]))[:3]
        differences = [f"without {', '.join(absent)}" if absent else "", f"with {', '.join(new)}" if new else ""]
        raise DataError(
            f"{path} was trained on other identities: {len(state.facts['identities'])} of them, now there are "
            f"{len(names)} ({'; '.join(filter(None, differences))})",
            hint="Resume with the same training set; to train on another one, give the model as model.model_path.",
        )
    if state.facts["num_images"] != len(inp.data.train):
        logger.warning(
            "The training set had %d images when the training was begun, now it has %d: it does not go on exactly. A "
            "validation set that dataset.validation_split makes is another one too, and earlier scores, the best one "
            "among them, do not compare",
            state.facts["num_images"],
            len(inp.data.train),
        )
    _check_model(inp, state, path)
    network = network_of_augmented_model(load_keras_file(path))
    logger.info("The training goes on after epoch %d of %s", state.epoch, path)
    for name, now in _kept_settings(inp).items():
        before = state.facts["settings"].get(name)
        if before != now:
            logger.warning("training.%s is %s now; the resumed training keeps %s", name, now, before)
    return ResumePoint(path=path, state=state, network=network)


def model_name(inp: TrainInput) -> str | None:
    """The backbone that is trained, None where it is a model of the user's."""
    return inp.backbone.name if inp.backbone is not None else None


def _check_model(inp: TrainInput, state: TrainingState, path: Path) -> None:
    before, now = state.facts.get("model"), model_name(inp)
    if before is not None and now is not None and before != now:
        raise DataError(
            f"{path} is a training of {before}, but model.model_name is {now}",
            hint=f"Resume with model.model_name: {before}, or start a training of {now} anew.",
        )


def _kept_settings(inp: TrainInput) -> dict[str, Any]:
    """Settings that are part of the saved state: the file's hold, whatever the configuration says now."""
    training = inp.training
    settings = {
        "optimizer": {"name": training.optimizer.name, "arguments": dict(training.optimizer.arguments)},
        "dropout": training.dropout,
        "frozen_layers": [str(place) for place in training.frozen_layers],
        "gradient_accumulation": training.gradient_accumulation,
        "gradient_clip_norm": training.gradient_clip_norm,
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))  # as they come back from the file
    return plain


def settings_to_keep(inp: TrainInput, resumed: ResumePoint | None) -> dict[str, Any]:
    """The settings to note in the state: those of the resumed training, else the configuration's."""
    return _kept_settings(inp) if resumed is None else dict(resumed.state.facts["settings"])
