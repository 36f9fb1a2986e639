"""Training a ReID model."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import TrainedModel, TrainingData
from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.files import atomic_path
from reidfw_core.imaging.decoding import explain_decode_failure, image_batches
from reidfw_core.imaging.spec import ImageSpec, image_spec
from reidfw_core.metrics.retrieval import evaluate_retrieval
from reidfw_core.sampling.pk import PKSampler
from reidfw_core.types import ModelFile, ModelFormat, Samples

if TYPE_CHECKING:
    import keras

    from reidfw_core._keras.network import ReidNetwork
    from reidfw_core._keras.trainer import LossTerm
    from reidfw_core.config.binding import BoundComponent, BoundLoss
    from reidfw_core.config.sections import ModelSection, PreprocessingSection, TrainingSection

logger = logging.getLogger(__name__)

RECALIBRATION_BATCHES = 16
"""Batches with which batch normalization statistics are measured at the end."""

SHARPNESS_RADIUS = 0.05
"""Default radius of sharpness-aware minimisation (Foret et al. 2021, table 1)."""

SHARPNESS_BATCH_SHARE = 0.5
"""Share of a batch that tells the direction uphill: half costs 1.5 times a plain step instead of 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainInput:
    """What training needs.

    Attributes:
        data: training and validation samples.
        preprocessing: the ``preprocessing`` section.
        model: the ``model`` section.
        training: the ``training`` section.
        backbone: the bound backbone, None where ``model.model_path`` is trained further.
        augmentations: bound augmentations in their order.
        losses: bound losses with their weights.
        start: the model of ``model.model_path``, None where a backbone is trained.
    """

    data: TrainingData
    preprocessing: PreprocessingSection
    model: ModelSection
    training: TrainingSection
    backbone: BoundComponent | None
    augmentations: tuple[BoundComponent, ...]
    losses: tuple[BoundLoss, ...]
    start: ModelFile | None = None


def train(inp: TrainInput, ctx: RunContext) -> TrainedModel:
    """Trains, and saves the models, curves and logs that the document promises.

    Raises:
        DataError: unusable images, a model file that does not fit, a loss that became NaN, an optimizer or a callback
            that Keras refuses.
        ServiceError: pretrained weights cannot be had.
        StorageError: a file cannot be written.
    """
    import tensorflow as tf

    network = build_network(inp, ctx)
    spec = image_spec(inp.preprocessing, network.input_shape)
    labels = _labels(inp.data.train, inp.data.train)
    sampler = PKSampler(
        inp.data.train.identities, inp.training.batch_size, inp.training.instances_per_identity, ctx.seed_for("batches")
    )
    augmentation = build_augmentation(inp.augmentations, spec, ctx)
    terms = build_losses(inp.losses, len(inp.data.train.identity_names), network.embedding_dim, ctx)
    try:
        return _fit(inp, ctx, network, spec, labels, sampler, augmentation, terms)
    except tf.errors.OpError as cause:
        explain_decode_failure(inp.data.train.paths, cause)
        raise


def build_network(inp: TrainInput, ctx: RunContext) -> ReidNetwork:
    """The network to train: a backbone, or the model of ``model.model_path``, with a new classifier on top.

    Raises:
        DataError: the model file does not fit, or a dropout rule is broken.
        ServiceError: pretrained weights cannot be had.
    """
    from reidfw_core._keras.network import assemble_network, freeze_layers, transfer_weights
    from reidfw_core.models import load_embedding_model

    # Whole models are transferred here, layer by layer, for any backbone; files of bare weights are the backbone's.
    weights = inp.model.pretrained_weights
    whole_model = weights is not None and not weights.name.endswith(".weights.h5")
    if inp.backbone is not None:
        features = ctx.bus.ask(
            inp.backbone.component,
            "build_backbone",
            input_shape=inp.model.input_shape,
            pretrained=False if whole_model else inp.model.pretrained,
            seed=ctx.seed_for("weights"),
        )
    else:
        assert inp.start is not None
        features = load_embedding_model(inp.start.path)
    network = assemble_network(
        features, len(inp.data.train.identity_names), inp.training.dropout, ctx.seed_for("classifier")
    )
    if weights is not None and whole_model:
        copied, total = transfer_weights(load_embedding_model(weights), network.embedding)
        if not copied:
            raise DataError(
                f"model.pretrained_weights: {weights} shares no layer with the model to train",
                hint="Layers are matched by name and shape; give a model of the same architecture.",
            )
        logger.info("%d of %d layers got their weights from %s", copied, total, weights)
    if inp.training.frozen_layers:
        frozen = freeze_layers(network, inp.training.frozen_layers)
        logger.info("%d layers are frozen", frozen)
    return network


