"""Training a ReID model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reidfw_core.artifacts import TrainedModel, TrainingData
from reidfw_core.context import RunContext
from reidfw_core.downloads import kept_download
from reidfw_core.errors import DataError
from reidfw_core.files import atomic_path
from reidfw_core.imaging.decoding import explain_decode_failure
from reidfw_core.imaging.spec import ImageSpec, image_spec
from reidfw_core.sampling.pk import PKSampler
from reidfw_core.services.resuming import open_resume_point
from reidfw_core.services.validation import classes_of
from reidfw_core.types import ModelFile, ModelFormat

if TYPE_CHECKING:
    import keras

    from reidfw_core._keras.head import Head
    from reidfw_core._keras.network import ReidNetwork, Transfer
    from reidfw_core._keras.trainer import LossTerm
    from reidfw_core.bus import HookBus
    from reidfw_core.config.binding import BoundComponent, BoundLoss
    from reidfw_core.config.sections import DatasetSection, ModelSection, PreprocessingSection, TrainingSection
    from reidfw_core.services.fitting import Fitted

logger = logging.getLogger(__name__)

SHARPNESS_RADIUS = 0.05
"""Default radius of sharpness-aware minimisation (Foret et al. 2021, table 1)."""

NAMED_LAYERS = 5
"""Layers that a message names before it goes on with dots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainInput:
    """What training needs.

    Attributes:
        data: training and validation samples.
        dataset: the ``dataset`` section.
        preprocessing: the ``preprocessing`` section.
        model: the ``model`` section.
        training: the ``training`` section.
        backbone: the bound backbone, None where ``model.model_path`` is trained further.
        augmentations: bound augmentations in their order.
        losses: bound losses with their weights.
        start: the model of ``model.model_path``, None where a backbone is trained.
    """

    data: TrainingData
    dataset: DatasetSection
    preprocessing: PreprocessingSection
    model: ModelSection
    training: TrainingSection
    backbone: BoundComponent | None
    augmentations: tuple[BoundComponent, ...]
    losses: tuple[BoundLoss, ...]
    start: ModelFile | None = None


def train(inp: TrainInput, ctx: RunContext) -> TrainedModel:
    """Trains, or goes on training, and saves the models, curves and logs that the document promises.

    Raises:
        DataError: unusable images, a model file that does not fit, a loss that became NaN, an optimizer or a callback
            that Keras refuses, a saved state that belongs to another training.
        ServiceError: pretrained weights cannot be had.
        StorageError: a file cannot be written.
    """
    import tensorflow as tf

    from reidfw_core._keras.distribution import open_strategy
    from reidfw_core.services.fitting import Fitting, fit

    strategy = open_strategy(inp.training.distribution)
    with strategy.scope():
        resumed = open_resume_point(inp)
        network = build_network(inp, ctx) if resumed is None else resumed.network
        spec = image_spec(inp.preprocessing, network.input_shape)
        sampler = PKSampler(
            inp.data.train.identities,
            inp.training.batch_size,
            inp.training.instances_per_identity,
            ctx.seed_for("batches"),
        )
        terms = build_losses(inp.losses, network, ctx)
        fitting = Fitting(
            inp=inp,
            network=network,
            spec=spec,
            labels=classes_of(inp.data.train, inp.data.train),
            sampler=sampler,
            augmentation=augmentation_layers(inp.augmentations, spec, ctx.bus, ctx.seed_for, sampler.batches_per_epoch),
            terms=terms,
            sharpness_radius=sharpness_radius(inp),
            strategy=strategy,
            resumed=resumed,
        )
        try:
            fitted = fit(fitting, ctx)
        except tf.errors.OpError as cause:
            explain_decode_failure(inp.data.train.paths, cause)
            raise
    return save_best(inp, ctx, network, fitted)


def build_network(inp: TrainInput, ctx: RunContext) -> ReidNetwork:
    """The network to train: a backbone, or the model of ``model.model_path``, with a new classifier on top.

    Raises:
        DataError: the model file does not fit, or a dropout rule is broken.
        ServiceError: pretrained weights cannot be had.
    """
    from reidfw_core._keras.network import assemble_network, freeze_layers, transfer_weights
    from reidfw_core.models import load_embedding_model

    # Whole models are transferred here, layer by layer, for any backbone; files of bare weights are the backbone's.
    weights = _local(inp.model.pretrained_weights)
    whole_model = isinstance(weights, Path) and not weights.name.endswith(".weights.h5")
    if inp.backbone is not None:
        features = ctx.bus.ask(
            inp.backbone.component,
            "build_backbone",
            input_shape=inp.model.input_shape,
            pretrained=False if whole_model else _local(inp.model.pretrained),
            seed=ctx.seed_for("weights"),
        )
    else:
        assert inp.start is not None
        features = load_embedding_model(inp.start.path)
    head = head_of(inp)
    network = assemble_network(features, len(inp.data.train.identity_names), head, ctx.seed_for("classifier"))
    if isinstance(weights, Path) and whole_model:
        transfer = transfer_weights(load_embedding_model(weights), network.embedding)
        if not transfer.copied:
            raise DataError(
                f"model.pretrained_weights: {weights} shares no layer with the model to train",
                hint="Layers are matched by name and shape; give a model of the same architecture.",
            )
        report_transfer(transfer, weights)
    # Always: the file of a model whose layers were frozen when it was trained remembers that.
    frozen = freeze_layers(network, inp.training.frozen_layers or ())
    if frozen:
        logger.info("%d layers are frozen", frozen)
    return network


