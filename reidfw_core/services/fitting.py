"""The training loop: what surrounds Keras's ``fit``."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.files import atomic_path, cache_root
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.sampling.pk import PKSampler
from reidfw_core.services.resuming import LAST_MODEL, ResumePoint, model_name, settings_to_keep
from reidfw_core.services.validation import DIVERGED, Validator
from reidfw_core.types import Samples

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from reidfw_core._keras.callbacks import Best
    from reidfw_core._keras.network import ReidNetwork
    from reidfw_core._keras.pipeline import Share
    from reidfw_core._keras.trainer import LossTerm, ReidTrainer
    from reidfw_core.config.sections import TrainingSection
    from reidfw_core.services.training import TrainInput

logger = logging.getLogger(__name__)

RECALIBRATION_BATCHES = 16
"""Batches with which batch normalization statistics are measured at the end."""

EARLY_BATCHES = 4
"""Batches with which they are measured before an early validation."""

SETTLED_AFTER = 20
"""Time constants of the moving statistics, 1 / (1 - momentum) steps each, after which validation trusts them. In the
first epochs they lag behind weights that change fast: validation metrics then say nothing on the network."""

DIVERGED_FACTOR = 10
"""A loss that ends so many times above its lowest epoch is told."""

SHARPNESS_BATCH_SHARE = 0.5
"""Share of a batch that tells the direction uphill: half costs 1.5 times a plain step instead of 2."""

METRICS_FILE = "train_metrics.csv"

GIGABYTE = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What the loop needs.

    Attributes:
        inp: the configuration's sections and the data.
        network: the network to train.
        spec: resizing and rescaling.
        labels: (N,) class of each training image.
        sampler: plans the batches.
        augmentation: layers in their order.
        terms: the losses.
        sharpness_radius: of sharpness-aware minimisation, 0 for none.
        strategy: where it is computed.
        resumed: the state to go on from, None for a training from its beginning.
        metric_prefix: what the names of metrics begin with that listeners get.
    """

    inp: TrainInput
    network: ReidNetwork
    spec: ImageSpec
    labels: NDArray[np.int64]
    sampler: PKSampler
    augmentation: Sequence[keras.layers.Layer]
    terms: Sequence[LossTerm]
    sharpness_radius: float
    strategy: tf.distribute.Strategy
    resumed: ResumePoint | None = None
    metric_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What the loop gives; the network has its best weights.

    Attributes:
        history: one value an epoch for each metric.
        best_epoch: epoch, counted from 1, whose weights were kept.
        validation: metrics of these weights on the validation set.
        seconds: wall time of the loop, that before an interruption included.
    """

    history: Mapping[str, Sequence[float]]
    best_epoch: int
    validation: Mapping[str, float]
    seconds: float


def fit(fitting: Fitting, ctx: RunContext) -> Fitted:
    """Trains to the last epoch, and leaves the best weights in the network.

    Raises:
        DataError: the loss became NaN, or a saved state does not fit.
        StorageError: a file cannot be written.
    """
    from reidfw_core._keras import callbacks as cb
    from reidfw_core._keras.network import augmented_model, save_keras_model
    from reidfw_core._keras.statistics import BatchNormMeter, set_batch_norm_momentum
    from reidfw_core._keras.trainer import ReidTrainer, Sharpness

    inp, network, resumed = fitting.inp, fitting.network, fitting.resumed
    training = inp.training
    set_batch_norm_momentum(network.training, training.batch_norm_momentum)
    trainer = ReidTrainer(
        network,
        fitting.terms,
        training.weight_average,
        Sharpness(fitting.sharpness_radius, SHARPNESS_BATCH_SHARE),
        training.precision,
    )
    trainer.compile(
        optimizer=make_optimizer(training, resumed.state.facts["settings"] if resumed else None), jit_compile=False
    )
    validator = Validator(
        data=inp.data,
        image_spec=fitting.spec,
        batch_size=training.batch_size,
        terms=fitting.terms,
        pk_plan=PKSampler(
            inp.data.validation.identities, training.batch_size, training.instances_per_identity, 0
        ).epoch(0),
    )
    to_save = augmented_model(network, fitting.spec.scale, fitting.spec.offset, fitting.augmentation)
    best_path = ctx.saved_models_dir / "best_augmented_model.keras"
    meter = BatchNormMeter(network.embedding)
    settled_after = SETTLED_AFTER / max(1e-6, 1 - training.batch_norm_momentum)

    def measure(batches: int) -> None:
        paths = recalibration_images(inp.data.train, batches, training.batch_size)
        meter.measure(image_batches(paths, fitting.spec, training.batch_size))

    def validate() -> Mapping[str, float]:
        if trainer.steps_done < settled_after:
            measure(EARLY_BATCHES)
        return validator(network)

    log_start(fitting)
    loop = _Loop(fitting, ctx, trainer, to_save)
    monitor = training.checkpoint_monitor
    keeper = cb.Validate(
        validate=validate,
        save_best=lambda: save_keras_model(to_save, best_path),
        monitor=monitor,
        mode="max" if monitor.endswith(("accuracy", "mAP", "rank1")) else "min",
        every=training.validate_every,
        epochs=training.epochs,
        best=loop.restored_best(),
        last_metrics=resumed.state.facts["validation"] if resumed else {},
    )
    loop.run(keeper)
    for variable, value in zip(network.training.variables, keeper.best.weights, strict=True):
        variable.assign(value)
    logger.info("The best model is that of epoch %d (%s)", keeper.best.epoch, monitor)
    measure(RECALIBRATION_BATCHES)
    save_keras_model(to_save, best_path)
    _warn_of_divergence(loop.history.get("loss", ()))
    validation = validator(network)
    logger.info(
        "With batch normalization statistics measured anew it reaches: %s",
        ", ".join(f"{name} {value:.4f}" for name, value in validation.items()),
    )
    return Fitted(
        history=loop.history, best_epoch=keeper.best.epoch, validation=validation, seconds=loop.seconds_so_far()
    )


class _Loop:
    """One ``fit``: its callbacks, and the state that it leaves behind after each epoch."""

    def __init__(self, fitting: Fitting, ctx: RunContext, trainer: ReidTrainer, to_save: keras.Model) -> None:
        from reidfw_core._keras.callbacks import build_callbacks, plain_attributes

        self._fitting, self._ctx, self._trainer, self._to_save = fitting, ctx, trainer, to_save
        self._training = fitting.inp.training
        facts = fitting.resumed.state.facts if fitting.resumed else {}
        self._first_epoch = int(facts.get("epoch", 0))
        self.history: dict[str, list[float]] = {name: list(values) for name, values in facts.get("history", {}).items()}
        self._seconds_before = float(facts.get("seconds", 0.0))
        self._settings = settings_to_keep(fitting.inp, fitting.resumed)
        self._own = build_callbacks(self._training.callbacks)
        self._fresh = {name: plain_attributes(callback) for name, callback in self._own.items()}
        self._started = time.perf_counter()
        self._keeper: Any = None
        self.steps = self._training.dryrun or fitting.sampler.batches_per_epoch

    def seconds_so_far(self) -> float:
        """Wall time of the loop, that before an interruption included."""
        return self._seconds_before + time.perf_counter() - self._started

    def restored_best(self) -> Best:
        """The best epoch of the training that is resumed."""
        from reidfw_core._keras.callbacks import Best

        resumed = self._fitting.resumed
        if resumed is None:
            return Best()
        facts = resumed.state.facts
        value = facts["best_value"]
        return Best(facts["best_epoch"], math.nan if value is None else value, list(resumed.state.arrays["best"]))

    def run(self, keeper: Any) -> None:
        """Trains from the first epoch that is not done to the last one.

        Args:
            keeper: the callback that validates.
        """
        self._keeper = keeper
        training, total = self._training, self._training.epochs * self.steps * self._training.batch_size
        self._trainer.build_optimizer()
        self._restore_state()
        self._write_table()
        _warn_of_early_stopping(training)
        self._started = time.perf_counter()
        with self._ctx.progress("Training", total, "images") as advance:
            result = self._trainer.fit(
                self._batches(),
                initial_epoch=self._first_epoch,
                epochs=training.epochs,
                steps_per_epoch=self.steps,
                verbose=0,
                shuffle=False,
                callbacks=self._callbacks(keeper, advance),
            )
        seconds = time.perf_counter() - self._started
        logger.info("Training took %.1f s, %.2f s an epoch", seconds, seconds / max(1, len(result.epoch)))

    def _callbacks(self, keeper: Any, advance: Any) -> list[keras.callbacks.Callback]:
        import keras

        from reidfw_core._keras import callbacks as cb

        training, ctx = self._training, self._ctx
        warm_up = round(training.warmup_epochs * self.steps)
        # The state comes last, when all others have done their part.
        return [
            keeper,
            *([cb.WarmUp(warm_up, self.steps)] if warm_up else []),
            *self._own.values(),
            cb.StopOnNan(advice_on_divergence(training)),
            cb.LearningRate(),
            keras.callbacks.CSVLogger(str(self._table), append=True),
            keras.callbacks.TensorBoard(str(ctx.logs_dir), write_graph=False, profile_batch=0),
            cb.Reporter(
                batch_done=lambda done: advance(done * training.batch_size),
                epoch_done=lambda epoch, metrics: ctx.bus.tell(
                    "epoch_finished",
                    epoch=epoch,
                    total=training.epochs,
                    metrics={self._fitting.metric_prefix + name: value for name, value in metrics.items()},
                ),
                batches_before=self._first_epoch * self.steps,
            ),
            cb.SaveState(self._save_state, self._restore_callbacks),
        ]

    @property
    def _table(self) -> Path:
        return self._ctx.logs_dir / "metrics" / METRICS_FILE

    def _batches(self) -> Any:
        from reidfw_core._keras.pipeline import Share, training_batches

        fitting, strategy = self._fitting, self._fitting.strategy
        train_set = fitting.inp.data.train
        cache = _pixel_cache(fitting)

        def stream(share: Share) -> Any:
            return training_batches(
                train_set.paths,
                fitting.labels,
                fitting.spec,
                fitting.sampler,
                fitting.augmentation,
                self._ctx.seed_for("augmentation"),
                self._first_epoch,
                cache=cache,
                share=share,
            )

        if self._training.distribution == "none":
            return stream(Share())
        _check_shares(self._training, strategy.num_replicas_in_sync)
        return strategy.distribute_datasets_from_function(
            lambda context: stream(
                Share(
                    context.input_pipeline_id,
                    context.num_input_pipelines,
                    context.num_replicas_in_sync // context.num_input_pipelines,
                )
            )
        )

    # --- state ---

    def _restore_state(self) -> None:
        resumed = self._fitting.resumed
        if resumed is None:
            return
        try:
            self._trainer.restore(resumed.state.arrays)
        except ValueError as cause:
            raise DataError(
                f"{resumed.path} does not fit this training: {cause}",
                hint="Resume with the losses, weight_average and precision that the training was begun with.",
            ) from cause

    def _restore_callbacks(self) -> None:
        if self._fitting.resumed is None:
            return
        state = self._fitting.resumed.state
        for name, attributes in state.facts["callbacks"].items():
            callback = self._own.get(name)
            if callback is None:
                logger.info("The callback %s is no longer there; what it had learnt is dropped", name)
                continue
            for key, value in attributes.items():
                setattr(callback, key, state.arrays[value["arrays"]] if isinstance(value, dict) else value)

    def _save_state(self, epoch: int, metrics: Mapping[str, float]) -> None:
        from reidfw_core._keras.callbacks import progress_of
        from reidfw_core._keras.state import TrainingState, add_state

        for name, value in metrics.items():
            self.history.setdefault(name, [math.nan] * (epoch - 1)).append(value)
        arrays: dict[str, Sequence[Any]] = {**self._trainer.state_arrays(), "best": self._keeper.best.weights}
        learnt: dict[str, dict[str, Any]] = progress_of(self._own, self._fresh)
        for name, attributes in learnt.items():
            for key, value in attributes.items():
                if isinstance(value, list):
                    group = f"callback {name} {key}"
                    arrays[group], attributes[key] = value, {"arrays": group}
        data = self._fitting.inp.data.train
        best_value = self._keeper.best.value
        state = TrainingState(
            facts={
                "epoch": epoch,
                "epochs": self._training.epochs,
                "finished": "a callback" if self._trainer.stop_training and epoch < self._training.epochs else "",
                "seconds": self.seconds_so_far(),
                "history": self.history,
                "validation": self._keeper.last_metrics,
                "best_epoch": self._keeper.best.epoch,
                "best_value": best_value if math.isfinite(best_value) else None,
                "model": model_name(self._fitting.inp),
                "identities": list(data.identity_names),
                "num_images": len(data),
                "settings": self._settings,
                "callbacks": learnt,
            },
            arrays=arrays,
        )
        last = self._ctx.saved_models_dir / LAST_MODEL
        with self._trainer.averaged_weights(), atomic_path(last) as temporary:
            self._to_save.save(temporary)
            add_state(temporary, state)

    def _write_table(self) -> None:
        """The rows of the epochs that are done already, for Keras's logger to add to."""
        self._table.parent.mkdir(parents=True, exist_ok=True)
        self._table.unlink(missing_ok=True)
        if not self._first_epoch:
            return
        names = sorted(self.history)
        with self._table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *names])
            writer.writerows(
                [epoch, *(self.history[name][epoch] for name in names)] for epoch in range(self._first_epoch)
            )


