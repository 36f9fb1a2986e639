"""What the steps of a run hand to each other, beside the :class:`~reidfw_core.types.ModelFile`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reidfw_core.types import ModelFile, Samples


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
    """

    samples: Samples
    origin: str


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
    """

    embedding_model: ModelFile
    classification_model: ModelFile
    history: Mapping[str, tuple[float, ...]]
    best_epoch: int
    num_identities: int
    seconds: float
    validation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalReport:
    """How well a model retrieves identities.

    Attributes:
        model: the model that was scored.
        kind: ``float`` or ``int``, the prefix of the metrics' names.
        data_name: ``test_set`` or ``validation_set``.
        rank_accuracy: rank-k accuracy in [0, 1] for k = 1, 5, 10.
        mean_average_precision: mAP in [0, 1].
        mean_inverse_negative_penalty: mINP in [0, 1].
        num_queries, num_gallery: sizes of the two sets.
        queries_without_match: how many queries have no image of their identity in the gallery; they count in no metric.
        metric: ``cosine`` or ``euclidean``.
        threshold: distance at or below which two images are best called the same identity; None where a set has only
            pairs of one sort.
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
    num_queries: int
    num_gallery: int
    queries_without_match: int
    metric: str
    threshold: float | None
    kernels: str
    images_per_second: float
    figures: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionData:
    """Images to name, and the gallery of known ones."""

    query: Samples
    gallery: Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A gallery image near a query: its file, its identity and its distance."""

    image: Path
    identity: str
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A query image and its nearest gallery images, nearest first."""

    image: Path
    neighbours: tuple[Neighbour, ...]

    @property
    def identity(self) -> str:
        """The identity of the nearest gallery image."""
        return self.neighbours[0].identity


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReport:
    """All predictions of a run, and the folder with their sheets and tables."""

    predictions: tuple[Prediction, ...]
    folder: Path
    metric: str
