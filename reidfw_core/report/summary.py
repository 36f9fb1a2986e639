"""``summary.json``: all numbers of a run in one file with a published schema (``reidfw schema --summary``).

Scores are in percent, lengths in the units that their names tell; a number that does not exist is null.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reidfw_core.errors import DataError

SUMMARY_NAME = "summary.json"
SCHEMA_VERSION: Literal[1] = 1


class Part(BaseModel):
    """A part of the summary. Unknown names are refused, so that a misspelt reader fails at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class RunFacts(Part):
    """Which run this is."""

    name: str
    """Name of the run folder."""
    folder: str
    """Absolute path of the run folder when it was written."""
    project: str
    """``general.project_name``."""
    operation_mode: str
    dataset: str
    """``dataset.dataset_name``."""
    status: Literal["running", "finished", "failed", "interrupted"]
    started: str
    """Beginning of the run, ISO 8601 in UTC."""
    seconds: float
    """Wall time until this file was written."""


class StepSummary(Part):
    """A finished step."""

    key: str
    """Unique name, ``evaluate`` or ``evaluate_2``."""
    title: str
    component: str | None
    """What did the work, null for the core."""
    seconds: float


class ModelSummary(Part):
    """A model file."""

    name: str
    file: str
    """Path, relative to the run folder where it lies inside."""
    format: str
    """For example ``keras/float32`` or ``tflite/int8``."""
    size_bytes: int
    sha256: str


class Score(Part):
    """A score in percent with its bootstrap confidence interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class GroupSummary(Part):
    """Scores of the queries of one identity or one camera, in percent."""

    name: str
    num_queries: int
    num_matched: int
    """Queries that have an image of their identity in the gallery."""
    mAP: float | None  # noqa: N815
    rank1: float | None


class Roc(Part):
    """Receiver operating characteristic: corner points, rates in [0, 1], ascending."""

    false_positive_rates: list[float]
    true_positive_rates: list[float]
    thresholds: list[float | None]
    area: float
    """Area under the curve in [0, 1], from all points."""


class Histogram(Part):
    """Pairs by distance."""

    edges: list[float]
    """B + 1 borders of the bins."""
    genuine: list[int]
    """B numbers of pairs of the same identity."""
    impostor: list[int]
    """B numbers of pairs of different identities."""


class VerificationSummary(Part):
    """How well a threshold tells same from different identities; null where a set has pairs of one sort only."""

    threshold: float | None
    """Distance at or below which two images are called the same identity."""
    balanced_accuracy: float | None
    """Percent, at the threshold."""
    equal_error_rate: float | None
    """Percent."""
    true_positive_rate_at: dict[str, float]
    """Percent, by false positive rate (``"0.01"``)."""
    num_genuine: int
    num_impostor: int
    roc: Roc | None
    histogram: Histogram


class QuerySummary(Part):
    """One query: how it went."""

    image: str
    identity: str
    camera: str | None
    average_precision: float | None
    """Percent; null without a match in the gallery."""
    first_match_rank: int | None


class EvaluationSummary(Part):
    """Scores of one model on one data set."""

    step: str
    model: ModelSummary
    kind: Literal["float", "int"]
    data: str
    """``test_set`` or ``validation_set``."""
    protocol: str
    distance: str
    options: dict[str, Any]
    """``flip``, ``rerank``, ``multi_query``: what else was done."""
    num_queries: int
    num_gallery: int
    queries_without_match: list[str]
    """Query images whose identity is not in the gallery; they count in no score."""
    percent_per_query: float | None
    """How many points of rank-k one query is: 100 / number of matched queries."""
    confidence: float | None
    """Level of the intervals, for example 0.95; null where they were not asked for."""
    scores: dict[str, Score]
    """``mAP``, ``mINP``, ``rank1``, ``rank5``, ``rank10``."""
    cmc: list[float]
    """Rank-k accuracy in percent for k = 1, 2, ..."""
    per_identity: list[GroupSummary]
    per_camera: list[GroupSummary]
    verification: VerificationSummary | None
    worst_queries: list[QuerySummary]
    kernels: str
    """What computed the embeddings."""
    images_per_second: float


class LayerSummary(Part):
    """Error of one layer of the quantized model against the float one."""

    name: str
    operator: str
    signal_to_noise_db: float | None
    cosine: float | None
    mean_absolute_error: float | None
    embedding_error: float | None = None
    """Relative error of the embeddings in percent where this layer alone is quantized; null where not measured."""
    quantized_bytes: int | None = None
    float_bytes: int | None = None
    kept_at: str | None = None
    """Number format at which the layer was left; null where it is quantized."""


class TrialSummary(Part):
    """A variant of the quantized model that was scored."""

    num_kept: int
    """Layers left at a higher precision."""
    precision: str | None
    mAP: float | None  # noqa: N815
    """Percent."""
    drop: float
    """Points of mAP that it loses against the float model."""


class SearchSummary(Part):
    """How ``quantization.max_map_drop`` was kept."""

    max_map_drop: float
    reached: bool
    data: str
    """What mAP was measured on."""
    float_mAP: float | None  # noqa: N815
    """Percent."""
    chosen: TrialSummary
    trials: list[TrialSummary]
    """In the order in which they were scored; the fully quantized model is the first."""


class FidelitySummary(Part):
    """Float against quantized model, embedding by embedding."""

    step: str
    float_model: ModelSummary
    """The one that was quantized, whose embeddings are compared; a fine-tuned one rounds already."""
    quantized_model: ModelSummary
    num_images: int
    images: str
    """Where the images came from."""
    mean_cosine: float | None
    min_cosine: float | None
    signal_to_noise_db: float | None
    mean_pearson: float | None
    neighbour_overlap: dict[str, float]
    """Percent of the k nearest neighbours that stay, by k."""
    layers: list[LayerSummary]
    """Worst first; empty where the quantizer cannot tell."""
    size_ratio: float
    """Size of the quantized file over that of the float one, which is the one before any fine-tuning."""
    fine_tuned_from: ModelSummary | None = None
    """The float model before a quantization-aware training, which size and mAP are compared with; null without one."""
    search: SearchSummary | None = None
    """Null without ``quantization.max_map_drop``."""


class TrainingSummary(Part):
    """A training."""

    epochs: int
    best_epoch: int
    """Counted from 1; 0 for the weights before training."""
    seconds: float
    num_identities: int
    history: dict[str, list[float | None]]
    """One value an epoch for each metric."""


class QuantitySummary(Part):
    """One quantity of a model on a board, the columns kept apart by where a number comes from."""

    name: str
    unit: str
    measured: float | None
    modelled_low: float | None
    modelled_high: float | None
    """The range that follows from assumptions."""
    published: float | None
    """Somebody else's figure for such a model on this board."""