def make_optimizer(training: TrainingSection, kept: Mapping[str, Any] | None = None) -> Any:
    """The Keras optimizer of the ``training`` section.

    Args:
        training: the section.
        kept: settings of a training that is resumed, which take precedence.

    Raises:
        DataError: Keras has no such optimizer, or refuses its arguments.
    """
    import keras

    from reidfw_core._keras.network import build_optimizer

    name, arguments = training.optimizer.name, dict(training.optimizer.arguments)
    clip, accumulation = training.gradient_clip_norm, training.gradient_accumulation
    if kept is not None:
        name, arguments = kept["optimizer"]["name"], dict(kept["optimizer"]["arguments"])
        clip, accumulation = kept["gradient_clip_norm"], kept["gradient_accumulation"]
    if clip is not None:
        arguments.setdefault("global_clipnorm", clip)
    if accumulation > 1:
        arguments.setdefault("gradient_accumulation_steps", accumulation)
    optimizer = build_optimizer(name, arguments)
    return keras.optimizers.LossScaleOptimizer(optimizer) if training.precision == "mixed_float16" else optimizer


def recalibration_images(train_set: Samples, batches: int, batch_size: int) -> list[Path]:
    """Training images, always the same ones, with which batch normalization statistics are measured, not augmented."""
    count = min(len(train_set), batches * batch_size)
    chosen = np.random.default_rng(0).permutation(len(train_set))[:count]
    whole = count - count % batch_size or count  # a small last batch would have statistics of its own
    return [train_set.paths[index] for index in chosen[:whole]]


