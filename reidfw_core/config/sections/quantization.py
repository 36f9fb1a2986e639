"""The ``quantization`` section."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from reidfw_core.config.sections.base import AnyCase, Number, OpenSection, PositiveInt, Section, in_run_dir


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


IoType = Annotated[Literal["int8", "uint8", "float"], AnyCase]


class QatSettings(Section):
    """Quantization-aware fine-tuning; everything else about it is the ``training`` section's."""

    epochs: PositiveInt = 10
    """Passes over the training set. Defaults to 10."""
    learning_rate: Annotated[Number, Field(gt=0)] | None = None
    """Learning rate at the beginning; it falls along half a cosine to a hundredth. By default a tenth of that of
    ``training.optimizer``."""


class QuantizationSection(OpenSection):
    """How the model is quantized. Attributes without a value here have the quantizer's own default.

    Source: the user's document, section 2.8.
    """

    quantizer: str
    """Component that quantizes. Required."""
    export_dir: Annotated[str, AfterValidator(in_run_dir())] = "quantized_models"
    """Folder of quantized models, inside the run directory. Defaults to ``quantized_models``."""
    compare_on: str | None = "host"
    """What runs the float and the quantized model to compare their embeddings; None leaves that out. Defaults to
    ``host``."""
    compare_images: PositiveInt = 256
    """Images with which they are compared. Defaults to 256."""
    max_map_drop: Annotated[Number, Field(ge=0)] | None = None
    """Most points of mAP that quantization may cost. Where it costs more, the layers that cost most are left at a
    higher precision, as few as needed. Measured on the test images, else on the validation images."""
    keep_layers_at: Annotated[Literal["int16", "float"], AnyCase] | None = None
    """Number format of the layers that ``max_map_drop`` keeps from int8. Without a value int16 activations are tried
    first, then float."""
    layer_costs: bool = False
    """Measure what each layer costs when it alone is quantized."""
    quantization_type: Annotated[Literal["PTQ", "QAT"], BeforeValidator(_upper)] | None = None
    """``PTQ``, post-training quantization, or ``QAT``: the model is fine-tuned first, with the losses, batches and
    augmentation of the ``training`` section, while it computes as the quantized model will. Defaults to ``PTQ``."""
    qat: QatSettings = QatSettings()
    """How it is fine-tuned with ``quantization_type: QAT``."""
    quantization_input_type: IoType | None = None
    """Number format of the model's input; ONNX models keep float."""
    quantization_output_type: IoType | None = None
    """Number format of the model's output; ONNX models keep float."""
    granularity: Annotated[Literal["per_channel", "per_tensor"], AnyCase] | None = None
    """One weight scale for each output channel, or one for a whole tensor."""
    optimize: bool | None = None
    """Prepare the model for ``per_tensor`` weights."""
    target_opset: PositiveInt | None = None
    """ONNX operator set that an ONNX model is brought to."""
    operating_mode: str | None = None
    """Accepted for compatibility."""
    onnx_quant_parameters: dict[str, Any] | None = Field(default=None)
    """Arguments of ONNX quantization."""
    onnx_extra_options: dict[str, Any] | None = Field(default=None)
    """Extra options of ONNX quantization, for example ``CalibMovingAverage: True``."""
    iterative_quant_parameters: dict[str, Any] | None = Field(default=None)
    """Accepted for compatibility."""
