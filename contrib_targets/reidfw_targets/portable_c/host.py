"""Running a generated program on this computer."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reidfw_targets.emulation.toolchain import find_host_compiler
from reidfw_targets.portable_c.emitter import Generated
from reidfw_targets.portable_c.network import Network

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
"""Warnings that the generated code must not give."""

_TRACER = """
#include <stdint.h>
#include <string.h>
#include "model.h"
static uint8_t *places[{count}];
void host_trace_to(int tensor, uint8_t *place) {{ places[tensor] = place; }}
void model_trace(int tensor, int row, const void *data, int bytes)
{{
    if (places[tensor] != 0) {{
        memcpy(places[tensor] + (size_t)row * (size_t)bytes, data, (size_t)bytes);
    }}
}}
void model_trace_step(int operator_number) {{ (void)operator_number; }}
"""


def compile_shared(sources: Sequence[Path], output: Path, *options: str) -> None:
    """Compiles C files to a shared library with all warnings as errors.

    Raises:
        ToolNotFound: there is no compiler.
        ToolFailed: it refuses the code.
    """
    arguments = [*STRICT, "-O2", "-shared", "-fPIC", *options, "-o", output, *sources]
    find_host_compiler().compile(arguments, Path.cwd(), "the generated code")


class HostProgram:
    """A generated program as a library of this computer.

    The library has one arena, so an instance runs one image at a time.

    Args:
        generated: the program.
        network: what it computes.
        workdir: existing folder for the library.
        trace: keep every row of every tensor (see :meth:`tensors`).
    """

    def __init__(self, generated: Generated, network: Network, workdir: Path, *, trace: bool = False) -> None:
        self.network = network
        self._image = network.tensors[network.image]
        self._embedding = network.tensors[network.embedding]
        library = workdir / ("model_traced.so" if trace else "model.so")
        sources = list(generated.sources)
        options = [f"-I{generated.folder}"]
        self._places: dict[int, np.ndarray] = {}
        if trace:
            count = 1 + max(tensor.file_index or 0 for tensor in network.tensors)
            tracer = workdir / "host_trace.c"
            tracer.write_text(_TRACER.format(count=count), encoding="ascii")
            sources.append(tracer)
            options.append("-DMODEL_TRACE")
        compile_shared(sources, library, *options)
        self._library = ctypes.CDLL(str(library))
        self._library.model_run_image.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        if trace:
            self._trace()

    def run(self, image: np.ndarray) -> np.ndarray:
        """The embedding (D,) of one image (H, W, C), both in the model's integers.

        Raises:
            ValueError: the image has another shape or type.
        """
        kind = np.uint8 if self._image.unsigned else np.int8
        if image.shape != self._image.shape or image.dtype != kind:
            raise ValueError(f"{image.dtype} {image.shape} instead of {np.dtype(kind)} {self._image.shape}")
        image = np.ascontiguousarray(image)
        embedding = np.empty(self._embedding.row_bytes, np.uint8 if self._embedding.unsigned else np.int8)
        code = self._library.model_run_image(image.ctypes.data, embedding.ctypes.data)
        assert code == 0, code
        return embedding

    def tensors(self) -> dict[int, np.ndarray]:
        """All tensors of the last run by their number in the model file, int8 in their stored order (rows, bytes).

        Rows that nothing reads (:attr:`Network.rows_read`) may not have been made.
        """
        return self._places

    def _trace(self) -> None:
        self._library.host_trace_to.argtypes = [ctypes.c_int, ctypes.c_void_p]
        rows: dict[int, int] = {}
        for tensor in self.network.tensors:
            if tensor.file_index is not None:
                rows[tensor.file_index] = max(rows.get(tensor.file_index, 0), tensor.file_row + tensor.height)
        made = {operator.output for operator in self.network.operators}
        for number, tensor in enumerate(self.network.tensors):
            index = tensor.file_index
            if index is not None and number in made and index not in self._places:
                self._places[index] = np.zeros((rows[index], tensor.row_bytes), np.int8)
                self._library.host_trace_to(index, self._places[index].ctypes.data)
