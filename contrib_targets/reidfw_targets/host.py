"""``host``: embeddings computed on this computer."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from reidfw_core.api import (
    DataError,
    EmbeddingRunner,
    MemoryEstimate,
    ModelFile,
    ModelFormat,
    Target,
    TargetInfo,
    ToolNotFound,
    hookimpl,
)


class Host(Target):
    """This computer: runs Keras, TensorFlow Lite and ONNX models.

    Keras models (``.keras``, ``.h5``) run with TensorFlow, ``.tflite`` files with LiteRT and its XNNPACK kernels,
    ``.onnx`` files with ONNX Runtime. Integer outputs are de-quantized. Each framework is imported only when a model
    of its kind is opened.

    Source: the user's document, section 2.3 (``model_path``) and ``general.num_threads_tflite``.
    """

    accepts = frozenset(ModelFormat(container) for container in ("keras", "tflite", "onnx"))

    @hookimpl
    def describe_target(self) -> TargetInfo:
        """Processor and memory of this computer, as the operating system tells them."""
        return TargetInfo(
            core=f"{platform.machine()}, {os.cpu_count()} logical cores",
            ram_kib=_installed_ram_kib(),
            source="operating system",
        )

    @hookimpl
    def open_runner(self, model: ModelFile, num_threads: int) -> EmbeddingRunner:
        """Opens a model; see the hook's contract.

        Args:
            model: the file; its suffix tells what runs it, its content the number format.
            num_threads: threads for TensorFlow Lite and ONNX models; TensorFlow has its own setting for Keras ones.

        Raises:
            DataError: the file is missing, damaged, of another kind than its name says, or not a model from one
                image to one embedding.
            ToolNotFound: the package that runs such files is not installed.
            ValueError: ``num_threads`` is not positive.
        """
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}")
        if not model.path.is_file():
            raise DataError(f"There is no model file {model.path}")
        return _runner_opener(model.path)(model.path, num_threads)

    @hookimpl
    def estimate_memory(self, model: ModelFile) -> MemoryEstimate:
        """Weights and activations of a TensorFlow Lite or ONNX file; see the hook's contract."""
        return _estimator(model.path)(model.path)


def _estimator(path: Path) -> Callable[[Path], MemoryEstimate]:
    container = ModelFormat.of_file(path).container
    if container == "tflite":
        from reidfw_targets._tflite.memory import estimate_tflite

        return estimate_tflite
    if container == "onnx":
        _require("ONNX", "onnx", path, 'pip install "reidfw-targets[onnx]"')
        from reidfw_targets._onnx.memory import estimate_onnx

        return estimate_onnx
    raise DataError(f"{path} is no .tflite or .onnx file")


class _OpensRunner(Protocol):
    def __call__(self, path: Path, num_threads: int) -> EmbeddingRunner: ...


def _runner_opener(path: Path) -> _OpensRunner:
    container = ModelFormat.of_file(path).container
    if container == "tflite":
        _require("LiteRT", "ai_edge_litert", path, "pip install ai-edge-litert")
        from reidfw_targets._tflite.runner import open_tflite_runner

        return open_tflite_runner
    if container == "keras":
        _require("TensorFlow", "tensorflow", path, 'pip install "reidfw-targets[keras]"')
        from reidfw_targets._keras.runner import open_keras_runner

        return open_keras_runner
    if container == "onnx":
        for module in ("onnxruntime", "onnx"):
            _require("ONNX Runtime", module, path, 'pip install "reidfw-targets[onnx]"')
        from reidfw_targets._onnx.runner import open_onnx_runner

        return open_onnx_runner
    raise DataError(f"{path} is no model file: its name must end in .keras, .h5, .tflite or .onnx")


def _require(tool: str, module: str, path: Path, command: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as cause:
        if cause.name != module:
            raise
        raise ToolNotFound(
            f"{path.name} needs {tool}, but the Python package '{module}' is not installed", hint=f"Run: {command}"
        ) from cause


def _installed_ram_kib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return None