def advice_on_divergence(training: TrainingSection) -> str:
    """What to do where the loss becomes NaN."""
    if training.precision == "mixed_float16":
        return f"training.precision: mixed_float16 is for GPUs; try mixed_bfloat16 or float32. {DIVERGED}"
    return DIVERGED


def _warn_of_divergence(losses: Sequence[float]) -> None:
    if losses and losses[-1] > DIVERGED_FACTOR * min(losses):
        logger.warning(
            "The training loss ended at %g; it had been %g: it diverged. %s", losses[-1], min(losses), DIVERGED
        )


def log_start(fitting: Fitting) -> None:
    """Says what is trained on what, and warns of what will not work well."""
    inp, network, sampler = fitting.inp, fitting.network, fitting.sampler
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
        "%s of %s, %d identities x %d images each",
        _counted(inp.training.epochs, "epoch", "epochs"),
        _counted(inp.training.dryrun or sampler.batches_per_epoch, "batch", "batches"),
        sampler.batch_size // sampler.instances,
        sampler.instances,
    )
    _warn_of_small_sets(data.train, sampler)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _warn_of_small_sets(train_set: Samples, sampler: PKSampler) -> None:
    present = len(train_set.identity_names)
    if sampler.batch_size // sampler.instances > present:
        logger.warning(
            "A batch of %d has room for %d identities x %d images, but the training set has only %d identities: "
            "batches are filled up with more images of them",
            sampler.batch_size,
            sampler.batch_size // sampler.instances,
            sampler.instances,
            present,
        )
    counts = np.unique(np.asarray(train_set.identities, dtype=object).astype(str), return_counts=True)[1]
    alone = int((counts == 1).sum())
    if alone == present:
        logger.warning(
            "Every identity has a single training image: a triplet loss has no positives and teaches nothing"
        )
    elif alone:
        logger.warning(
            "%d of %d identities have a single training image: they serve as negatives only, and have no positive to "
            "be pulled to",
            alone,
            present,
        )


