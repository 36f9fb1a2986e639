"""What a configuration will do, before it is run: the learning rate of each epoch, and augmented images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.config.expressions import is_lambda, parse_lambda
from reidfw_core.errors import DataError
from reidfw_core.schedules import SCHEDULES, build_schedule, warmed_up

if TYPE_CHECKING:
    from reidfw_core.config.sections import TrainingSection
    from reidfw_core.imaging.spec import ImageSpec

STEPS_SHOWN = 20
"""Points drawn for each epoch that warms up."""


def planned_rates(training: TrainingSection) -> tuple[list[float], list[float]]:
    """The learning rate that ``training`` asks for.

    Returns:
        Places (epochs, counted from 1, with fractions while the rate warms up) and rates.

    Raises:
        DataError: the rate depends on how the training goes (``ReduceLROnPlateau``), or a schedule is wrong.
    """
    initial = _initial_rate(training)
    rate_of = _rate_function(training, initial)
    places: list[float] = []
    rates: list[float] = []
    current = initial
    for epoch in range(training.epochs):
        current = rate_of(epoch, current)
        warming = epoch < training.warmup_epochs
        for step in range(STEPS_SHOWN if warming else 1):
            places.append(epoch + 1 + step / STEPS_SHOWN)
            done, length = epoch * STEPS_SHOWN + step, round(training.warmup_epochs * STEPS_SHOWN)
            rates.append(warmed_up(current, done, length) if warming else current)
    places.append(training.epochs + 1.0)
    rates.append(rates[-1])
    return places, rates


def _initial_rate(training: TrainingSection) -> float:
    given = training.optimizer.arguments.get("learning_rate")
    if isinstance(given, int | float):
        return float(given)
    return 0.01 if training.optimizer.name.lower() == "sgd" else 0.001


def _rate_function(training: TrainingSection, initial: float) -> Callable[[int, float], float]:
    callbacks = training.callbacks
    if "ReduceLROnPlateau" in callbacks:
        raise DataError(
            "ReduceLROnPlateau lowers the learning rate when a metric no longer improves: it cannot be drawn before "
            "the training",
            hint="After a training, logs/metrics/train_metrics.csv has the rate of each epoch.",
        )
    given = [name for name in callbacks if name in SCHEDULES or name == "LearningRateScheduler"]
    if len(given) > 1:
        raise DataError(f"training.callbacks: at most one learning rate scheduler is allowed, got {', '.join(given)}")
    if not given:
        return lambda *_: initial
    arguments: dict[str, Any] = dict(callbacks[given[0]] or {})
    if given[0] in SCHEDULES:
        schedule = build_schedule(given[0], arguments)
        return lambda epoch, _: schedule.rate(epoch)
    text = arguments.get("schedule")
    if not is_lambda(text):
        raise DataError("training.callbacks.LearningRateScheduler: the argument 'schedule' is a lambda of the epoch")
    function = parse_lambda(str(text))
    try:
        function(0, initial)
    except TypeError:
        return lambda epoch, _: float(function(epoch))
    return lambda epoch, current: float(function(epoch, current))


def augmented_variants(
    paths: Sequence[Path], spec: ImageSpec, layers: Sequence[Any], variants: int, seed: int
) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """Some images as the network gets them, and what augmentation makes of them.

    Args:
        paths: image files, N of them.
        spec: resizing and rescaling.
        layers: augmentation layers in their order.
        variants: draws of each image.
        seed: seeds the draws.

    Returns:
        (N, H, W, C) uint8, and one such array for each draw.
    """
    import tensorflow as tf

    from reidfw_core.imaging.decoding import image_batches

    (images,) = image_batches(paths, spec, len(paths))

    def changed(batch: Any, number: Any) -> Any:
        for place, layer in enumerate(layers):
            if hasattr(layer, "apply"):
                batch = layer.apply(batch, tf.stack([tf.constant(seed + 7919 * place), number]))
            else:
                batch = layer(batch, training=True)
        return batch

    traced = tf.function(changed)  # as in the training pipeline: some functions branch on tensors
    drawn = [traced(tf.constant(images), tf.constant(number)).numpy() for number in range(variants)]
    return _pixels(images, spec), [_pixels(one, spec) for one in drawn]


def _pixels(images: NDArray[np.float32], spec: ImageSpec) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.clip(np.rint((images - spec.offset) / spec.scale), 0, 255).astype(np.uint8)
    return pixels
