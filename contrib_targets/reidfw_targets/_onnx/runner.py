"""Embeddings of ONNX models with ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from reidfw_core.api import DataError, ModelFormat
from reidfw_targets._onnx.graph import cut_classifier
from reidfw_targets.images import checked_batch, embedding_dim, image_input, single

logger = logging.getLogger(__name__)

_INTEGER_BITS = {
    onnx.TensorProto.INT4: 4,
    onnx.TensorProto.UINT4: 4,
    onnx.TensorProto.INT8: 8,
    onnx.TensorProto.UINT8: 8,
    onnx.TensorProto.INT16: 16,
    onnx.TensorProto.UINT16: 16,
}


class OnnxRunner:
    """An ONNX model in an ONNX Runtime session on the CPU.

    Each image is a call of its own in one of several threads: this is faster than threads within an operator, and the
    embedding of an image does not depend on those beside it (quantized models round differently in other batches).

    Args:
        session: the session, one thread within an operator.
        numeric: number format of the file.
        name: what error messages call the model.
        num_threads: images computed at the same time.

    Raises:
        DataError: the model is not one from one image to one embedding, both float32.
    """

    def __init__(self, session: onnxruntime.InferenceSession, numeric: str, name: str, num_threads: int) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        single(inputs, "input", name)
        single(outputs, "output", name)
        for value in (inputs[0], outputs[0]):
            if value.type != "tensor(float)":
                raise DataError(f"{name}: '{value.name}' is {value.type}; float32 is wanted")
        self._image = image_input(inputs[0].shape, name, prefer="NCHW")
        self.input_shape = self._image.shape
        self.embedding_dim = embedding_dim(outputs[0].shape, name)
        self.format = ModelFormat("onnx", numeric)
        self.kernels = f"ONNX Runtime {onnxruntime.__version__} ({', '.join(session.get_providers())})"
        fixed = inputs[0].shape[0]
        if isinstance(fixed, int) and fixed != 1:
            raise DataError(f"{name} takes {fixed} images at once; a ReID model takes one, or any number")
        self._input_name = inputs[0].name
        self._session: onnxruntime.InferenceSession | None = session
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="onnx")

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of a batch; see :class:`reidfw_core.api.EmbeddingRunner`.

        Raises:
            DataError: the images have another shape than the model takes.
            RuntimeError: the runner is closed.
        """
        if self._session is None:
            raise RuntimeError("the runner is closed")
        images = checked_batch(images, self.input_shape)
        embeddings = np.empty((len(images), self.embedding_dim), np.float32)

        def embed_one(number: int) -> None:
            (found,) = session.run(None, {self._input_name: self._image.arrange(images[number : number + 1])})
            embeddings[number] = found.reshape(-1)

        session = self._session
        for _ in self._pool.map(embed_one, range(len(images))):
            pass  # raises what embed_one raised
        return embeddings

    def close(self) -> None:
        """Ends the threads and frees the session."""
        self._pool.shutdown()
        self._session = None


def open_onnx_runner(path: Path, num_threads: int) -> OnnxRunner:
    """Opens an ``.onnx`` file.

    Args:
        path: an existing file.
        num_threads: images computed at the same time.

    Raises:
        DataError: the file is not an ONNX model, damaged, or not one from one image to one embedding.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is in the exceptions too
    try:
        model = onnx.load(path)
        if not any(opset.domain in ("", "ai.onnx") for opset in model.opset_import):
            raise ValueError("it does not tell the version of its operators")
        cut = cut_classifier(model)
        source: str | bytes = str(path)
        if cut is not None:
            model, removed = cut
            source = model.SerializeToString()
            logger.info("%s is a classifier: embedding taken before %s", path.name, ", ".join(removed))
        session = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )
        runner = OnnxRunner(session, number_format(model), str(path), num_threads)
        runner.embed(np.zeros((1, *runner.input_shape), np.float32))  # some damage shows only here
    except DataError:
        raise
    except Exception as cause:  # protobuf's and ONNX Runtime's own errors, which share no base class
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise DataError(
            f"{path} cannot be opened as an ONNX model: {reason}",
            hint="The file may be cut off, or use operators that ONNX Runtime does not know.",
        ) from cause
    return runner


def number_format(model: onnx.ModelProto) -> str:
    """Number format of a model.

    Returns:
        ``int8_qdq`` for 8-bit weights and activations between QuantizeLinear and DequantizeLinear, or for example
        ``int4x16_qdq`` (weights x activations) for other widths; ``float16`` for mostly such weights; else ``float32``.
    """
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = _widest(types.get(node.input[0]) for node in model.graph.node if node.op_type == "DequantizeLinear")
    activations = _widest(
        types.get(node.input[2])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and len(node.input) > 2
    )
    if weights or activations or any(_INTEGER_BITS.get(kind) == 8 for kind in types.values()):
        weights, activations = weights or activations or 8, activations or weights or 8
        return "int8_qdq" if weights == activations == 8 else f"int{weights}x{activations}_qdq"
    kinds = list(types.values())
    return "float16" if kinds.count(onnx.TensorProto.FLOAT16) > kinds.count(onnx.TensorProto.FLOAT) else "float32"


def _widest(kinds: Iterable[int | None]) -> int | None:
    """Most bits among the integer types given; biases (int32) and unknown types are left out."""
    return max((_INTEGER_BITS[kind] for kind in kinds if kind in _INTEGER_BITS), default=None)
