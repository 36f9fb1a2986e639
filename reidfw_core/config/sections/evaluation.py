"""The sections ``evaluation`` and ``prediction``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reidfw_core.config.sections.base import AnyCase, DistanceMetric, Integer, OpenSection, PositiveInt

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


class EvaluationSection(ScoringSection):
    """How accuracy is measured.

    Source: the user's document, section 2.1.
    """

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

    seed: Annotated[Integer, Field(ge=0)] | None = None
    """Accepted and ignored."""
