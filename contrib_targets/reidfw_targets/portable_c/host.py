"""Running a generated program on this computer."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from reidfw_core.api import ToolFailed, ToolNotFound
from reidfw_targets.portable_c.emitter import Generated
from reidfw_targets.portable_c.network import Network

logger = logging.getLogger(__name__)

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
"""Warnings that the generated code must not give."""

_TIME_LIMIT_S = 300
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
"""


def host_compiler() -> list[str]:
    """The command of this computer's C compiler.

    Raises:
        ToolNotFound: there is none.
    """
    named = os.environ.get("CC", "").split()
    if named and shutil.which(named[0]):
        return named
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise ToolNotFound(
        "There is no C compiler for this computer (looked for $CC, cc, gcc, clang and the package ziglang)",
        hint="Run: pip install ziglang",
    )


def compile_shared(sources: Sequence[Path], output: Path, *options: str) -> None:
    """Compiles C files to a shared library with all warnings as errors.

    Raises:
        ToolNotFound: there is no compiler.
        ToolFailed: it refuses the code.
    """
    command = [*host_compiler(), *STRICT, "-O2", "-shared", "-fPIC", *options]
    command += ["-o", str(output), *(str(source) for source in sources)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as cause:
        raise ToolFailed(f"{command[0]} did not end in {_TIME_LIMIT_S} s", argv=command, code=None) from cause
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ToolFailed(
            f"{command[0]} refuses the generated code: {lines[0] if lines else 'no message'}",
            argv=command,
            code=done.returncode,
            hint="\n".join(lines[1:6]) or None,
        )


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

        Rows at the end that nothing reads are left out: the program need not make them.
        """
        rows: dict[int, int] = {}
        for tensor, needed in zip(self.network.tensors, self.network.rows_needed, strict=True):
            if tensor.file_index is not None:
                rows[tensor.file_index] = max(rows.get(tensor.file_index, 0), tensor.file_row + needed)
        return {index: place[: rows[index]] for index, place in self._places.items()}

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
