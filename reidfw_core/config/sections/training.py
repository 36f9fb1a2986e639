"""The ``training`` section."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from reidfw_core.config.expressions import is_lambda, parse_lambda, parse_layer_slices
from reidfw_core.config.sections.base import AnyCase, AsWritten, Number, OpenSection, PositiveInt, Section

BUILT_IN_CALLBACKS = {
    "ModelCheckpoint": "the best and the last model are always saved",
    "TensorBoard": "TensorBoard logs are always written to general.logs_dir",
    "CSVLogger": "train_metrics.csv is always written to general.logs_dir",
    "BackupAndRestore": "the whole state is always saved; reidfw resume goes on from it",
    "SwapEMAWeights": "training.weight_average keeps an average of the weights",
}
"""Callbacks that every training has and that cannot be configured, and what each does."""

CROSS_ENTROPY = "identity_cross_entropy"
"""The loss that every training has unless ``losses`` says otherwise."""


class Optimizer(Section):
    """A Keras optimizer."""

    name: str
    """Name of a class of ``keras.optimizers``."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""


def _optimizer(value: Any) -> Any:
    if isinstance(value, str) and value.strip():
        return Optimizer(name=value.strip())
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, arguments),) = value.items()
        if arguments is None or isinstance(arguments, Mapping):
            return Optimizer(name=str(name), arguments=dict(arguments or {}))
        raise ValueError(f"the arguments of {name} are attributes below it, got {arguments!r}")
    given = f", got {', '.join(map(str, value))}" if isinstance(value, Mapping) and value else ""
    hint = "; delete one, on the command line with ~training.optimizer.NAME" if given and len(value) > 1 else ""
    raise ValueError(f"the name of one Keras optimizer is expected, with its arguments below it{given}{hint}")


_OPTIMIZER_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"type": ["object", "null"]},
        },
    ]
}


def _callback_name(name: str) -> str:
    if name in BUILT_IN_CALLBACKS:
        raise ValueError("is built in and cannot be configured; remove it")
    return name


def _no_arguments(value: Any) -> Any:
    return {} if value is None else value


def _callback_argument(value: Any) -> Any:
    if is_lambda(value):
        parse_lambda(value)
    return value


Callbacks = dict[
    Annotated[str, AfterValidator(_callback_name)],
    Annotated[dict[str, Annotated[Any, AfterValidator(_callback_argument)]], BeforeValidator(_no_arguments)],
]


def _layers(value: Any) -> tuple[int | slice, ...]:
    return parse_layer_slices(value)


def _false_is_none(value: Any) -> Any:
    return None if value is False else value


class TripletLoss(OpenSection):
    """A triplet loss beside the cross-entropy. Further attributes, such as ``margin``, belong to the loss."""

    strategy: str = "hard"
    """How triplets are chosen: ``hard`` (the default), ``semi_hard``, ``simple``, or the name of an installed loss."""


class LossItem(OpenSection):
    """One term of the loss. Further attributes belong to the loss."""

    name: str
    """Name of an installed loss."""
    weight: Annotated[Number, Field(gt=0)] = 1.0
    """Factor of the term in the sum. Defaults to 1.0."""