def _local(weights: bool | str | Path | None) -> bool | Path | None:
    """The same, an address replaced by the file that it leads to."""
    return kept_download(weights) if isinstance(weights, str) else weights


def report_transfer(transfer: Transfer, source: Path) -> None:
    """Logs which layers got their weights from another model, and why the others did not."""
    logger.info("%d of %d layers got their weights from %s", len(transfer.copied), transfer.total, source)
    for layers, reason in (
        (transfer.absent, "begin anew, since it has none of their name"),
        (transfer.other_shape, "begin anew, since their weights have another shape there"),
        (transfer.unused, "of it have no counterpart in the model to train"),
    ):
        if layers:
            shown = ", ".join(layers[:NAMED_LAYERS]) + (" ..." if len(layers) > NAMED_LAYERS else "")
            logger.warning("%d layers %s: %s", len(layers), reason, shown)


def head_of(inp: TrainInput) -> Head:
    """What the configuration asks for behind the backbone; losses that consume cosines bring a cosine classifier."""
    from reidfw_core._keras.head import Head

    model = inp.model
    wants_cosines = any(bound.component.component.consumes == "cosines" for bound in inp.losses)
    return Head(
        pooling=model.pooling,
        gem_power=model.gem_power,
        embedding_size=model.embedding_size,
        bn_neck=model.bn_neck,
        l2_normalized=model.l2_normalized,
        dropout=inp.training.dropout,
        classifier="cosine" if wants_cosines else "linear",
    )


def augmentation_layers(
    augmentations: Sequence[BoundComponent],
    spec: ImageSpec,
    bus: HookBus,
    seed_for: Callable[[str], int],
    batches_per_epoch: int,
) -> list[keras.layers.Layer]:
    """Asks each configured augmentation for its layer.

    A layer that has ``joined_with(following)`` is offered the next one, and may give a layer that does the work of both
    in one pass over the pixels.
    """
    layers: list[keras.layers.Layer] = []
    for place, bound in enumerate(augmentations):
        seed = seed_for(f"augmentation {place}")
        layer = bus.ask(bound.component, "build_augmentation", pixel_range=spec.pixel_range, seed=seed)
        if hasattr(layer, "batches_per_epoch"):
            layer.batches_per_epoch = batches_per_epoch
        _try_out(layer, bound.name, spec)
        joined = layers[-1].joined_with(layer) if layers and hasattr(layers[-1], "joined_with") else None
        if joined is None:
            layers.append(layer)
        else:
            layers[-1] = joined
    return layers


def _try_out(layer: keras.layers.Layer, name: str, spec: ImageSpec) -> None:
    """Sees that images of this size can go through: what is wrong is told better here than in the midst of a graph."""
    if not hasattr(layer, "apply"):
        return
    import tensorflow as tf

    try:
        layer.apply(tf.fill((8, *spec.shape), float(spec.offset)), tf.constant([0, 0]))
    except ValueError as cause:
        raise DataError(f"data_augmentation.{name}: {cause}") from cause


def sharpness_radius(inp: TrainInput) -> float:
    """Radius of sharpness-aware minimisation: ``training.sharpness_radius``, or what fits where that is not set.

    It makes a network that starts from random weights and sees few images without augmentation generalise far better;
    pretrained or augmented trainings gain nothing from it, and are spared its cost (half a step more for each step).

    Raises:
        DataError: it is asked for in a training on several devices.
    """
    if inp.training.sharpness_radius is not None:
        if inp.training.sharpness_radius and inp.training.distribution != "none":
            raise DataError(
                f"training.sharpness_radius is {inp.training.sharpness_radius:g}, but sharpness-aware minimisation "
                "works on one device only",
                hint="Set training.sharpness_radius: 0, or training.distribution: none.",
            )
        return float(inp.training.sharpness_radius)
    if inp.training.distribution != "none":
        return 0.0
    starts_random = inp.backbone is not None and not inp.model.pretrained and inp.model.pretrained_weights is None
    return SHARPNESS_RADIUS if starts_random and not inp.augmentations else 0.0


