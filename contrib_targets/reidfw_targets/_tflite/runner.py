"""Embeddings of TensorFlow Lite models with LiteRT."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from reidfw_core.api import DataError, ModelFormat, native_stderr_to_log
from reidfw_targets._tflite.graph import cut_classifier, read_model
from reidfw_targets._tflite.numbers import TensorNumbers, number_format
from reidfw_targets.images import ImageInput, checked_batch, embedding_dim, image_input, single

logger = logging.getLogger(__name__)


class TfliteRunner:
    """A TensorFlow Lite model on several interpreters, each with one thread and batch 1.

    Several interpreters are faster than several threads in one, and give the same bits whatever their number.

    Args:
        interpreters: interpreters of one file, tensors allocated.
        numeric: number format in which the file computes.
        name: what error messages call the model.

    Raises:
        DataError: the model is not one from one image to one embedding.
    """

    def __init__(self, interpreters: list[Any], numeric: str, name: str) -> None:
        first = interpreters[0]
        inputs, outputs = first.get_input_details(), first.get_output_details()
        single(inputs, "input", name)
        single(outputs, "output", name)
        self._image: ImageInput = image_input([int(size) for size in inputs[0]["shape"]], name, prefer="NHWC")
        self.input_shape = self._image.shape
        self.embedding_dim = embedding_dim([int(size) for size in outputs[0]["shape"]], name)
        self.format = ModelFormat("tflite", numeric)
        self.kernels = _kernels(first)
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        self._input_numbers = _numbers(inputs[0], name)
        self._output_numbers = _numbers(outputs[0], name)
        self._interpreters = interpreters
        self._pool = ThreadPoolExecutor(len(interpreters), thread_name_prefix="tflite")

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of a batch; see :class:`reidfw_core.api.EmbeddingRunner`.

        Raises:
            DataError: the images have another shape than the model takes.
        """
        images = checked_batch(images, self.input_shape)
        embeddings = np.empty((len(images), self.embedding_dim), np.float32)
        bounds = np.linspace(0, len(images), len(self._interpreters) + 1).astype(int)
        jobs = [
            self._pool.submit(self._embed_part, interpreter, images[start:end], embeddings[start:end])
            for interpreter, start, end in zip(self._interpreters, bounds[:-1], bounds[1:], strict=True)
            if start < end
        ]
        for job in jobs:
            job.result()
        return embeddings

    def close(self) -> None:
        """Ends the threads and frees the interpreters."""
        self._pool.shutdown()
        self._interpreters = []

    def _embed_part(self, interpreter: Any, images: np.ndarray, embeddings: np.ndarray) -> None:
        """Writes the embeddings of ``images`` (n, H, W, C) to ``embeddings`` (n, D), image by image."""
        workspace: np.ndarray | None = None
        for image, embedding in zip(images, embeddings, strict=True):
            arranged = self._image.arrange(image[np.newaxis])
            workspace = np.empty_like(arranged) if workspace is None else workspace
            interpreter.set_tensor(self._input_index, self._input_numbers.encode(arranged, workspace))
            interpreter.invoke()
            embedding[:] = self._output_numbers.decode(interpreter.get_tensor(self._output_index)).reshape(-1)


def open_tflite_runner(path: Path, num_threads: int) -> TfliteRunner:
    """Opens a ``.tflite`` file.

    Args:
        path: an existing file.
        num_threads: number of interpreters, each with one thread.

    Raises:
        DataError: the file is not a TensorFlow Lite model, damaged, or not one from one image to one embedding.
    """
    content = path.read_bytes()
    cut = cut_classifier(read_model(path))
    if cut is not None:
        content, removed = cut
        logger.info("%s is a classifier: embedding taken before %s", path.name, ", ".join(removed))
    with native_stderr_to_log(logger):
        interpreters = [_open_interpreter(path, content) for _ in range(num_threads)]
    return TfliteRunner(interpreters, number_format(content), str(path))


def _open_interpreter(path: Path, content: bytes) -> Any:
    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        inputs = interpreter.get_input_details()
        if len(inputs) == 1 and len(inputs[0]["shape"]) == 4 and inputs[0]["shape"][0] != 1:
            interpreter.resize_tensor_input(inputs[0]["index"], [1, *inputs[0]["shape"][1:]])
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as cause:
        reason = str(cause).strip().splitlines()
        raise DataError(
            f"{path} cannot be opened as a TensorFlow Lite model: {reason[0] if reason else type(cause).__name__}",
            hint="The file may be cut off, or use operators that LiteRT does not know.",
        ) from cause
    return interpreter


def _numbers(details: dict[str, Any], name: str) -> TensorNumbers:
    dtype = np.dtype(details["dtype"])
    scale, zero_point = details["quantization"]
    if dtype.kind == "f":
        return TensorNumbers(dtype, 0.0, 0)
    if dtype.kind not in "iu" or scale == 0:
        raise DataError(
            f"{name}: its tensor '{details['name']}' is {dtype} without a scale, so it stands for no real numbers"
        )
    return TensorNumbers(dtype, float(scale), int(zero_point))


def _kernels(interpreter: Any) -> str:
    litert = f"LiteRT {version('ai-edge-litert')}"
    # the only way to know whether the delegate took part; private, so its absence is no error
    operators: list[dict[str, Any]] = getattr(interpreter, "_get_ops_details", list)()
    delegated = any(operator["op_name"] == "DELEGATE" for operator in operators)
    return f"XNNPACK ({litert})" if delegated else f"built-in kernels ({litert})"