def build_augmentation(
    augmentations: Sequence[BoundComponent], spec: ImageSpec, ctx: RunContext
) -> list[keras.layers.Layer]:
    """Asks each configured augmentation for its layer.

    A layer that has ``joined_with(following)`` is offered the next one, and may give a layer that does the work of both
    in one pass over the pixels.
    """
    layers: list[keras.layers.Layer] = []
    for place, bound in enumerate(augmentations):
        seed = ctx.seed_for(f"augmentation {place}")
        layer = ctx.bus.ask(bound.component, "build_augmentation", pixel_range=spec.pixel_range, seed=seed)
        joined = layers[-1].joined_with(layer) if layers and hasattr(layers[-1], "joined_with") else None
        if joined is None:
            layers.append(layer)
        else:
            layers[-1] = joined
    return layers


def sharpness_radius(inp: TrainInput) -> float:
    """Radius of sharpness-aware minimisation: ``training.sharpness_radius``, or what fits where that is not set.

    It makes a network that starts from random weights and sees few images without augmentation generalise far better;
    pretrained or augmented trainings gain nothing from it, and are spared its cost (half a step more for each step).
    """
    if inp.training.sharpness_radius is not None:
        return float(inp.training.sharpness_radius)
    starts_random = inp.backbone is not None and not inp.model.pretrained and inp.model.pretrained_weights is None
    return SHARPNESS_RADIUS if starts_random and not inp.augmentations else 0.0


def recalibrate(network: ReidNetwork, train_set: Samples, spec: ImageSpec, batch_size: int) -> None:
    """Measures the batch normalization statistics of the final weights on training images, not augmented."""
    from reidfw_core._keras.statistics import measure_batch_norm

    rng = np.random.default_rng(0)
    count = min(len(train_set), RECALIBRATION_BATCHES * batch_size)
    chosen = [train_set.paths[index] for index in rng.permutation(len(train_set))[:count]]
    whole = count - count % batch_size or count  # a small last batch would have statistics of its own
    measure_batch_norm(network.embedding, image_batches(chosen[:whole], spec, batch_size))


def build_losses(
    losses: Sequence[BoundLoss], num_identities: int, embedding_dim: int, ctx: RunContext
) -> list[LossTerm]:
    """Asks each configured loss for its function."""
    from reidfw_core._keras.trainer import LossTerm

    terms: list[LossTerm] = []
    for bound in losses:
        function = ctx.bus.ask(
            bound.component.component, "build_loss", num_identities=num_identities, embedding_dim=embedding_dim
        )
        name = bound.component.name
        if any(term.name == name for term in terms):
            name = f"{name}_{len(terms) + 1}"
        terms.append(
            LossTerm(name=name, weight=bound.weight, consumes=bound.component.component.consumes, function=function)
        )
    return terms


def score_leave_one_out(embeddings: NDArray[np.float32], identities: Sequence[str]) -> float:
    """mAP in [0, 1] of each image against all others; NaN where no identity has two images."""
    scores = evaluate_retrieval(embeddings, embeddings, identities, identities, leave_one_out=True)
    return float(scores.mean_average_precision)


