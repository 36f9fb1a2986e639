"""Quantization-aware training: fine-tuning a model that computes as its quantized form will."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.artifacts import CalibrationData, FineTunedModel, TrainingData
from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.hookspecs.lifecycle import QAT_PREFIX
from reidfw_core.imaging.decoding import explain_decode_failure, image_batches
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.sampling.pk import PKSampler
from reidfw_core.services.quantization import calibration_set, inspected
from reidfw_core.services.training import TrainInput, augmentation_layers, build_losses, head_of
from reidfw_core.services.validation import classes_of
from reidfw_core.types import ModelFile

if TYPE_CHECKING:
    import keras

    from reidfw_core._keras.network import ReidNetwork
    from reidfw_core.config.binding import BoundComponent, BoundLoss
    from reidfw_core.config.sections import (
        DatasetSection,
        PreprocessingSection,
        QatSettings,
        QuantizationSection,
        TrainingSection,
    )
    from reidfw_core.services.fitting import Fitted

logger = logging.getLogger(__name__)

MODEL_NAME = "best_qat_model.keras"
"""File of the fine-tuned model in ``general.saved_models_dir``."""

LOGS = "qat"
"""Folder in ``general.logs_dir`` for the table of epochs and TensorBoard's files."""

RATE_SHARE = 0.1
"""Default learning rate as a share of the training's."""

