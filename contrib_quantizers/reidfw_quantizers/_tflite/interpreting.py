"""Running TensorFlow Lite files whose inner tensors are looked at."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from reidfw_core.api import native_stderr_to_log

logger = logging.getLogger(__name__)


def keeping_interpreter(content: bytes | bytearray) -> Any:
    """An interpreter on one thread that keeps every tensor of the network after a run."""
    with native_stderr_to_log(logger), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*preserve_all_tensors")  # its memory is what we want to look at
        interpreter = Interpreter(model_content=bytes(content), experimental_preserve_all_tensors=True, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


def run_image(interpreter: Any, image: np.ndarray) -> None:
    """Runs one image, (1, H, W, C) float32, quantized as the input asks for."""
    details = interpreter.get_input_details()[0]
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # halves go up, as in the evaluation's runner: all 256 pixel values stay apart
        image = np.clip(np.floor(image / scale + zero_point + 0.51), limits.min, limits.max)
    interpreter.set_tensor(details["index"], image.astype(dtype))
    interpreter.invoke()


def real_values(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """What the integers of a tensor stand for; float values as they are."""
    parameters = details["quantization_parameters"]
    if values.dtype.kind not in "iu" or not len(parameters["scales"]):
        return values
    return (values.astype(np.float32) - np.float32(parameters["zero_points"][0])) * np.float32(parameters["scales"][0])