def build_losses(losses: Sequence[BoundLoss], network: ReidNetwork, ctx: RunContext) -> list[LossTerm]:
    """Asks each configured loss for its function."""
    from reidfw_core._keras.trainer import LossTerm

    terms: list[LossTerm] = []
    for bound in losses:
        function = ctx.bus.ask(
            bound.component.component,
            "build_loss",
            num_identities=network.num_identities,
            embedding_dim=int(network.training.outputs[0].shape[-1]),
        )
        name = bound.component.name
        if any(term.name == name for term in terms):
            name = f"{name}_{len(terms) + 1}"
        consumes = bound.component.component.consumes
        if consumes == "cosines" and network.cosine_scale is None:
            raise DataError(
                f"The loss '{bound.component.name}' needs a cosine classifier, but the training that is resumed has a "
                "linear one",
                hint="Resume with the losses that it was begun with.",
            )
        terms.append(
            LossTerm(
                name=name,
                weight=bound.weight,
                consumes=consumes,
                function=function,
                cosine_scale=network.cosine_scale or 1.0,
            )
        )
    return terms


def save_best(inp: TrainInput, ctx: RunContext, network: ReidNetwork, fitted: Fitted) -> TrainedModel:
    """Writes the models that the document promises, and the training curves."""
    from reidfw_core._keras.network import save_keras_model
    from reidfw_core.figures import draw_training_curves

    classification = save_keras_model(network.classification, ctx.saved_models_dir / "best_model_classification.keras")
    embedding = save_keras_model(network.embedding, ctx.saved_models_dir / "best_model.keras")
    if inp.training.trained_model_path:
        copy = Path(inp.training.trained_model_path)
        with atomic_path(copy) as temporary:
            shutil.copyfile(embedding, temporary)
    curves = ctx.figure("training_curves.png", "training curves")
    draw_training_curves(fitted.history, curves.path, svg_path=curves.svg)
    for path, description in (
        (classification, "best model with classifier"),
        (embedding, "best model, image to embedding"),
        (curves.path, curves.title),
    ):
        ctx.bus.tell("artifact_saved", path=path, description=description)
    name = inp.backbone.name if inp.backbone else inp.start.name if inp.start else "model"
    float32 = ModelFormat("keras", "float32")
    shape = network.input_shape
    return TrainedModel(
        embedding_model=ModelFile(
            path=embedding, format=float32, name=name, input_shape=shape, embedding_dim=network.embedding_dim
        ),
        classification_model=ModelFile(path=classification, format=float32, name=name, input_shape=shape),
        history={metric: tuple(float(value) for value in values) for metric, values in fitted.history.items()},
        best_epoch=fitted.best_epoch,
        num_identities=len(inp.data.train.identity_names),
        seconds=fitted.seconds,
        validation=dict(fitted.validation),
        figures=(curves,),
    )


def training_metrics(result: TrainedModel) -> Mapping[str, float]:
    """The numbers that trackers get: accuracy, loss and mAP of the best model on the validation set."""
    names = {
        "val_accuracy": ("float_acc_validation_set", 100.0),
        "val_loss": ("float_loss_validation_set", 1.0),
        "val_mAP": ("float_mAP_validation_set", 100.0),
    }
    metrics = {
        name: round(factor * result.validation[key], 4)
        for key, (name, factor) in names.items()
        if key in result.validation
    }
    return {**metrics, "training_seconds": round(result.seconds, 2), "best_epoch": float(result.best_epoch)}


def check_settings(training: TrainingSection, losses: Sequence[BoundLoss], *, knows_validation: bool) -> None:
    """Lets Keras check optimizer and callbacks before any data is read.

    Args:
        training: the section.
        losses: the bound losses.
        knows_validation: whether the classifier knows the identities of the validation set, so that it has a loss and
            an accuracy there.

    Raises:
        DataError: Keras refuses one of them, or a callback monitors a metric that there will not be.
    """
    from reidfw_core._keras.callbacks import build_callbacks, check_monitors, check_schedule
    from reidfw_core.services.fitting import make_optimizer

    optimizer = make_optimizer(training)
    names = ["loss", *(bound.component.name for bound in losses), "accuracy"]
    known = [f"val_{name}" for name in names] if knows_validation else []
    callbacks = list(build_callbacks(training.callbacks).values())
    check_monitors(callbacks, [*names, "val_mAP", "val_rank1", *known, "learning_rate"])
    check_schedule(callbacks, training.epochs, float(optimizer.learning_rate.numpy()))
    if training.checkpoint_monitor in ("val_loss", "val_accuracy") and not knows_validation:
        raise DataError(
            f"training.checkpoint_monitor is {training.checkpoint_monitor}, but the classifier does not know the "
            "identities of the validation set, so that there is no such metric",
            hint="Set training.checkpoint_monitor: val_mAP, or dataset.validation_split_by: image.",
        )