END_SHARE = 0.01
"""Learning rate of the end as a share of that of the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneInput:
    """What quantization-aware training needs.

    Attributes:
        model: the float model.
        data: training and validation samples.
        calibration: images that the ranges of activations begin with.
        dataset, preprocessing, training, quantization: the sections.
        quantizer: the bound quantizer, which makes the model trainable.
        augmentations: bound augmentations in their order.
        losses: bound losses with their weights.
    """

    model: ModelFile
    data: TrainingData
    calibration: CalibrationData
    dataset: DatasetSection
    preprocessing: PreprocessingSection
    training: TrainingSection
    quantization: QuantizationSection
    quantizer: BoundComponent
    augmentations: tuple[BoundComponent, ...]
    losses: tuple[BoundLoss, ...]


def fine_tuning_settings(training: TrainingSection, qat: QatSettings) -> TrainingSection:
    """The ``training`` section as a fine-tuning uses it.

    Losses, batches, augmentation, optimizer, clipping and validation stay; epochs and learning rate are those of
    ``quantization.qat``. Schedules are made for the training and left out. Frozen layers do not exist in the prepared
    model, and nothing is resumed.

    Raises:
        DataError: Keras refuses the optimizer.
    """
    from reidfw_core._keras.callbacks import SCHEDULERS
    from reidfw_core.services.fitting import make_optimizer

    rate = qat.learning_rate
    if rate is None:
        rate = RATE_SHARE * float(make_optimizer(training).learning_rate.numpy())
    callbacks = {name: arguments for name, arguments in training.callbacks.items() if name not in SCHEDULERS}
    decay = {"initial_lr": rate, "hold_steps": 0, "decay_steps": qat.epochs, "end_lr": END_SHARE * rate}
    optimizer = training.optimizer.model_copy(
        update={"arguments": {**training.optimizer.arguments, "learning_rate": rate}}
    )
    return training.model_copy(
        update={
            "epochs": qat.epochs,
            "optimizer": optimizer,
            "callbacks": {**callbacks, "LRCosineDecay": decay},
            "warmup_epochs": 0.0,
            "frozen_layers": (),
            "precision": "float32",
            "distribution": "none",
            "sharpness_radius": training.sharpness_radius or 0.0,
            "resume_training_from": None,
            "trained_model_path": None,
        }
    )


def fine_tune(inp: FineTuneInput, ctx: RunContext) -> FineTunedModel:
    """Fine-tunes the model as the quantizer prepares it, and saves the best epoch as ``best_qat_model.keras``.

    An interrupted fine-tuning begins anew: it takes a few epochs.

    Raises:
        DataError: the model cannot be prepared, unusable images, a loss that became NaN, an optimizer or a callback
            that Keras refuses.
        StorageError: a file cannot be written.
    """
    import tensorflow as tf

    model, spec = inspected(inp.model, inp.quantizer, inp.preprocessing, ctx)
    with calibration_set(inp.calibration, spec, ctx) as calibration:
        prepared: keras.Model = ctx.bus.ask(
            inp.quantizer.component, "prepare_training", model=model, calibration=calibration
        )
    _warn_of_unused(inp.training)
    given = _train_input(inp, model)
    try:
        network = _with_classifier(prepared, given, spec, ctx)
        fitted = _fit(given, network, spec, ctx)
    except tf.errors.OpError as cause:
        explain_decode_failure(inp.data.train.paths, cause)
        raise
    return _save(model, network, fitted, ctx)


def fine_tuning_metrics(result: FineTunedModel) -> Mapping[str, float]:
    """The numbers that trackers get."""
    return {"qat_seconds": round(result.seconds, 2), "qat_best_epoch": float(result.best_epoch)}


def _warn_of_unused(training: TrainingSection) -> None:
    plain = {"frozen_layers": (), "precision": "float32", "distribution": "none"}
    unused = [f"training.{name}" for name, default in plain.items() if getattr(training, name) != default]
    if unused:
        logger.warning("Quantization-aware training does without %s", ", ".join(unused))


def _train_input(inp: FineTuneInput, model: ModelFile) -> TrainInput:
    from reidfw_core.config.sections import ModelSection

    return TrainInput(
        data=inp.data,
        dataset=inp.dataset,
        preprocessing=inp.preprocessing,
        model=ModelSection(model_path=str(model.path)),
        training=fine_tuning_settings(inp.training, inp.quantization.qat),
        backbone=None,
        augmentations=inp.augmentations,
        losses=inp.losses,
        start=model,
    )


def _with_classifier(prepared: keras.Model, given: TrainInput, spec: ImageSpec, ctx: RunContext) -> ReidNetwork:
    from reidfw_core._keras.imprinting import imprint_classifier
    from reidfw_core._keras.network import assemble_network

    train_set = given.data.train
    network = assemble_network(
        prepared, len(train_set.identity_names), head_of(given), ctx.seed_for("fine-tuning classifier")
    )
    forward = network.scoring_function()
    with ctx.progress("Embedding the training images", len(train_set), "images") as advance:
        seen: list[np.ndarray] = []
        for images in image_batches(train_set.paths, spec, given.training.batch_size):
            seen.append(forward(images)[1].numpy())
            advance(sum(map(len, seen)))
    embeddings = np.concatenate(seen)
    if not np.isfinite(embeddings).all():
        raise DataError(
            f"{prepared.name} gives NaN or infinite values for training images, so that it cannot be fine-tuned",
            hint="The training diverged, or the model file is damaged.",
        )
    imprint_classifier(network, embeddings, classes_of(train_set, train_set))
    return network


def _fit(given: TrainInput, network: ReidNetwork, spec: ImageSpec, ctx: RunContext) -> Fitted:
    from reidfw_core._keras.distribution import open_strategy
    from reidfw_core.services.fitting import Fitting, fit

    train_set, training = given.data.train, given.training
    sampler = PKSampler(
        train_set.identities,
        training.batch_size,
        training.instances_per_identity,
        ctx.seed_for("fine-tuning batches"),
    )
    fitting = Fitting(
        inp=given,
        network=network,
        spec=spec,
        labels=classes_of(train_set, train_set),
        sampler=sampler,
        augmentation=augmentation_layers(given.augmentations, spec, ctx.bus, ctx.seed_for, sampler.batches_per_epoch),
        terms=build_losses(given.losses, network, ctx),
        sharpness_radius=training.sharpness_radius or 0.0,
        strategy=open_strategy("none"),
        metric_prefix=QAT_PREFIX,
    )
    # The loop leaves files behind to go on from, which would be taken for those of the training.
    with tempfile.TemporaryDirectory(prefix=".qat.", dir=ctx.run_dir) as folder:
        return fit(fitting, replace(ctx, saved_models_dir=Path(folder), logs_dir=ctx.logs_dir / LOGS))


def _save(model: ModelFile, network: ReidNetwork, fitted: Fitted, ctx: RunContext) -> FineTunedModel:
    from reidfw_core._keras.network import save_keras_model
    from reidfw_core.figures import draw_training_curves

    path = save_keras_model(network.embedding, ctx.saved_models_dir / MODEL_NAME)
    curves = ctx.figure("qat_curves.png", "quantization-aware training curves")
    draw_training_curves(fitted.history, curves.path, svg_path=curves.svg)
    ctx.bus.tell("artifact_saved", path=path, description="fine-tuned model, computes as the quantized one")
    ctx.bus.tell("artifact_saved", path=curves.path, description=curves.title)
    return FineTunedModel(
        model=replace(model, path=path, embedding_dim=network.embedding_dim),
        given=model,
        history={metric: tuple(float(value) for value in values) for metric, values in fitted.history.items()},
        best_epoch=fitted.best_epoch,
        seconds=fitted.seconds,
        validation=dict(fitted.validation),
        figures=(curves,),
    )