def _warn_of_early_stopping(training: TrainingSection) -> None:
    for name, arguments in training.callbacks.items():
        watched = (arguments or {}).get("monitor", "val_loss")
        if (arguments or {}).get("restore_best_weights") and watched != training.checkpoint_monitor:
            logger.warning(
                "training.callbacks.%s stops the training; the saved model is that of the best %s. "
                "Set training.checkpoint_monitor to %s if that is what you want.",
                name,
                training.checkpoint_monitor,
                watched,
            )


def _check_shares(training: TrainingSection, devices: int) -> None:
    group = devices * training.instances_per_identity
    if training.batch_size % group:
        raise DataError(
            f"training.batch_size is {training.batch_size}; on {devices} devices it must be a multiple of {devices} x "
            f"{training.instances_per_identity} (instances_per_identity)",
            hint=f"{max(1, training.batch_size // group) * group} would do.",
        )


def _pixel_cache(fitting: Fitting) -> Any:
    from reidfw_core.imaging.cache import PixelCache

    dataset, paths = fitting.inp.dataset, fitting.inp.data.train.paths
    if dataset.cache == "none":
        return None
    limit = dataset.cache_limit * GIGABYTE
    if dataset.cache == "disk":
        cache = PixelCache.on_disk(paths, fitting.spec, limit, cache_root() / "pixels")
    else:
        cache = PixelCache.in_memory(len(paths), fitting.spec, limit)
    if cache.places < len(paths):
        logger.warning(
            "dataset.cache_limit of %g GBytes holds %d of %d images; the others are decoded each time",
            dataset.cache_limit,
            cache.places,
            len(paths),
        )
    return cache
