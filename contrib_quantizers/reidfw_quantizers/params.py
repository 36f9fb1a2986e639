"""What the ``quantization`` section of the YAML may hold.

Both quantizers read the same section, so that a user changes ``quantizer`` and nothing else. Each one says in the
log which of the given attributes it does not use.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from reidfw_core.api import ComponentParams
from reidfw_quantizers.clipping import Clipping

logger = logging.getLogger(__name__)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


IoType = Annotated[Literal["int8", "uint8", "float"], BeforeValidator(_lower)]
"""Number format of a model's input or output."""

Granularity = Annotated[Literal["per_channel", "per_tensor"], BeforeValidator(_lower)]
"""Whether each output channel of a layer has its own weight scale, or the whole weight tensor one."""

OnnxType = Literal["Int4", "UInt4", "Int8", "UInt8", "Int16", "UInt16"]


class _EmptyIsDefault(ComponentParams):
    """An attribute without a value in the YAML (``granularity:``) has its default."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class OnnxQuantParameters(_EmptyIsDefault):
    """Arguments of ONNX Runtime's static quantization."""

    weightType: OnnxType = "Int8"  # noqa: N815 (the YAML's name)
    """Number format of the weights."""
    activType: OnnxType = "Int8"  # noqa: N815
    """Number format of the activations."""
    calibrate_method: Literal["MinMax", "Entropy", "Percentile", "Distribution"] = "MinMax"
    """How the range of an activation follows from the calibration images."""
    op_types_to_quantize: tuple[str, ...] = ()
    """Operator types to quantize; empty takes all that ONNX Runtime can quantize."""
    nodes_to_quantize: tuple[str, ...] = ()
    """Names of the nodes to quantize; empty takes all."""
    nodes_to_exclude: tuple[str, ...] = ()
    """Names of the nodes to keep in float."""

    def bits(self) -> tuple[int, int]:
        """Widths of weights and activations."""
        weights, activations = (int(name.rpartition("t")[2]) for name in (self.weightType, self.activType))
        return weights, activations


class TensorOverride(ComponentParams):
    """Quantization of one tensor, instead of what the general settings would give it."""

    quant_type: OnnxType
    """Number format of this tensor."""
    zero_point: int | None = None
    """Its zero point; None lets calibration find it."""
    scale: float | None = Field(default=None, gt=0)
    """Its scale; None lets calibration find it."""


class OnnxExtraOptions(_EmptyIsDefault):
    """Extra options of ONNX Runtime's static quantization."""

    WeightSymmetric: bool = True
    """Weights have the zero point 0."""
    ActivationSymmetric: bool = False
    """Activations have the zero point 0."""
    CalibMovingAverage: bool = False
    """Smooth minimum and maximum over the calibration images instead of taking the extremes (MinMax only)."""
    QuantizeBias: bool = True
    """Store biases as int32."""
    SmoothQuant: bool = False
    """Move the difficulty from activations to weights first (needs the package neural-compressor 2)."""
    SmoothQuantAlpha: float = Field(default=0.5, ge=0, le=1)
    """How much of it is moved, 0 to 1."""
    SmoothQuantFolding: bool = True
    """Fold the factors of SmoothQuant into the layers before."""
    weights_tensor_override: tuple[tuple[str, TensorOverride], ...] = ()
    """Pairs of tensor name and its settings, for weights."""
    activations_tensor_override: tuple[tuple[str, TensorOverride], ...] = ()
    """Pairs of tensor name and its settings, for activations."""


class QuantizationParams(_EmptyIsDefault):
    """The ``quantization`` section without ``quantizer`` and ``export_dir``, which are the core's.

    Source: the user's document, section 2.8 (model quantization).
    """

    quantization_type: Annotated[Literal["PTQ", "QAT"], BeforeValidator(_upper)] = "PTQ"
    """PTQ: post-training quantization. QAT: a Keras model is fine-tuned with rounded weights and activations first."""
    quantization_input_type: IoType = "uint8"
    """Number format of the model's input. uint8 takes camera pixels as they are. ONNX models stay float."""
    quantization_output_type: IoType = "float"
    """Number format of the embedding; float hides the de-quantization in the model. ONNX models stay float."""
    granularity: Granularity = "per_channel"
    """One weight scale for each output channel (per_channel) or for each layer (per_tensor)."""
    activation_clipping: Annotated[Clipping, BeforeValidator(_lower)] = "none"
    """How far the range of an activation is clipped before it is divided into 256 steps: none takes the extremes of the
    calibration images, percentile 99.99 percent of the values, mse the range of the smallest mean squared error,
    entropy the one that keeps most information."""
    bias_correction: bool = False
    """Let biases make up for what rounding and clipping add to each channel on average (takes some seconds)."""
    optimize: bool = False
    """Equalise a Keras model across its layers for per_tensor weights; no effect on per_channel ones."""
    target_opset: int = Field(default=17, ge=13, le=27)
    """ONNX operator set that the model is brought to; no effect on TensorFlow Lite."""
    onnx_quant_parameters: OnnxQuantParameters = OnnxQuantParameters()
    """Number formats, calibration and selection of nodes; no effect on TensorFlow Lite."""
    onnx_extra_options: OnnxExtraOptions = OnnxExtraOptions()
    """Further options; no effect on TensorFlow Lite."""
    operating_mode: str = "default"
    """Accepted for compatibility, not used in re-identification."""
    iterative_quant_parameters: dict[str, Any] | None = None
    """Accepted for compatibility, not used in re-identification."""

    @model_validator(mode="after")
    def _check_smooth_quant(self) -> QuantizationParams:
        if self.onnx_extra_options.SmoothQuant and (self.bias_correction or self.activation_clipping != "none"):
            raise ValueError(
                "onnx_extra_options.SmoothQuant changes the activations: bias_correction must be False "
                "and activation_clipping none with it"
            )
        return self

    def unused(self) -> dict[str, str]:
        """The given attributes that have no effect, each with the reason."""
        names = ("operating_mode", "iterative_quant_parameters")
        return {name: "accepted for compatibility" for name in names if name in self.model_fields_set}

    def log_unused(self) -> None:
        """Says in the log which of the given attributes have no effect."""
        if unused := self.unused():
            logger.info(
                "These attributes of quantization have no effect: %s",
                ", ".join(f"{name} ({reason})" for name, reason in unused.items()),
            )

    def for_trained_ranges(self) -> QuantizationParams:
        """These settings for a model of a quantization-aware training, which fixed ranges and biases already."""
        if self.activation_clipping != "none" or self.bias_correction:
            logger.info("activation_clipping and bias_correction have no effect: the training chose ranges and biases")
        return self.model_copy(update={"activation_clipping": "none", "bias_correction": False})

    def wants_equalisation(self) -> bool:
        """Whether a Keras model is to be rewritten first; the log says where ``optimize`` has no effect."""
        if self.optimize and self.granularity == "per_channel":
            logger.info("optimize has no effect with granularity per_channel: each channel has its own scale already")
        return self.optimize and self.granularity == "per_tensor"
