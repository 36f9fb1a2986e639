"""From a model file to a folder of C code, and the check that the code computes the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.api import DataError, DoesNotFit, ToolFailed, nearest_match
from reidfw_targets.portable_c.emitter import Generated, write_program
from reidfw_targets.portable_c.host import HostProgram
from reidfw_targets.portable_c.network import Network
from reidfw_targets.portable_c.packing import PACKINGS, PlainPacking
from reidfw_targets.portable_c.planner import InputMode, Plan, plan_memory
from reidfw_targets.portable_c.recomputation import plan_within

if TYPE_CHECKING:
    from reidfw_targets.portable_c._tflite.reference import Reference, TensorDifference


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A model as C code.

    Attributes:
        plan: where everything lies.
        generated: the files.
        content: the model file that the code stands for (a classification head is cut off).
    """

    plan: Plan
    generated: Generated
    content: bytes

    @property
    def network(self) -> Network:
        """What is computed."""
        return self.plan.network


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A comparison with LiteRT's reference kernels.

    Attributes:
        images: how many images were computed.
        tensors: how many tensors of each were compared, every element of them.
        different: what differs, one line a tensor and image; empty where all is equal.
    """

    images: int
    tensors: int
    different: tuple[str, ...]

    def require_equal(self, what: str) -> None:
        """Raises ToolFailed where something differs; the message begins with what computed."""
        if self.different:
            raise ToolFailed(
                f"{what} computes other numbers than LiteRT's reference kernels: {'; '.join(self.different[:3])}",
                argv=["portable_c"],
                code=None,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaLimit:
    """The most RAM that the arena may take.

    Attributes:
        kib: in KiB.
    """

    kib: float = math.inf

    def missing_bytes(self, plan: Plan) -> float:
        """How many bytes there are too few for a plan; none, or a negative number, where it keeps the limit."""
        return plan.arena_bytes - self.kib * 1024

    def words(self, plan: Plan) -> str:  # noqa: ARG002 (limits of boards tell more)
        """The limit, for the message on a plan that does not keep it."""
        return f"the limit is {self.kib:g} KiB"


def planned(path: Path, input_mode: InputMode | None, limit: ArenaLimit, packing: PlainPacking) -> tuple[Plan, bytes]:
    """Reads and plans a model file.

    Args:
        path: a ``.tflite`` file.
        input_mode: None takes the resident image where it keeps the limit, else rows.
        limit: for the arena. Where no plan keeps it otherwise, tensors are made twice instead of being kept; the
            network's notes tell which, and what it costs.
        packing: the kernels.

    Returns:
        The plan, and the content of the file that it stands for.

    Raises:
        DataError: the model is not one that the engine computes.
        DoesNotFit: the arena is above the limit.
    """
    from reidfw_targets.portable_c._tflite.reader import read_network

    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    if path.suffix.lower() != ".tflite":
        raise DataError(
            f"{path.name}: portable C is made from int8 .tflite files",
            hint="Quantize the model first: operation_mode quantization, or a chain with the letter q.",
        )
    network, content = read_network(path)
    modes: tuple[InputMode, ...] = ("resident", "rows") if input_mode is None else (input_mode,)
    plans = []
    for mode in modes:
        plans.append(plan_memory(network, mode, packing.scratch_bytes))
        if limit.missing_bytes(plans[-1]) <= 0:
            return plans[-1], content
    smallest = plan_within(plans[-1], network, packing.scratch_bytes, limit.missing_bytes)
    if limit.missing_bytes(smallest) <= 0:
        return smallest, content
    found = [f"{plan.arena_bytes / 1024:.1f} KiB with input {plan.input_mode}" for plan in plans]
    if smallest is not plans[-1]:
        found.append(f"{smallest.arena_bytes / 1024:.1f} KiB where tensors are made twice")
    raise DoesNotFit(
        f"{path.name} needs an arena of {'; '.join(found)}; {limit.words(smallest)}",
        hint="Take a smaller backbone or image"
        + (", or input rows (the image row by row)." if input_mode == "resident" else "."),
    )


def compile_to(
    path: Path,
    folder: Path,
    *,
    input_mode: InputMode | None = None,
    ram_limit_kib: float | None = None,
    kernels: str = "plain",
) -> Compiled:
    """Writes a model as C code into a folder, which is made.

    Args:
        path: a ``.tflite`` file.
        folder: for the code.
        input_mode: see :func:`planned`, also for errors.
        ram_limit_kib: the largest arena in KiB, None for no limit.
        kernels: name of the kernels.
    """
    limit = ArenaLimit() if ram_limit_kib is None else ArenaLimit(kib=ram_limit_kib)
    return compile_within(path, folder, limit, input_mode=input_mode, kernels=kernels)


def compile_within(
    path: Path, folder: Path, limit: ArenaLimit, *, input_mode: InputMode | None, kernels: str
) -> Compiled:
    """The same with a limit of any kind."""
    if kernels not in PACKINGS:
        near = nearest_match(kernels, PACKINGS)
        raise DataError(
            f"There are no kernels '{kernels}'; there are {', '.join(PACKINGS)}"
            + (f" (did you mean '{near}'?)" if near else "")
        )
    packing = PACKINGS[kernels]
    plan, content = planned(path, input_mode, limit, packing)
    folder.mkdir(parents=True, exist_ok=True)
    return Compiled(plan=plan, generated=write_program(plan, packing, content, folder), content=content)


def check_on_host(compiled: Compiled, workdir: Path, num_images: int) -> Check:
    """Compares every tensor of the code, in plain C, with LiteRT's reference kernels on seeded random images.

    Raises:
        ToolNotFound: there is no C compiler for this computer.
        ToolFailed: the compiler refuses the code.
    """
    from reidfw_targets.portable_c._tflite.reference import Reference

    generated = compiled.generated
    if generated.kernels != "plain":  # this computer has other instructions; the plan needs no more memory
        folder = workdir / "plain"
        folder.mkdir(exist_ok=True)
        generated = write_program(compiled.plan, PACKINGS["plain"], compiled.content, folder)
    program = HostProgram(generated, compiled.network, workdir, trace=True)
    reference = Reference(compiled.content)
    rows = compiled.network.rows_read
    different = []
    for number, image in enumerate(random_images(compiled.network, num_images)):
        program.run(image)
        reference.run(_as_given(reference, compiled.network, image))
        found = reference.differences(program.tensors(), rows)
        different += [f"image {number}, {_in_words(one)}" for one in found]
    return Check(images=num_images, tensors=len(program.tensors()), different=tuple(different))


def check_traced(compiled: Compiled, image: np.ndarray, tensors: Mapping[int, np.ndarray]) -> Check:
    """Compares the tensors that a core made of one image with LiteRT's reference kernels.

    Args:
        compiled: the code.
        image: (H, W, C) in the model's integers.
        tensors: int8 (rows, bytes of a row) by number in the model file.
    """
    from reidfw_targets.portable_c._tflite.reference import Reference

    reference = Reference(compiled.content)
    reference.run(_as_given(reference, compiled.network, image))
    different = tuple(_in_words(one) for one in reference.differences(tensors, compiled.network.rows_read))
    return Check(images=1, tensors=len(tensors), different=different)


def reference_embedding(compiled: Compiled, image: np.ndarray) -> np.ndarray | None:
    """What LiteRT's reference kernels make of an image (H, W, C): (D,) int8 or uint8, in the model's integers.

    None where the model file has no such tensor, as a reshaping behind it was left out.
    """
    from reidfw_targets.portable_c._tflite.reference import Reference

    embedding = compiled.network.tensors[compiled.network.embedding]
    if embedding.file_index is None:
        return None
    reference = Reference(compiled.content)
    reference.run(_as_given(reference, compiled.network, image))
    return reference.tensor(embedding.file_index)


def _in_words(difference: TensorDifference) -> str:
    return f"{difference.name}: {difference.elements} of {difference.total} elements, by up to {difference.largest}"


def _as_given(reference: Reference, network: Network, image: np.ndarray) -> np.ndarray:
    """The image as the file takes it: where that is float, what its integers stand for, float32."""
    if reference.takes_integers:
        return image
    tensor = network.tensors[network.image]
    return ((image.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)).astype(np.float32)


def random_images(network: Network, count: int) -> np.ndarray:
    """Seeded random images (N, H, W, C) in the model's integers."""
    image = network.tensors[network.image]
    pixels = np.random.default_rng(0).integers(0, 256, (count, *image.shape), dtype=np.uint8)
    return pixels if image.unsigned else pixels.view(np.int8)
