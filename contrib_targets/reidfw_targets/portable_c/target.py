"""``evaluation.target: portable_c``: embeddings from the very code that will be flashed, built for this computer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from reidfw_core.api import (
    DataError,
    DeploymentReport,
    EmbeddingRunner,
    ModelFile,
    ModelFormat,
    Target,
    TargetInfo,
    hookimpl,
)
from reidfw_targets.emulation.toolchain import find_host_compiler
from reidfw_targets.images import checked_batch
from reidfw_targets.portable_c.host import HostProgram

if TYPE_CHECKING:
    from reidfw_targets.portable_c.planner import InputMode


class PortableCTarget(Target):
    """Generated C99 on this computer: scores of the very code that will be flashed, bit for bit.

    Takes int8 ``.tflite`` files.
    """

    accepts = frozenset({ModelFormat("tflite", "int8")})

    @hookimpl
    def describe_target(self) -> TargetInfo:
        """Facts on the target."""
        return TargetInfo(core="this computer, generated C", source="operating system")

    @hookimpl
    def probe_target(self, ability: str) -> str:  # noqa: ARG002 (the same for all)
        """Looks for a C compiler; see the hook's contract."""
        return f"C compiler: {find_host_compiler().label}"

    @hookimpl
    def compile_model(
        self,
        model: ModelFile,
        output: Path,
        input_mode: str | None,
        ram_limit_kib: float | None,
        kernels: str,
        verify: int,
    ) -> DeploymentReport:
        """Writes C99 that needs no library; see the hook's contract.

        Raises:
            DataError: the model is not one that the engine computes.
            DoesNotFit: the arena is above the limit.
            ToolNotFound: there is no C compiler to check the code with.
            ToolFailed: the code computes other numbers than LiteRT's reference kernels.
        """
        from reidfw_targets.portable_c.compiling import check_on_host, compile_to

        mode = cast("InputMode | None", input_mode)
        compiled = compile_to(model.path, output, input_mode=mode, ram_limit_kib=ram_limit_kib, kernels=kernels)
        plan, generated = compiled.plan, compiled.generated
        details = {
            "RAM arena": f"{plan.arena_bytes / 1024:.1f} KiB, "
            + ("image included" if plan.input_mode == "resident" else "image row by row, not included"),
            "RAM of the runtime": f"{generated.state_bytes} bytes",
            "flash for constants": f"{generated.constant_bytes / 1024:.1f} KiB",
            "MACs": f"{plan.network.macs / 1e6:.1f} million",
            "operators": len(plan.network.operators),
        }
        if plan.network.notes:
            details["notes"] = "; ".join(plan.network.notes)
        if verify:
            with tempfile.TemporaryDirectory(prefix="reidfw_portable_c_") as folder:
                check = check_on_host(compiled, Path(folder), verify)
            check.require_equal("The code")
            details["checked"] = f"{check.tensors} tensors of {check.images} image(s) equal LiteRT's reference kernels"
        return DeploymentReport(
            next_steps=("compile all .c files of the folder into the firmware; main.c is an example",), details=details
        )

    @hookimpl
    def open_runner(self, model: ModelFile, num_threads: int) -> EmbeddingRunner:
        """Generates, compiles and loads the code; see the hook's contract.

        Raises:
            DataError: the model is not one that the engine computes.
            ToolNotFound: there is no C compiler.
        """
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}")
        if not model.path.is_file():
            raise DataError(f"There is no model file {model.path}")
        return PortableCRunner(model.path)


class PortableCRunner:
    """A compiled model; one image at a time, as its memory is static.

    Args:
        path: a ``.tflite`` file.
    """

    def __init__(self, path: Path) -> None:
        from reidfw_targets.numbers import TensorNumbers
        from reidfw_targets.portable_c.compiling import compile_to

        self._folder = tempfile.TemporaryDirectory(prefix="reidfw_portable_c_")
        folder = Path(self._folder.name)
        compiled = compile_to(path, folder, input_mode="resident")
        self._program = HostProgram(compiled.generated, compiled.network, folder)
        network = compiled.network
        image, embedding = network.tensors[network.image], network.tensors[network.embedding]
        self._input = TensorNumbers(np.dtype(np.uint8 if image.unsigned else np.int8), image.scale, image.zero_point)
        self._output = TensorNumbers(
            np.dtype(np.uint8 if embedding.unsigned else np.int8), embedding.scale, embedding.zero_point
        )
        self.input_shape = image.shape
        self.embedding_dim = embedding.shape[2]
        self.format = ModelFormat("tflite", "int8")
        self.kernels = f"portable C ({compiled.generated.kernels} kernels)"

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of a batch; see :class:`reidfw_core.api.EmbeddingRunner`.

        Raises:
            DataError: the images have another shape than the model takes.
        """
        images = checked_batch(images, self.input_shape)
        embeddings = np.empty((len(images), self.embedding_dim), np.float32)
        for number, image in enumerate(images):
            embeddings[number] = self._output.decode(self._program.run(self._input.encode(image)))
        return embeddings

    def close(self) -> None:
        """Removes the library's file."""
        self._folder.cleanup()