def _labels(samples: Samples, train: Samples) -> NDArray[np.int64]:
    """(N,) class of each sample: its identity's place among the training identities, -1 where it is not one."""
    classes = {identity: number for number, identity in enumerate(train.identity_names)}
    return np.array([classes.get(identity, -1) for identity in samples.identities], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Validator:
    """Scores the network on the validation set in one pass: losses, accuracy, and mAP."""

    data: TrainingData
    image_spec: ImageSpec
    batch_size: int
    terms: Sequence[LossTerm]
    pk_plan: NDArray[np.int64]

    def __call__(self, network: ReidNetwork) -> dict[str, float]:
        import tensorflow as tf

        from reidfw_core._keras.trainer import loss_values

        forward = network.training.predict_on_batch
        outputs = [
            forward(images) for images in image_batches(self.data.validation.paths, self.image_spec, self.batch_size)
        ]
        embeddings = np.concatenate([embedding for embedding, _ in outputs])
        logits = np.concatenate([logit for _, logit in outputs])
        labels = _labels(self.data.validation, self.data.train)
        metrics = {"val_mAP": score_leave_one_out(embeddings, self.data.validation.identities)}
        known = labels >= 0
        if known.all():  # otherwise the classifier cannot know the identities: they were held out as a whole
            sums: dict[str, float] = {}
            for batch in self.pk_plan:
                total, values = loss_values(
                    self.terms, tf.constant(labels[batch]), tf.constant(embeddings[batch]), tf.constant(logits[batch])
                )
                for name, value in {"loss": total, **values}.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
            metrics |= {f"val_{name}": value / len(self.pk_plan) for name, value in sums.items()}
            metrics["val_accuracy"] = float(np.mean(np.argmax(logits, axis=1) == labels))
        return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _fit(
    inp: TrainInput,
    ctx: RunContext,
    network: ReidNetwork,
    spec: ImageSpec,
    labels: NDArray[np.int64],
    sampler: PKSampler,
    augmentation: Sequence[keras.layers.Layer],
    terms: Sequence[LossTerm],
) -> TrainedModel:
    import keras

    from reidfw_core._keras import callbacks as cb
    from reidfw_core._keras.network import augmented_model, build_optimizer, save_keras_model
    from reidfw_core._keras.pipeline import training_batches
    from reidfw_core._keras.statistics import set_batch_norm_momentum
    from reidfw_core._keras.trainer import ReidTrainer, Sharpness

    training, train_set = inp.training, inp.data.train
    set_batch_norm_momentum(network.training, training.batch_norm_momentum)
    trainer = ReidTrainer(
        network,
        terms,
        training.weight_average,
        Sharpness(sharpness_radius(inp), SHARPNESS_BATCH_SHARE),
    )
    trainer.compile(optimizer=_optimizer(training, build_optimizer), jit_compile=False)
    steps = training.dryrun or sampler.batches_per_epoch
    batches = training_batches(train_set.paths, labels, spec, sampler, augmentation, ctx.seed_for("augmentation"))
    validator = _Validator(
        data=inp.data,
        image_spec=spec,
        batch_size=training.batch_size,
        terms=terms,
        pk_plan=PKSampler(
            inp.data.validation.identities, training.batch_size, training.instances_per_identity, 0
        ).epoch(0),
    )
    to_save = augmented_model(network, spec.scale, spec.offset, augmentation)
    keeper = cb.ValidateAndSave(
        validate=lambda: validator(network),
        save=lambda path: save_keras_model(to_save, path),
        best=ctx.saved_models_dir / "best_augmented_model.keras",
        last=ctx.saved_models_dir / "last_augmented_model.keras",
        monitor=training.checkpoint_monitor,
        mode="max" if training.checkpoint_monitor.endswith(("accuracy", "mAP")) else "min",
    )
    _log_start(inp, network, sampler, steps)
    for name, arguments in training.callbacks.items():
        if (arguments or {}).get("restore_best_weights") and arguments.get(
            "monitor", "val_loss"
        ) != training.checkpoint_monitor:
            logger.warning(
                "training.callbacks.%s stops the training; the saved model is that of the best %s. "
                "Set training.checkpoint_monitor to %s if that is what you want.",
                name,
                training.checkpoint_monitor,
                arguments.get("monitor", "val_loss"),
            )
    metrics_dir = ctx.logs_dir / "metrics"
    metrics_dir.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with ctx.progress("Training", training.epochs * steps * training.batch_size, "images") as advance:
        history = trainer.fit(
            batches,
            epochs=training.epochs,
            steps_per_epoch=steps,
            verbose=0,
            shuffle=False,
            callbacks=[
                keeper,
                *cb.build_callbacks(training.callbacks),
                cb.StopOnNan(),
                cb.LearningRate(),
                keras.callbacks.CSVLogger(str(metrics_dir / "train_metrics.csv")),
                keras.callbacks.TensorBoard(str(ctx.logs_dir), write_graph=False, profile_batch=0),
                cb.Reporter(
                    batch_done=lambda done: advance(done * training.batch_size),
                    epoch_done=lambda epoch, metrics: ctx.bus.tell(
                        "epoch_finished", epoch=epoch, total=training.epochs, metrics=metrics
                    ),
                ),
            ],
        )
    seconds = time.perf_counter() - started
    epochs_done = len(history.epoch)
    logger.info("Training took %.1f s, %.2f s an epoch", seconds, seconds / max(1, epochs_done))
    for variable, value in zip(network.training.variables, keeper.best_weights, strict=True):
        variable.assign(value)
    logger.info("The best model is that of epoch %d (%s)", keeper.best_epoch, training.checkpoint_monitor)
    recalibrate(network, train_set, spec, training.batch_size)
    save_keras_model(to_save, ctx.saved_models_dir / "best_augmented_model.keras")
    validation = validator(network)
    logger.info(
        "With batch normalization statistics measured anew it reaches: %s",
        ", ".join(f"{name} {value:.4f}" for name, value in validation.items()),
    )
    return _save_best(inp, ctx, network, keeper.best_epoch, validation, history.history, seconds)


def _optimizer(training: TrainingSection, build: Callable[[str, dict[str, Any]], Any]) -> Any:
    arguments = dict(training.optimizer.arguments)
    if training.gradient_clip_norm is not None:
        arguments.setdefault("global_clipnorm", training.gradient_clip_norm)
    return build(training.optimizer.name, arguments)


def _log_start(inp: TrainInput, network: ReidNetwork, sampler: PKSampler, steps: int) -> None:
    data = inp.data
    logger.info(
        "Training set: %d images of %d identities; validation set: %d images of %d identities",
        len(data.train),
        len(data.train.identity_names),
        len(data.validation),
        len(data.validation.identity_names),
    )
    name = inp.backbone.name if inp.backbone else inp.start.path if inp.start else ""
    logger.info(
        "Model: %s, input %s, embedding of %d, %d parameters",
        name,
        "x".join(str(size) for size in network.input_shape),
        network.embedding_dim,
        network.embedding.count_params(),
    )
    logger.info(
        "%d epochs of %d batches, %d identities x %d images each",
        inp.training.epochs,
        steps,
        sampler.batch_size // sampler.instances,
        sampler.instances,
    )
    present = len(data.train.identity_names)
    if sampler.batch_size // sampler.instances > present:
        logger.warning(
            "A batch of %d holds %d identities x %d images, but the training set has only %d identities: "
            "batches are filled up with more images of them",
            sampler.batch_size,
            sampler.batch_size // sampler.instances,
            sampler.instances,
            present,
        )
    if len(data.train.identity_names) == len(data.train):
        logger.warning(
            "Every identity has a single training image: a triplet loss has no positives and teaches nothing"
        )


def _save_best(
    inp: TrainInput,
    ctx: RunContext,
    network: ReidNetwork,
    best_epoch: int,
    validation: Mapping[str, float],
    history: Mapping[str, Iterable[float]],
    seconds: float,
) -> TrainedModel:
    from reidfw_core._keras.network import save_keras_model
    from reidfw_core.figures import draw_training_curves

    classification = save_keras_model(network.classification, ctx.saved_models_dir / "best_model_classification.keras")
    embedding = save_keras_model(network.embedding, ctx.saved_models_dir / "best_model.keras")
    if inp.training.trained_model_path:
        copy = Path(inp.training.trained_model_path)
        with atomic_path(copy) as temporary:
            shutil.copyfile(embedding, temporary)
    curves = ctx.figure("training_curves.png", "training curves")
    draw_training_curves(history, curves.path, svg_path=curves.svg)
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
        history={metric: tuple(float(value) for value in values) for metric, values in history.items()},
        best_epoch=best_epoch,
        num_identities=len(inp.data.train.identity_names),
        seconds=seconds,
        validation=dict(validation),
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
    from reidfw_core._keras.callbacks import build_callbacks, check_monitors
    from reidfw_core._keras.network import build_optimizer

    _optimizer(training, build_optimizer)
    names = ["loss", *(bound.component.name for bound in losses), "accuracy"]
    metrics = [*names, "val_mAP", *(f"val_{name}" for name in names if knows_validation), "learning_rate"]
    check_monitors(build_callbacks(training.callbacks), metrics)
