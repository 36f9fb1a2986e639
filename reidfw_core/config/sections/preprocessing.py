"""The sections ``preprocessing``, ``data_augmentation`` and ``custom_data_augmentation``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel, ValidationInfo, field_validator

from reidfw_core.config.sections.base import AnyCase, Number, Section

Interpolation = Literal["bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"]


class Rescaling(Section):
    """Pixel values become ``scale * pixel + offset``."""

    scale: Number
    """Factor, for example 1/127.5."""
    offset: Number
    """Summand, for example -1."""

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, value: float) -> float:
        if value == 0:
            raise ValueError("0 would make all images alike")
        return value


class Resizing(Section):
    """How images get the size of the model's input."""

    aspect_ratio: Annotated[Literal["fit", "crop", "padding", "full_screen"], AnyCase]
    """``fit`` stretches; ``crop`` and ``padding`` cut or fill with black around the centre."""
    interpolation: Annotated[Annotated[Interpolation, AnyCase] | None, Field(validate_default=True)] = None
    """Method of ``tf.image.resize``; required with ``fit``."""

    @field_validator("interpolation")
    @classmethod
    def _check_interpolation(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.data.get("aspect_ratio") == "fit":
            raise ValueError("is required with aspect_ratio: fit")
        return value


class PreprocessingSection(Section):
    """What happens to an image between its file and the network.

    Source: the user's document, section 2.4.
    """

    rescaling: Rescaling | None = None
    """Scale and offset of pixel values in [0, 255]. Required wherever a model is trained, quantized or run here."""
    resizing: Resizing
    """Method of resizing."""
    color_mode: Annotated[Literal["grayscale", "rgb", "rgba"], AnyCase]
    """Channels of the decoded images: ``grayscale`` one, ``rgb`` three, ``rgba`` four."""


class DataAugmentationSection(RootModel[dict[str, dict[str, Any] | None]]):
    """Augmentation functions with their arguments, applied to training images in this order.

    Source: the user's document, section 2.5.
    """

    model_config = ConfigDict(frozen=True)


class CustomDataAugmentationSection(Section):
    """One augmentation function of the user's own; excludes ``data_augmentation``."""

    function_name: str
    """Name of an augmentation component, or a function of your own: ``module:function`` or ``file.py:function``."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the component, or the mapping that the function gets as ``config``."""
