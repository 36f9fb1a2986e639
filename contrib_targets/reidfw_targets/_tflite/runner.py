"""Embeddings of TensorFlow Lite models with LiteRT."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from reidfw_core.api import DataError, ModelFormat, native_stderr_to_log
from reidfw_targets._tflite.graph import cut_classifier, read_model
from reidfw_targets._tflite.numbers import number_format
from reidfw_targets.images import ImageInput, checked_batch, embedding_dim, image_input, single
from reidfw_targets.numbers import TensorNumbers

logger = logging.getLogger(__name__)


_NOT_COMPUTING = frozenset({"DELEGATE", "QUANTIZE", "DEQUANTIZE"})
"""What does not count among the operators of a graph: delegates, and conversions (of input and output)."""


@dataclass(frozen=True, slots=True)
class _Worker:
    """An interpreter with room for one image's numbers, made once."""

    interpreter: Any
    workspace: np.ndarray


class TfliteRunner:
    """A TensorFlow Lite model on several interpreters, each with one thread and batch 1.

    Several interpreters are faster than several threads in one, and give the same bits whatever their number. Each
    takes the next image when it is done with one, so none waits where another is held up.

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
        self._image: ImageInput = image_input(_dimensions(inputs[0]), name, prefer="NHWC")
        self.input_shape = self._image.shape
        self.embedding_dim = embedding_dim([int(size) for size in outputs[0]["shape"]], name)
        self.format = ModelFormat("tflite", numeric)
        self.kernels = _kernels(first)
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        self._input_numbers = _numbers(inputs[0], name)
        self._output_numbers = _numbers(outputs[0], name)
        shape = tuple(int(size) for size in inputs[0]["shape"])
        self._workers = [_Worker(interpreter, np.empty(shape, np.float32)) for interpreter in interpreters]
        self._pool = ThreadPoolExecutor(len(interpreters), thread_name_prefix="tflite")

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of a batch; see :class:`reidfw_core.api.EmbeddingRunner`.

        Raises:
            DataError: the images have another shape than the model takes.
        """
        images = checked_batch(images, self.input_shape)
        embeddings = np.empty((len(images), self.embedding_dim), np.float32)
        numbers: SimpleQueue[int] = SimpleQueue()
        for number in range(len(images)):
            numbers.put(number)
        jobs = [
            self._pool.submit(self._embed_next, worker, numbers, images, embeddings)
            for worker in self._workers[: len(images)]
        ]
        for job in jobs:
            job.result()
        return embeddings

    def close(self) -> None:
        """Ends the threads and frees the interpreters."""
        self._pool.shutdown()
        self._workers = []

    def _embed_next(
        self, worker: _Worker, numbers: SimpleQueue[int], images: np.ndarray, embeddings: np.ndarray
    ) -> None:
        """Takes numbers of images until none is left, and writes their rows of ``embeddings`` (N, D)."""
        interpreter = worker.interpreter
        for number in _taken(numbers):
            arranged = self._image.arrange(images[number : number + 1])
            # straight into the interpreter's memory; no name may be bound to it, or the interpreter refuses to run
            self._input_numbers.encode_into(interpreter.tensor(self._input_index)(), arranged, worker.workspace)
            interpreter.invoke()
            found = interpreter.get_tensor(self._output_index)
            embeddings[number] = self._output_numbers.decode(found).reshape(-1)


def _taken(numbers: SimpleQueue[int]) -> Iterator[int]:
    while True:
        try:
            yield numbers.get_nowait()
        except Empty:
            return


def _dimensions(details: dict[str, Any]) -> list[int | None]:
    """Dimensions of an input, None where the file leaves one open (the tensor itself then has 1 there)."""
    sizes = [int(size) for size in details["shape"]]
    signature = [int(size) for size in details.get("shape_signature", ())]
    if len(signature) != len(sizes):
        return list(sizes)
    return [None if left_open < 1 else size for size, left_open in zip(sizes, signature, strict=True)]


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


def _open_interpreter(path: Path, content: bytes, *, with_xnnpack: bool = True) -> Any:
    resolver = OpResolverType.AUTO if with_xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
        inputs = interpreter.get_input_details()
        if len(inputs) == 1:
            image_input(_dimensions(inputs[0]), str(path), prefer="NHWC")  # raises DataError before kernels complain
            if inputs[0]["shape"][0] != 1:
                interpreter.resize_tensor_input(inputs[0]["index"], [1, *inputs[0]["shape"][1:]])
        interpreter.allocate_tensors()
        interpreter.invoke()  # some damage shows only here; better now than at the first image
        for output in interpreter.get_output_details():
            interpreter.get_tensor(output["index"])
    except (ValueError, RuntimeError) as cause:
        if with_xnnpack and "XNNPACK" in str(cause):
            logger.warning("XNNPACK does not take %s: LiteRT's built-in kernels compute it, several times slower", path)
            return _open_interpreter(path, content, with_xnnpack=False)
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
    """Which kernels compute the graph; where XNNPACK leaves operators to the built-in ones, which they are."""
    litert = f"LiteRT {version('ai-edge-litert')}"
    # the only way to know what the delegate took; private, so its absence is no error
    list_operators = getattr(interpreter, "_get_ops_details", None)
    if list_operators is None:
        return f"{litert}, which does not tell its kernels"
    operators = list_operators()
    total = sum(operator["op_name"] not in _NOT_COMPUTING for operator in operators)
    left = [operator for operator in operators_left(operators) if operator["op_name"] not in _NOT_COMPUTING]
    if not left:
        return f"XNNPACK ({litert})"
    names = ", ".join(sorted({operator["op_name"] for operator in left}))
    if len(left) == total:
        return f"built-in kernels ({litert}; XNNPACK takes none of {names})"
    return f"XNNPACK for {total - len(left)} of {total} operators, built-in kernels for {names} ({litert})"


def operators_left(operators: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operators that no delegate computes.

    The interpreter lists all operators of the file and, behind them, the delegates, of which it tells what goes in
    and comes out: a delegate computes what lies between.

    Args:
        operators: ``op_name``, ``inputs`` and ``outputs`` (indices of tensors) of each.

    Returns:
        Those of the file that are outside of every delegate, in their order.
    """
    own = [operator for operator in operators if operator["op_name"] != "DELEGATE"]
    makers = {int(tensor): number for number, operator in enumerate(own) for tensor in operator["outputs"]}
    taken: set[int] = set()
    for delegate in operators:
        if delegate["op_name"] != "DELEGATE":
            continue
        given = {int(tensor) for tensor in delegate["inputs"]}
        seen: set[int] = set()
        waiting = [int(tensor) for tensor in delegate["outputs"]]
        while waiting:
            maker = makers.get(waiting.pop())
            if maker is not None and maker not in seen:
                seen.add(maker)
                waiting += [int(tensor) for tensor in own[maker]["inputs"] if int(tensor) not in given]
        taken |= seen
    return [operator for number, operator in enumerate(own) if number not in taken]
