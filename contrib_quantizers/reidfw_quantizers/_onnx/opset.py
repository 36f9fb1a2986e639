"""Operator sets of ONNX models."""

from __future__ import annotations

import onnx
import onnx.version_converter

from reidfw_core.api import DataError

NEWEST_OPSET = 27
"""The newest operator set that ONNX Runtime and its quantization know for certain."""


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operator set that a model uses."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def at_least_opset(model: onnx.ModelProto, target_opset: int, name: str) -> onnx.ModelProto:
    """Brings a model to an operator set; one that is newer already stays as it is.

    Returns:
        A checked model, with the oldest file version that holds its operator set, for the sake of older tools.

    Raises:
        DataError: the model is newer than :data:`NEWEST_OPSET`, or the conversion fails or gives an invalid model.
    """
    if opset_of(model) > NEWEST_OPSET:
        raise DataError(
            f"{name} uses ONNX operator set {opset_of(model)}; the newest that can be quantized is {NEWEST_OPSET}",
            hint=f"Export it with an operator set of at most {NEWEST_OPSET}.",
        )
    try:
        if opset_of(model) < target_opset:
            model = onnx.version_converter.convert_version(model, target_opset)
            model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
        onnx.checker.check_model(model)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as cause:
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise DataError(f"{name} cannot be brought to ONNX operator set {target_opset}: {reason}") from cause
    return model
