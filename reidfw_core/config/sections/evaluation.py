"""The sections ``evaluation`` and ``prediction``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from reidfw_core.config.sections.base import (
    AnyCase,
    DistanceMetric,
    Integer,
    Number,
    OpenSection,
    PositiveInt,
    Section,
)

DeviceType = Annotated[Literal["int8", "uint8", "float32"], AnyCase]
ChannelPlace = Annotated[Literal["chlast", "chfirst"], AnyCase]


class ScoringSection(OpenSection):
    """What evaluation and prediction share. Further attributes belong to the target."""

    target: str = "host"
    """What runs the model. Defaults to ``host``, this computer."""
    reid_distance_metric: DistanceMetric = "cosine"
    """Distance between embeddings: ``cosine`` (the default) or ``euclidean``."""
    profile: str = "profile_O3"
    """Compiler profile on a target with an NPU. Defaults to ``profile_O3``."""
    input_type: DeviceType = "uint8"
    """Number format of the input on a device. Defaults to ``uint8``."""
    output_type: DeviceType = "int8"
    """Number format of the output on a device. Defaults to ``int8``."""
    input_chpos: ChannelPlace = "chlast"
    """Place of the channels in the input on a device. Defaults to ``chlast``."""
    output_chpos: ChannelPlace = "chlast"
    """Place of the channels in the output on a device. Defaults to ``chlast``."""


class Rerank(Section):
    """k-reciprocal re-ranking.

    Source: Z. Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.
    """

    k1: PositiveInt = 20
    """Neighbours among which reciprocal ones are looked for. Defaults to 20."""
    k2: PositiveInt = 6
    """Neighbours over which a query's description is averaged. Defaults to 6."""
    lambda_value: Annotated[Number, Field(ge=0, le=1)] = 0.3
    """Weight of the original distance against the Jaccard distance, in [0, 1]. Defaults to 0.3."""


def _switch(value: Any) -> Any:
    return {} if value is True else None if value is False else value


class EvaluationSection(ScoringSection):
    """How accuracy is measured.

    Source: the user's document, section 2.1.
    """

    protocol: Annotated[Literal["auto", "all", "market1501", "cuhk03", "veri"], AnyCase] = "auto"
    """Which gallery images a query is compared with. ``auto``, the default, is ``market1501`` where the reader knows
    cameras, else ``all``."""
    flip: bool = False
    """Embed each image and its mirror image, and add both. Defaults to False."""
    rerank: Annotated[Rerank | None, BeforeValidator(_switch)] = None
    """k-reciprocal re-ranking: True, or its settings. Off by default."""
    multi_query: bool = False
    """Pool the queries of the same identity and camera into one. Defaults to False."""
    max_rank: PositiveInt = 100
    """Last rank of the CMC curve. Defaults to 100."""
    bootstrap_samples: Annotated[Integer, Field(ge=0, le=100_000)] = 1000
    """Resamplings for confidence intervals; 0 leaves them out. Defaults to 1000."""
    confidence: Annotated[Number, Field(gt=0, lt=1)] = 0.95
    """Level of the confidence intervals. Defaults to 0.95."""
    embedding_map: Annotated[Literal["pca", "tsne", "umap", "none"], AnyCase] = "tsne"
    """How the picture of the embeddings is projected to a plane. Defaults to ``tsne``."""

    batch_size: PositiveInt = 32
    """Images that are computed at a time. Defaults to 32; no effect on the result."""
    gen_npy_input: bool = False
    """Accepted and ignored."""
    gen_npy_output: bool = False
    """Accepted and ignored."""
    npy_in_name: str | None = None
    """Accepted and ignored."""
    npy_out_name: str | None = None
    """Accepted and ignored."""


class PredictionSection(ScoringSection):
    """How identities are predicted.

    Source: the user's document, section 2.1.
    """

    threshold: Annotated[Number, Field(ge=0)] | Path | None = None
    """Distance at or below which the nearest gallery image counts as the same identity, or the threshold file of an
    evaluation. None by default: then no yes or no is given."""
    neighbours: PositiveInt = 5
    """Nearest gallery images that are reported and drawn for each query. Defaults to 5."""
    gallery_index: Path | None = None
    """Gallery index (``reidfw gallery build``) that stands in for the images of the gallery folder."""
    seed: Annotated[Integer, Field(ge=0)] | None = None
    """Accepted and ignored."""
