"""The typed values that travel between steps, services and components.

All are frozen dataclasses. NumPy is imported for type checkers only, so that importing this module is cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

Role = Literal[
    "training", "validation", "test_query", "test_gallery", "quantization", "prediction_query", "prediction_gallery"
]
"""What a data set is used for; the words are those of the ``dataset.<role>_path`` attributes."""

ColorMode = Literal["grayscale", "rgb", "rgba"]

Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""Tells the user of a long piece of work: takes its name, the units ahead (0 where nobody knows how many) and what they
are called; the block gets a function that takes the units done so far."""


def no_progress(task: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:  # noqa: ARG001
    """A :data:`Progress` that tells nobody."""
    return nullcontext(lambda done: None)  # noqa: ARG005


@dataclass(frozen=True, slots=True)
class PixelRange:
    """The closed interval in which rescaled pixel values lie, for example (-1.0, 1.0)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a pixel range needs low < high, got ({self.low}, {self.high})")

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """File container and number format of a model, written ``keras/float32`` or ``tflite/int8``.

    ``*`` stands for any number format, for a file whose content has not been looked at yet.
    """

    container: str
    numeric: str = "*"

    @classmethod
    def parse(cls, text: str) -> ModelFormat:
        """Reads ``container/numeric`` or ``container``. Raises ValueError for anything else."""
        container, _, numeric = text.partition("/")
        if not container or "/" in numeric:
            raise ValueError(f"'{text}' is not a model format; write it like 'keras/float32'")
        return cls(container, numeric or "*")

    @classmethod
    def of_file(cls, path: Path) -> ModelFormat:
        """The container that a file's name tells: its suffix, with ``.h5`` counted as ``keras``."""
        container = path.suffix.lower().lstrip(".")
        return cls("keras" if container == "h5" else container)

    def fits(self, other: ModelFormat) -> bool:
        """Whether the containers agree and the number formats agree or one of them is ``*``."""
        return self.container == other.container and (
            self.numeric == other.numeric or "*" in (self.numeric, other.numeric)
        )

    @property
    def is_integer(self) -> bool:
        """Whether the number format is an integer one (its name holds ``int``)."""
        return "int" in self.numeric

    def __str__(self) -> str:
        return f"{self.container}/{self.numeric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The images of one data set, in the order in which they are used.

    Attributes:
        role: what the set is used for.
        root: the folder it was read from.
        paths: one absolute file path an image.
        identities: the identity shown on each image, same length as ``paths``.
        cameras: the camera of each image, or None where the reader knows no cameras.
    """

    role: Role
    root: Path
    paths: tuple[Path, ...]
    identities: tuple[str, ...]
    cameras: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.identities):
            raise ValueError(f"{len(self.paths)} paths but {len(self.identities)} identities")
        if self.cameras is not None and len(self.cameras) != len(self.paths):
            raise ValueError(f"{len(self.paths)} paths but {len(self.cameras)} cameras")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def identity_names(self) -> tuple[str, ...]:
        """The distinct identities, sorted."""
        return tuple(sorted(set(self.identities)))

    def take(self, indices: Iterator[int] | list[int] | tuple[int, ...]) -> Samples:
        """The samples at ``indices``, in that order."""
        chosen = list(indices)
        return Samples(
            role=self.role,
            root=self.root,
            paths=tuple(self.paths[i] for i in chosen),
            identities=tuple(self.identities[i] for i in chosen),
            cameras=None if self.cameras is None else tuple(self.cameras[i] for i in chosen),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BadImage:
    """An image file that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model on disk.

    Attributes:
        path: the file.
        format: its container and number format.
        name: what pictures and tables call it, for example ``mobilenetv1_a025``.
        input_shape: (H, W, C) as the file says, None where it has not been opened yet.
        embedding_dim: length D of its output, None where it has not been opened yet.
        details: what its maker knows about it (quantization parameters, counts), JSON-able.
    """

    path: Path
    format: ModelFormat
    name: str
    input_shape: tuple[int, int, int] | None = None
    embedding_dim: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Size of the file in bytes. Raises OSError where it is gone."""
        return self.path.stat().st_size


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """Images with which a quantizer measures activation ranges.

    Attributes:
        num_images: how many images :attr:`images` yields.
        images: each call starts anew and yields one image a step as (1, H, W, C) float32, resized and
            rescaled exactly as in evaluation, in a seeded order.
        origin: the attribute or folder that they came from, for the log.
        pixel_range: least and greatest number that a pixel of any image can be: black and white, rescaled. The range of
            the model's input, so that a camera's bytes are its integers; None where it is not known.
    """

    num_images: int
    images: Callable[[], Iterator[np.ndarray]]
    origin: str
    pixel_range: tuple[float, float] | None = None


@runtime_checkable
class EmbeddingRunner(Protocol):
    """A model made ready to turn images into embeddings; closed with :meth:`close`.

    Attributes:
        input_shape: (H, W, C) of one image.
        embedding_dim: length D of an embedding.
        format: container and number format as found in the file.
        kernels: the implementation that computes it, for example ``XNNPACK`` (scores name it, since
            implementations differ by a few quantization steps).
    """

    input_shape: tuple[int, int, int]
    embedding_dim: int
    format: ModelFormat
    kernels: str

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of a batch.

        Args:
            images: (N, H, W, C) float32, rescaled pixels.

        Returns:
            (N, D) float32, de-quantized, not normalised.
        """
        ...

    def close(self) -> None:
        """Frees what the runner holds; it is not used afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInfo:
    """Facts on a target. None means unknown or not applicable.

    Attributes:
        core: processor core(s), for example ``Cortex-M7``.
        clock_mhz: clock of the main core in MHz.
        ram_kib, flash_kib: internal memory in KiB (1024 bytes).
        external_ram_kib, external_flash_kib: memory chips on the board in KiB.
        npu: name of a neural accelerator.
        source: where the figures come from.
        largest_ram_kib: largest internal RAM in one piece, in KiB.
    """

    core: str | None = None
    clock_mhz: float | None = None
    ram_kib: float | None = None
    flash_kib: float | None = None
    external_ram_kib: float | None = None
    external_flash_kib: float | None = None
    npu: str | None = None
    source: str | None = None
    largest_ram_kib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What a model takes on any board, before a tool has been asked.

    Attributes:
        weights_bytes: constants.
        activations_bytes: least working memory of an execution operation by operation.
        method: how it was estimated, for people.
        one_piece: whether the working memory must lie in one piece of RAM.
    """

    weights_bytes: int
    activations_bytes: int
    method: str
    one_piece: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardQuantity:
    """One quantity of a model on a board. Its columns tell where a number comes from and are never mixed.

    Attributes:
        name: what it is, for people.
        unit: for example ``KiB`` or ``ms``; empty for a pure number.
        measured: counted or executed by the tool.
        modelled: lowest and highest value that follow from assumptions.
        published: somebody else's figure for such a model on this board.
    """

    name: str
    unit: str = ""
    measured: float | None = None
    modelled: tuple[float, float] | None = None
    published: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInstructions:
    """What one layer costs on a board.

    Attributes:
        name: the layer's name.
        operator: what it computes, as the model file calls it.
        macs: multiply-accumulate operations of one inference.
        instructions: instructions that the processor executed for it in one inference.
    """

    name: str
    operator: str
    macs: int
    instructions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """What a model costs on a target. None means that this way of measuring does not tell.

    Attributes:
        inference_ms: time of one inference in milliseconds.
        cycles: processor cycles of one inference.
        macs: multiply-accumulate operations of one inference.
        activations_ram_kib, total_ram_kib: working memory in KiB.
        weights_flash_kib, total_flash_kib: read-only memory in KiB.
        runtime_ram_kib, code_flash_kib: the share in the totals of the library and the compiler.
        internal_ram_kib, external_ram_kib, internal_flash_kib, external_flash_kib: the memory by where it lies, in the
            chip or beside it on the board.
        tool: what measured it, with its version.
        quantities: the same and more in the columns measured, modelled and published; empty where the tool knows no
            other column than measured (see :attr:`table`).
        origins: where the numbers of a column come from, by its name.
        layers: what each layer costs; empty where the tool does not tell.
        further_metrics: more numbers for trackers, by the names that they get there.
        labels: texts for trackers, for example the version of the tool.
        details: everything else, JSON-able. ``notes``, a list of sentences, stand below the table on the screen too.
    """

    inference_ms: float | None = None
    cycles: int | None = None
    macs: int | None = None
    activations_ram_kib: float | None = None
    total_ram_kib: float | None = None
    weights_flash_kib: float | None = None
    total_flash_kib: float | None = None
    runtime_ram_kib: float | None = None
    code_flash_kib: float | None = None
    internal_ram_kib: float | None = None
    external_ram_kib: float | None = None
    internal_flash_kib: float | None = None
    external_flash_kib: float | None = None
    tool: str | None = None
    quantities: tuple[BoardQuantity, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerInstructions, ...] = ()
    further_metrics: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> tuple[BoardQuantity, ...]:
        """The quantities; where the tool gives none, what it measured."""
        measured = (
            ("RAM, activations", "KiB", self.activations_ram_kib),
            ("RAM in total", "KiB", self.total_ram_kib),
            ("RAM in the chip", "KiB", self.internal_ram_kib),
            ("RAM outside of it", "KiB", self.external_ram_kib),
            ("Flash, weights", "KiB", self.weights_flash_kib),
            ("Flash in total", "KiB", self.total_flash_kib),
            ("Flash in the chip", "KiB", self.internal_flash_kib),
            ("Flash outside of it", "KiB", self.external_flash_kib),
            ("MACs", "million", None if self.macs is None else self.macs / 1e6),
            ("Cycles", "million", None if self.cycles is None else self.cycles / 1e6),
            ("Inference", "ms", self.inference_ms),
        )
        return self.quantities or tuple(
            BoardQuantity(name=name, unit=unit, measured=value) for name, unit, value in measured if value is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSettings:
    """What is compiled into the application on a board.

    Attributes:
        max_object_detect: most people kept from the detector.
        max_object_tracking: most identities tracked.
        score_threshold: largest cosine distance that counts as the same identity.
        threshold_origin: where that comes from, for people.
        lost_time_in_ms: absence after which an identity is forgotten, in milliseconds.
        start_tracking_conf_threshold: detector confidence that opens a new identity, 0 to 1.
        aspect_ratio: how images get the model's size: ``fit``, ``crop``, ``padding`` or ``full_screen``.
        color_mode: the colours of the image.
        rescaling: scale and offset of its pixels in [0, 255]; None where they are not given.
    """

    max_object_detect: int
    max_object_tracking: int
    score_threshold: float
    threshold_origin: str
    lost_time_in_ms: int
    start_tracking_conf_threshold: float
    aspect_ratio: str = "fit"
    color_mode: ColorMode = "rgb"
    rescaling: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A program that a run would start.

    Attributes:
        title: what for, for people.
        argv: the program and its arguments.
        cwd: the folder it runs in; None for any.
        note: what to know about it, None for nothing.
    """

    title: str
    argv: tuple[str, ...]
    cwd: Path | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentReport:
    """What a deployment did: where the firmware lies, and what the user has to do now."""

    firmware: Path | None = None
    next_steps: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """How far one layer of a quantized model is from the same layer of the float model, over some images.

    Attributes:
        name: the layer's output.
        operator: what computes it, for example ``CONV_2D``.
        signal_to_noise_db: 10 log10(sum of squares of the float values / sum of squares of the differences), in dB.
        cosine: cosine similarity of all float and all quantized values, in [-1, 1].
        mean_absolute_error: mean of the differences' absolute values, in the unit of the layer's output.
        scale: quantization step of the output; None where it has several or stays in float.
    """

    name: str
    operator: str
    signal_to_noise_db: float
    cosine: float
    mean_absolute_error: float
    scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedLayer:
    """A layer of a quantized model that can be left at a higher precision.

    Attributes:
        name: unique in its model, the same as in :class:`LayerError`.
        operator: what computes it, for example ``CONV_2D``.
        precisions: number formats at which it can be kept, some of :attr:`ModelVariants.precisions`.
        quantized_bytes, float_bytes: size of its constants, quantized and in float.
    """

    name: str
    operator: str
    precisions: tuple[str, ...]
    quantized_bytes: int
    float_bytes: int


@runtime_checkable
class ModelVariants(Protocol):
    """A quantized model from which variants with some layers at a higher precision are made, without calibrating.

    Attributes:
        layers: its layers, in the order in which they are computed.
        precisions: number formats at which layers can be kept, the cheapest first and the most precise last, for
            example ``("int16", "float")``.
    """

    layers: tuple[QuantizedLayer, ...]
    precisions: tuple[str, ...]

    def write_variant(self, kept: Collection[str], precision: str, path: Path) -> ModelFile:
        """Writes the model with some layers at a higher precision and all others as they are.

        Args:
            kept: names of layers; those that cannot be kept at this precision stay quantized.
            precision: one of :attr:`precisions`.
            path: the file to write; it may be the one that was opened.

        Returns:
            The variant. Where layers were kept its ``details`` name them (``kept_layers``, in the order of the
            network) and how (``kept_at``), and its number format says so, for example ``tflite/int8_float``.

        Raises:
            StorageError: the file cannot be written.
            ValueError: a precision that is not offered.
        """
        ...
