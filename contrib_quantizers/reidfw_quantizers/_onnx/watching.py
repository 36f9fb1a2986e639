"""Running ONNX models whose inner tensors are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
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


def run_towards(
    session: onnxruntime.InferenceSession, outputs: Sequence[str], feeds: dict[str, np.ndarray]
) -> list[np.ndarray]:
    """Runs no more of the network than these outputs need."""
    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    results: list[np.ndarray] = session.run(list(outputs), feeds, options)
    return results
