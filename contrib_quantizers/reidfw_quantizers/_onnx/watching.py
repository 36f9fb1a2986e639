"""Running ONNX models whose inner tensors are looked at."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnxruntime


def watching_session(model: onnx.ModelProto, outputs: Iterable[str]) -> onnxruntime.InferenceSession:
    """A session that gives these tensors; nothing is fused, or inner tensors would vanish."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