class TrainingSection(Section):
    """How the model is trained.

    Source: the user's document, section 2.7.
    """

    instances_per_identity: PositiveInt = 4
    """Images of each identity in a batch (K of the PK sampler). Defaults to 4."""
    batch_size: PositiveInt
    """Images in a batch: a multiple of ``instances_per_identity``. Required."""
    epochs: PositiveInt
    """Passes over the training set. Required."""
    optimizer: Annotated[Optimizer, BeforeValidator(_optimizer), WithJsonSchema(_OPTIMIZER_SCHEMA)]
    """A Keras optimizer: its name, or its name with arguments below it. Required."""
    dropout: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Rate of a dropout layer before the classifier, in [0, 1). No such layer by default."""
    frozen_layers: Annotated[
        tuple[Any, ...],
        AsWritten(),
        BeforeValidator(_layers),
        Field(json_schema_extra={"type": ["string", "integer", "array", "null"], "items": {}}),
    ] = ()
    """Layers that are not trained, as Python indices and slices: (0:-1), (7:13, 16, -1), 2. None by default. The pair
    (0, -1) means (0:-1)."""
    callbacks: Callbacks = Field(default_factory=dict)
    """Keras callbacks with their arguments. None by default."""
    triplet_loss: TripletLoss | None = None
    """A triplet loss beside the cross-entropy; none where the attribute is absent."""
    losses: Annotated[tuple[LossItem, ...], Field(min_length=1)] | None = None
    """All terms of the loss, instead of cross-entropy and ``triplet_loss``."""
    gradient_clip_norm: Annotated[Number, Field(gt=0)] | None = None
    """Largest norm of the gradient of all weights together; longer ones are shortened. Not limited by default."""
    gradient_accumulation: PositiveInt = 1
    """Batches whose gradients are averaged for one step of the optimizer. Defaults to 1."""
    warmup_epochs: Annotated[Number, Field(ge=0)] = 0.0
    """Epochs over which the learning rate rises in a straight line to what the optimizer or the schedule says.
    Defaults to 0."""
    precision: Annotated[Literal["float32", "mixed_bfloat16", "mixed_float16"], AnyCase] = "float32"
    """Number format of the computation; weights and saved models are float32 always. Defaults to ``float32``."""
    distribution: Annotated[Literal["none", "mirrored", "multi_worker"], AnyCase] = "none"
    """Train on one device (``none``, the default), on all devices of this computer (``mirrored``), or on several
    computers (``multi_worker``, each started with its ``TF_CONFIG``). The batch is divided among them."""
    batch_norm_momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    """Share of their old value that batch normalization statistics keep at each step, in [0, 1). Defaults to 0.9."""
    weight_average: Annotated[Number, Field(ge=0, lt=1)] = 0.98
    """Share of the old average that each step keeps in the moving average of the weights, which is what is validated
    and saved; 0 switches it off. Defaults to 0.98."""
    sharpness_radius: Annotated[Number, Field(ge=0)] | None = None
    """Length of the step uphill in sharpness-aware minimisation; 0 switches it off. By default 0.05 where a network
    starts from random weights and no augmentation is given, else 0."""
    checkpoint_monitor: Literal["val_loss", "val_accuracy", "val_mAP", "val_rank1"] = "val_loss"
    """Metric that tells the best epoch. Defaults to ``val_loss``, and to ``val_mAP`` where ``validation_split_by`` is
    ``identity``: a classifier cannot be scored on identities that it has not seen."""
    validate_every: PositiveInt = 1
    """Epochs from one validation to the next; the first and the last epoch are always validated. Defaults to 1."""
    resume_training_from: Annotated[bool | Path | None, BeforeValidator(_false_is_none)] = None
    """Go on with a training exactly where it stopped: the path of its ``last_augmented_model.keras`` or of its run
    folder, or True where ``model.model_path`` is that file. ``epochs`` counts from the beginning. None by default."""
    trained_model_path: Path | None = None
    """Where a further copy of the best model goes. None by default."""
    dryrun: Annotated[PositiveInt | None, BeforeValidator(_false_is_none)] = None
    """Batches in an epoch, for a quick trial. All by default."""

    @field_validator("batch_size")
    @classmethod
    def _check_batch(cls, value: int, info: ValidationInfo) -> int:
        instances = info.data.get("instances_per_identity")
        if instances and value % instances:
            raise ValueError(
                f"must be a multiple of instances_per_identity ({instances}), got {value}; "
                f"{value // instances * instances or instances} or {(value // instances + 1) * instances} would do"
            )
        return value

    @field_validator("losses")
    @classmethod
    def _check_losses(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("triplet_loss") is not None:
            raise ValueError("losses lists all terms, so it excludes triplet_loss; give one of them")
        return value
