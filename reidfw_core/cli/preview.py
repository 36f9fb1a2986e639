"""``reidfw preview``: the learning rate and the augmentation of a configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.catalog import Catalog
from reidfw_core.chatter import native_stderr_to_log
from reidfw_core.cli.logs import logging_to_screen
from reidfw_core.cli.render import aligned, screen, show_warnings
from reidfw_core.cli.run import choose_config
from reidfw_core.errors import DataError

if TYPE_CHECKING:
    from reidfw_core.config import Configuration
    from reidfw_core.config.sections import TrainingSection

logger = logging.getLogger(__name__)

ROWS_SHOWN = 24
"""Rates printed at most; the picture has all of them."""


def learning_rate(arguments: Sequence[str], output: Path) -> None:
    """Draws the learning rate of each epoch, and prints where it changes."""
    from reidfw_core.figures.preview import draw_learning_rate
    from reidfw_core.services.previews import planned_rates

    configuration = _read(arguments, check_paths=False)
    training = _training(configuration)
    places, rates = planned_rates(training)
    name = next((name for name in training.callbacks if name.startswith(("LR", "Learning"))), "constant rate")
    draw_learning_rate(places, rates, f"{name}, {training.epochs} epochs, {training.optimizer.name}", output)
    whole = [(place, rate) for place, rate in zip(places[:-1], rates[:-1], strict=True) if place == int(place)]
    rows = [(f"{place:g}", f"{rate:.3g}") for place, rate in whole]
    changes = [row for number, row in enumerate(rows) if number == 0 or row[1] != rows[number - 1][1]]
    shown = changes if len(changes) <= ROWS_SHOWN else [*changes[: ROWS_SHOWN - 1], changes[-1]]
    screen().print(aligned("learning rate", ("from epoch", "rate"), shown))
    if len(changes) > ROWS_SHOWN:
        screen().print(f"[dim]{len(changes) - ROWS_SHOWN} changes before the last one are left out[/]")
    screen().print(f"Wrote {output}", soft_wrap=True)


def augmentation(arguments: Sequence[str], output: Path, *, images: int, variants: int) -> None:
    """Writes a sheet of training images before and after augmentation."""
    from reidfw_core.bus import HookBus
    from reidfw_core.context import seed_of
    from reidfw_core.figures.preview import draw_augmentation_sheet
    from reidfw_core.imaging.spec import image_spec
    from reidfw_core.run.runner import open_bus
    from reidfw_core.run.setup import import_frameworks
    from reidfw_core.services.previews import augmented_variants
    from reidfw_core.services.training import augmentation_layers

    configuration = _read(arguments, check_paths=True)
    _training(configuration)
    config, components = configuration.config, configuration.components
    if not components.augmentations:
        raise DataError(
            "The configuration has neither data_augmentation nor custom_data_augmentation: images are not changed"
        )
    if config.model.input_shape is None or config.preprocessing is None:
        raise DataError("model.input_shape and preprocessing are needed to know the size of the images")
    assert components.reader is not None
    bus: HookBus = open_bus(configuration)
    import_frameworks(config.general)
    folder = config.dataset.training_path
    root = Path(folder).expanduser().absolute() if folder and components.reader.component.needs_paths else None
    samples = bus.ask(components.reader.component, "read_samples", root=root, role="training")
    seed = config.general.global_seed
    chosen = np.random.default_rng(seed).permutation(len(samples))[:images]
    paths = [samples.paths[int(place)] for place in sorted(chosen)]
    spec = image_spec(config.preprocessing, config.model.input_shape)
    layers = augmentation_layers(components.augmentations, spec, bus, lambda purpose: seed_of(seed, purpose), 1)
    with native_stderr_to_log(logger):
        originals, drawn = augmented_variants(paths, spec, layers, variants, seed_of(seed, "augmentation"))
    title = ", ".join(bound.name for bound in components.augmentations)
    draw_augmentation_sheet(originals, drawn, [path.name for path in paths], title, output)
    screen().print(f"Wrote {output}: {len(paths)} images, each with {variants} draws", soft_wrap=True)


def _read(arguments: Sequence[str], *, check_paths: bool) -> Configuration:
    from reidfw_core.config import read_config

    choice = choose_config(arguments, None, None)
    with logging_to_screen():
        configuration = read_config(choice.path, choice.overrides, Catalog(), check_paths=check_paths)
        show_warnings(configuration.warnings)
    return configuration


def _training(configuration: Configuration) -> TrainingSection:
    training = configuration.config.training
    if training is None:
        raise DataError(f"operation_mode {configuration.config.operation_mode} trains nothing: nothing to preview")
    return training