class LayerInstructionsSummary(Part):
    """What one layer costs on a board."""

    name: str
    operator: str
    macs: int
    instructions: int


class BenchmarkSummary(Part):
    """What a model costs on a board; null where this way of measuring does not tell."""

    board: str
    model: ModelSummary
    tool: str | None
    inference_ms: float | None
    macs: int | None
    activations_ram_kib: float | None
    total_ram_kib: float | None
    weights_flash_kib: float | None
    total_flash_kib: float | None
    internal_ram_kib: float | None = None
    external_ram_kib: float | None = None
    internal_flash_kib: float | None = None
    external_flash_kib: float | None = None
    """The memory by where it lies; null where the tool does not tell."""
    board_ram_kib: float | None
    board_flash_kib: float | None
    quantities: list[QuantitySummary] = Field(default_factory=list)
    origins: dict[str, str] = Field(default_factory=dict)
    """Where the numbers of a column (measured, modelled, published) come from."""
    layers: list[LayerInstructionsSummary] = Field(default_factory=list)
    board_external_ram_kib: float | None = None
    board_external_flash_kib: float | None = None
    details: dict[str, Any]


class DeploymentSummary(Part):
    """An application that was built, and written to a board."""

    board: str
    model: ModelSummary
    firmware: str | None
    next_steps: list[str]
    details: dict[str, Any]


class PredictionSummary(Part):
    """A prediction."""

    num_queries: int
    num_gallery: int
    distance: str
    threshold: float | None
    num_accepted: int | None
    """Queries whose nearest gallery image lies within the threshold; null without a threshold."""
    folder: str


class FigureSummary(Part):
    """A picture of the run, paths relative to the run folder."""

    file: str
    title: str
    svg: str | None = None
    """The same for web pages, with colours as CSS variables."""
    step: str | None = None


class Summary(Part):
    """All numbers of a run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    reidfw: str
    """Version of reidfw-core."""
    run: RunFacts
    metrics: dict[str, float | None]
    """Under the names that trackers get, for example ``int_mAP_test_set``."""
    steps: list[StepSummary] = Field(default_factory=list)
    training: TrainingSummary | None = None
    evaluations: list[EvaluationSummary] = Field(default_factory=list)
    fidelity: list[FidelitySummary] = Field(default_factory=list)
    benchmarks: list[BenchmarkSummary] = Field(default_factory=list)
    deployments: list[DeploymentSummary] = Field(default_factory=list)
    prediction: PredictionSummary | None = None
    figures: list[FigureSummary] = Field(default_factory=list)
    environment: dict[str, Any] = Field(default_factory=dict)
    """Versions of Python, packages and components."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The resolved configuration without the section ``mlflow``, which may hold a password."""


def read_summary(run_dir: Path) -> Summary:
    """Reads the ``summary.json`` of a run folder (or the file itself).

    Raises:
        DataError: there is none, or it is damaged or of another version.
    """
    path = run_dir if run_dir.is_file() else run_dir / SUMMARY_NAME
    if not path.is_file():
        hint = "Give a folder that `reidfw run` made; it holds summary.json once the run is over."
        raise DataError(f"{run_dir} is no run folder: there is no {path}", hint=hint)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise DataError(f"{path} cannot be read: {cause}") from cause
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != SCHEMA_VERSION:
        raise DataError(f"{path} has schema_version {found}; this version of reidfw reads {SCHEMA_VERSION}")
    try:
        return Summary.model_validate(content)
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {place}: {first['msg']}") from cause


def summary_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``summary.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "summary.json of a reidfw run",
        **Summary.model_json_schema(),
    }
