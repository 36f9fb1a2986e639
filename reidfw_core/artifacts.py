"""What the steps of a run hand to each other, beside the :class:`~reidfw_core.types.ModelFile`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reidfw_core.types import ModelFile, Samples

if TYPE_CHECKING:
    from reidfw_core.metrics import FidelityScores, GroupScores, ThresholdScores
    from reidfw_core.types import LayerError, QuantizedLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Images to train with, and to validate on.

    Attributes:
        train: training samples; their identities are the classes.
        validation: samples held out, or the samples of ``dataset.validation_path``.
    """

    train: Samples
    validation: Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalData:
    """Images on which retrieval is scored.

    Attributes:
        name: ``test_set`` or ``validation_set``; the suffix of the metrics' names.
        query, gallery: the two sides. Where only a validation set exists they are the same samples, and each query
            is compared with all others but itself.
    """

    name: str
    query: Samples
    gallery: Samples

    @property
    def leave_one_out(self) -> bool:
        """Whether query and gallery are the same images."""
        return self.query.paths == self.gallery.paths


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """Images with which a quantizer measures activation ranges.

    Attributes:
        samples: the chosen images, in their seeded order.
        origin: the attribute that named them, for the log.
        noise_seed: seed of random images that take their place (``dataset.quantization_allow_random``), else None.
    """

    samples: Samples
    origin: str
    noise_seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The result of training.

    Attributes:
        embedding_model: ``best_model.keras``, image to embedding.
        classification_model: ``best_model_classification.keras``, image to softmax over the training identities.
        history: one list of values an epoch for each metric.
        best_epoch: epoch, counted from 1, whose weights were kept; 0 for the weights before training.
        num_identities: identities in the training set.
        seconds: wall time of the training loop.
        validation: loss and accuracy of the best model on the validation set.
        figures: pictures that were drawn.
    """

    embedding_model: ModelFile
    classification_model: ModelFile
    history: Mapping[str, tuple[float, ...]]
    best_epoch: int
    num_identities: int
    seconds: float
    validation: Mapping[str, float] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What quantizing one layer alone costs.

    Attributes:
        layer: the layer.
        embedding_error: relative error of the embeddings in [0, inf), root of (sum of squared differences / sum of
            squares), where this layer alone is quantized.
        kept_at: number format at which it was left; None where it is quantized.
    """

    layer: QuantizedLayer
    embedding_error: float
    kept_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionTrial:
    """One scored variant of a quantized model.

    Attributes:
        num_kept: layers left at a higher precision.
        precision: number format of these layers; None where there are none.
        mean_average_precision: mAP in [0, 1].
        drop: how much lower than that of the float model it is, in points of mAP.
    """

    num_kept: int
    precision: str | None
    mean_average_precision: float
    drop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionSearch:
    """How ``quantization.max_map_drop`` was kept.

    Attributes:
        max_map_drop: the limit, in points of mAP.
        float_map: mAP of the float model in [0, 1].
        trials: all that was scored in this order, the fully quantized model first.
        chosen: the trial that was kept.
        costs: what each layer costs, the most expensive first; empty where nothing had to be searched.
        data_name: what mAP was measured on, ``test_set`` or ``validation_set``.
    """

    max_map_drop: float
    float_map: float
    trials: tuple[PrecisionTrial, ...]
    chosen: PrecisionTrial
    costs: tuple[LayerCost, ...]
    data_name: str

    @property
    def reached(self) -> bool:
        """Whether the chosen model keeps the limit."""
        return self.chosen.drop <= self.max_map_drop


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTunedModel:
    """The result of a quantization-aware training.

    Attributes:
        model: ``best_qat_model.keras``, image to embedding; it computes as its quantized form will.
        given: the float model that the training began with.
        history: one list of values an epoch for each metric.
        best_epoch: epoch, counted from 1, whose weights were kept.
        seconds: wall time of the training loop.
        validation: metrics of the best epoch on the validation set.
        figures: pictures that were drawn.
    """

    model: ModelFile
    given: ModelFile
    history: Mapping[str, tuple[float, ...]]
    best_epoch: int
    seconds: float
    validation: Mapping[str, float] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedModel:
    """The result of quantization.

    Attributes:
        model: the integer model.
        source: the float model that it was made from; that of a quantization-aware training rounds already.
        fine_tuned_from: the float model before a quantization-aware training; None without one.
        search: how ``quantization.max_map_drop`` was kept; None where there is no limit.
    """

    model: ModelFile
    source: ModelFile
    fine_tuned_from: ModelFile | None = None
    search: PrecisionSearch | None = None

    @property
    def original(self) -> ModelFile:
        """The float model that nothing was rounded in: what quantization costs is measured against it."""
        return self.fine_tuned_from or self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityReport:
    """How closely the quantized model follows the float one.

    Attributes:
        source, model: the float model that was quantized, and the quantized one.
        fine_tuned_from: the float model before a quantization-aware training; None without one.
        num_images: images that both embedded.
        origin: where they came from, for people.
        scores: the embeddings compared.
        layers: errors layer by layer, worst first; empty where the quantizer cannot tell.
        costs: what each layer costs when it alone is quantized, the most expensive first; empty where not measured.
        search: how ``quantization.max_map_drop`` was kept; None where there is no limit.
        figures: pictures that were drawn.
    """

    source: ModelFile
    model: ModelFile
    num_images: int
    origin: str
    scores: FidelityScores
    layers: tuple[LayerError, ...] = ()
    costs: tuple[LayerCost, ...] = ()
    fine_tuned_from: ModelFile | None = None
    search: PrecisionSearch | None = None
    figures: tuple[Figure, ...] = ()

    @property
    def size_ratio(self) -> float:
        """Size of the quantized file over that of the float one, which is the one before any fine-tuning."""
        return self.model.size_bytes / (self.fine_tuned_from or self.source).size_bytes

    def by_layer(self) -> tuple[LayerRow, ...]:
        """All layers with what is known of them: the most expensive first, then those with the lowest SNR."""
        errors = {error.name: error for error in self.layers}
        costly = [
            LayerRow(cost.layer.name, cost.layer.operator, errors.pop(cost.layer.name, None), cost)
            for cost in self.costs
        ]
        return (*costly, *(LayerRow(error.name, error.operator, error, None) for error in errors.values()))


