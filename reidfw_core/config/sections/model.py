"""The ``model`` section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from reidfw_core.config.sections.base import Address, AnyCase, FileOrUrl, OpenSection, PositiveInt


def _shape(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"(height, width, channels) is expected, for example (256, 128, 3), got {value!r}")
    return tuple(value)


MAX_SIDE_PX = 4096
"""Largest height and width of an input: beyond it nothing fits any computer that trains, let alone a board."""

Side = Annotated[PositiveInt, Field(le=MAX_SIDE_PX)]
InputShape = Annotated[tuple[Side, Side, PositiveInt], BeforeValidator(_shape)]


class ModelSection(OpenSection):
    """The model: a file, or the name of a backbone to build. Further attributes belong to the backbone.

    Source: the user's document, sections 2.2 (``model_path``), 2.6 and 2.7 (``pretrained_weights``).
    """

    model_path: FileOrUrl | None = None
    """Path (or http address) of a model file. Exactly one of ``model_path`` and ``model_name`` is given."""
    model_name: Annotated[str | None, Field(validate_default=True)] = None
    """Name of an installed backbone, for training."""
    input_shape: Annotated[InputShape | None, Field(validate_default=True)] = None
    """Height and width of the input in pixels, and its channels: (H, W, C). Required with ``model_name``."""
    pretrained_weights: Address | Path | None = None
    """Path (or http address) of another ReID model whose weights the training begins with. None by default."""
    pretrained: Annotated[bool | Address | Path, Field(validate_default=True)] = False
    """Begin with ImageNet weights: True, False (the default), or the path (or http address) of a weights file. That of
    ``pretrained_weights``, where that is given."""
    pooling: Annotated[Literal["average", "max", "gem"], AnyCase] = "average"
    """How the feature map becomes a vector, in training: ``average`` (the default), ``max``, or ``gem``, the
    generalised mean."""
    gem_power: Annotated[PositiveInt, Field(le=10)] = 3
    """Exponent of the generalised mean: 1 is the average, large ones come close to the maximum. Defaults to 3."""
    embedding_size: PositiveInt | None = None
    """Length of the embedding, made by a linear projection behind the pooling. By default there is none, and the
    embedding has as many numbers as the feature map has channels."""
    bn_neck: bool = False
    """Batch normalization between the embedding that triplet losses see and the classifier; the model then gives the
    normalized embedding. Defaults to False."""
    l2_normalized: bool = False
    """The model gives embeddings of length 1. Defaults to False: distances are computed on unit vectors anyway."""
    framework: Annotated[Literal["tf"], AnyCase] = "tf"
    """Framework of the model; ``tf`` is the only one."""
    alpha: float | str | None = None
    """Accepted and ignored: a backbone's width is part of its name."""

    @field_validator("model_path")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is not None and "://" in value and not value.lower().startswith(("http://", "https://")):
            raise ValueError("only http:// and https:// addresses are understood")
        return value

    @field_validator("model_name")
    @classmethod
    def _check_one_model(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "model_path" not in info.data:
            return value  # it is wrong itself
        if value is None and info.data["model_path"] is None:
            raise ValueError("one of model_path and model_name is required")
        if value is not None and info.data["model_path"] is not None:
            raise ValueError("model_path and model_name exclude each other; give one of them")
        return value

    @field_validator("input_shape")
    @classmethod
    def _check_shape_is_given(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.data.get("model_name") is not None:
            raise ValueError("is required with model_name: (height, width, channels), for example (256, 128, 3)")
        return value

    @field_validator("pretrained")
    @classmethod
    def _prefer_named_weights(cls, value: bool | str | Path, info: ValidationInfo) -> bool | str | Path:
        weights: str | Path | None = info.data.get("pretrained_weights")
        if weights is not None and not isinstance(value, bool) and value != weights:
            raise ValueError(f"is {value}, but pretrained_weights is {weights}; give one of them")
        return value if weights is None else weights

    @property
    def is_url(self) -> bool:
        """Whether ``model_path`` is an address on the network."""
        return self.model_path is not None and "://" in self.model_path
