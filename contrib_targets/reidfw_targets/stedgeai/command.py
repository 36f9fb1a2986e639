"""The command lines of ST Edge AI Core: pure functions from what is wanted to arguments.

Each returns what follows the executable. ``None`` and empty text leave an option out, as do an option's defaults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reidfw_targets.board_tools import Optimization
from reidfw_targets.facts import BoardFacts
from reidfw_targets.stedgeai.executable import Version
from reidfw_targets.stedgeai.neural_art import PROFILE, settings_path

SERIAL_SPEED = 921600
"""Bits a second of the validation firmware's serial line."""

_TARGETS = {"STM32H7RS": "stm32h7"}
"""Series whose target is not their name: the tool lists no STM32H7RS, whose core is a Cortex-M7 too."""


def target_of(board: BoardFacts) -> str:
    """The value of ``--target`` for a board, for example ``stm32h7``."""
    return _TARGETS.get(board.series, board.series.lower())


def uses_neural_art(board: BoardFacts) -> bool:
    """Whether networks for this board are compiled for the Neural-ART accelerator."""
    return board.npu == "Neural-ART"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsOutputs:
    """How the application hands images in and takes embeddings out.

    Attributes:
        input_data_type, output_data_type: ``uint8``, ``int8`` or ``float32``.
        inputs_ch_position, outputs_ch_position: ``chfirst`` or ``chlast``.
    """

    input_data_type: str | None = None
    output_data_type: str | None = None
    inputs_ch_position: str | None = None
    outputs_ch_position: str | None = None

    def arguments(self) -> list[str]:
        """The four options, those that are given."""
        return [
            *_option("--input-data-type", self.input_data_type),
            *_option("--output-data-type", self.output_data_type),
            *_option("--inputs-ch-position", self.inputs_ch_position),
            *_option("--outputs-ch-position", self.outputs_ch_position),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """Options of ``generate`` for an application; the defaults are the tool's own and are not written."""

    no_inputs_allocation: bool = False
    no_outputs_allocation: bool = False
    compression: str = "lossless"
    split_weights: bool = False
    no_onnx_io_transpose: bool = False
    no_onnx_optimize: bool = False
    verbosity: int = 1
    name: str = "network"
    st_neural_art: str | None = None
    in_out: InputsOutputs = InputsOutputs()
    optimization: Optimization | Literal["default"] = "default"
    memory_pool: Path | None = None
    extra: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """The options that differ from the defaults."""
        return [
            *_flag("--no-inputs-allocation", self.no_inputs_allocation),
            *_flag("--no-outputs-allocation", self.no_outputs_allocation),
            *_option("-c", self.compression, default="lossless"),
            *_flag("--split-weights", self.split_weights),
            *_flag("--no-onnx-io-transpose", self.no_onnx_io_transpose),
            *_flag("--no-onnx-optimize", self.no_onnx_optimize),
            *_option("--verbosity", str(self.verbosity), default="1"),
            *_option("--name", self.name, default="network"),
            *_option("--st-neural-art", self.st_neural_art),
            *self.in_out.arguments(),
            *_option("-O", self.optimization, default="default"),
            *_option("--memory-pool", None if self.memory_pool is None else str(self.memory_pool)),
            *self.extra,
        ]


def version_arguments() -> list[str]:
    """Asks for the version."""
    return ["--version"]


def benchmark_arguments(
    board: BoardFacts, model: Path, folder: Path, optimization: Optimization, version: Version
) -> list[str]:
    """Generates C code for a board only to see what it takes.

    Boards with Neural-ART are compiled for it, where ``optimization`` has no meaning: with the profile of the
    re-identification application in the folder's own file, so that a deployment takes what was measured.
    """
    how = (
        ["--st-neural-art", f"{PROFILE}@{settings_path(board, folder)}"]
        if uses_neural_art(board)
        else ["--optimization", optimization]
    )
    old = ["--allocate-inputs", "--allocate-outputs"] if version.is_old else []
    places = ["--output", str(folder), "--workspace", str(folder)]
    return ["generate", "--target", target_of(board), "-m", str(model), "-v", "0", *places, *how, *old]


def validation_generate_arguments(
    target: str, model: Path, in_out: InputsOutputs, *, neural_art: str | None = None, dll: bool = False
) -> list[str]:
    """Generates the network for validation on a device (or as a library for this computer: ``dll``)."""
    return [
        *("generate", "--c-api", "st-ai", "--model", str(model), "--target", target),
        *_option("--st-neural-art", neural_art),
        *_flag("--dll", dll),
        *in_out.arguments(),
    ]


def validate_arguments(
    target: str, model: Path, in_out: InputsOutputs, *, connection: str = f"serial:{SERIAL_SPEED}"
) -> list[str]:
    """Runs the network on the device with random data and compares it with this computer's results."""
    return [
        *("validate", "--c-api", "st-ai", "--model", str(model), "--target", target),
        *("--mode", "target", "-d", connection, "-b", "1"),
        *in_out.arguments(),
    ]


def deployment_arguments(
    target: str, model: Path, folder: Path, options: GenerateOptions, version: Version
) -> list[str]:
    """Generates C code for an application. STM32CubeAI 10.1.0 wants a workspace of its own."""
    workspace = folder / "workspace" if version.answers_to("10.1.0") else folder
    return [
        *("generate", "--target", target, "-m", str(model), "--output", str(folder), "--workspace", str(workspace)),
        *options.arguments(),
    ]


def _option(name: str, value: str | None, *, default: str | None = None) -> Iterator[str]:
    if value and value != default:
        yield from (name, value)


def _flag(name: str, wanted: bool) -> Iterator[str]:
    if wanted:
        yield name