class LayerRow(NamedTuple):
    """A layer with its error in the quantized model and its cost; None where that was not measured."""

    name: str
    operator: str
    error: LayerError | None
    cost: LayerCost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture that a step drew.

    Attributes:
        path: the file for people.
        title: what it shows, a few words.
        svg: the same picture for web pages, None for photographs.
    """

    path: Path
    title: str
    svg: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """How one query went: NaN and 0 stand for a query without a match in the gallery."""

    image: Path
    identity: str
    camera: str | None
    average_precision: float
    first_match_rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalReport:
    """How well a model retrieves identities. Scores are in [0, 1].

    Attributes:
        model: the model that was scored.
        kind: ``float`` or ``int``, the prefix of the metrics' names.
        data_name: ``test_set`` or ``validation_set``.
        rank_accuracy: rank-k accuracy for k = 1, 5, 10.
        mean_average_precision: mAP.
        mean_inverse_negative_penalty: mINP.
        cmc: rank-k accuracy for k = 1, 2, ...
        intervals: confidence interval (low, high) by score (``mAP``, ``mINP``, ``rank1`` ...); empty where
            not asked for.
        confidence: their level.
        num_queries, num_gallery: sizes of the two sets.
        queries_without_match: how many queries have no image of their identity in the gallery; they count in no metric.
        unmatched: those queries.
        per_identity, per_camera: scores of the queries of each identity and camera, worst first.
        worst: the worst queries, worst first.
        metric: ``cosine`` or ``euclidean``.
        protocol: which gallery images a query was compared with.
        options: what else was done, JSON-able: ``flip``, ``rerank``, ``multi_query``.
        verification: threshold and error rates, over the same pairs.
        kernels: the implementation that computed the embeddings.
        images_per_second: embedding rate, decoding included.
        figures: pictures that were drawn.
    """

    model: ModelFile
    kind: str
    data_name: str
    rank_accuracy: Mapping[int, float]
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    cmc: tuple[float, ...]
    intervals: Mapping[str, tuple[float, float]]
    confidence: float | None
    num_queries: int
    num_gallery: int
    queries_without_match: int
    unmatched: tuple[Path, ...]
    per_identity: tuple[GroupScores, ...]
    per_camera: tuple[GroupScores, ...]
    worst: tuple[QueryResult, ...]
    metric: str
    protocol: str
    options: Mapping[str, Any]
    verification: ThresholdScores
    kernels: str
    images_per_second: float
    figures: tuple[Figure, ...] = ()

    @property
    def threshold(self) -> float | None:
        """Distance at or below which two images are best called the same identity; None with pairs of one sort only."""
        return self.verification.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionData:
    """Images to name, and the gallery of known ones; None where an index stands in for it."""

    query: Samples
    gallery: Samples | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A gallery image near a query: its file, its identity and its distance."""

    image: Path
    identity: str
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A query image and its nearest gallery images, nearest first.

    Attributes:
        accepted: whether the nearest one lies within the threshold; None where no threshold is given.
    """

    image: Path
    neighbours: tuple[Neighbour, ...]
    accepted: bool | None = None

    @property
    def identity(self) -> str:
        """The identity of the nearest gallery image."""
        return self.neighbours[0].identity


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReport:
    """All predictions of a run, and the folder with their sheets and tables."""

    model: ModelFile
    predictions: tuple[Prediction, ...]
    folder: Path
    metric: str
    num_gallery: int
    threshold: float | None = None
