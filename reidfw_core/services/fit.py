"""Will a model fit a board? What it takes, estimated from the file or the architecture, against what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog
from reidfw_core.errors import DataError, DoesNotFit, ReidfwError
from reidfw_core.types import MemoryEstimate, ModelFile, TargetInfo

if TYPE_CHECKING:
    from reidfw_core.components import Component

Verdict = Literal["green", "amber", "red"]

FLOAT_BYTES = 4
"""Bytes of a number before quantization."""

_ORDER: tuple[Verdict, ...] = ("green", "amber", "red")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a model fits.

    Attributes:
        verdict: ``green`` for internal memory alone, ``amber`` with external memory, RAM in several pieces or memory
            that the board does not tell, ``red`` for not at all.
        reasons: what decided, in words; empty where all is well.
    """

    verdict: Verdict
    reasons: tuple[str, ...]


def judge(info: TargetInfo, needed: MemoryEstimate) -> Fit:
    """Compares, to the byte, what a model takes with what a board has. Code, stack and camera are not counted."""
    if info.ram_kib is None and info.flash_kib is None:  # everything lies in external memory, as with Linux
        both = MemoryEstimate(
            weights_bytes=0, activations_bytes=needed.weights_bytes + needed.activations_bytes, method=needed.method
        )
        verdict, reason = _place("weights and activations", both.activations_bytes, info.external_ram_kib, None, "RAM")
        return Fit(verdict=verdict, reasons=(reason,) if reason else ())
    flash, outer_flash = info.flash_kib, info.external_flash_kib
    if flash is None:
        flash, outer_flash = outer_flash, None  # no internal flash at all: the outer one is where weights belong
    piece = info.largest_ram_kib
    inner, outer, memory = info.ram_kib, info.external_ram_kib, "RAM"
    if needed.one_piece and piece is not None:
        inner, outer, memory = piece, max(0.0, (outer or 0) - piece), "RAM in one piece"
    found = [
        _place("activations", needed.activations_bytes, inner, outer, memory),
        _place("weights", needed.weights_bytes, flash, outer_flash, "flash"),
    ]
    if found[0][0] == "green" and piece is not None and needed.activations_bytes > piece * 1024:
        found[0] = "amber", f"activations need several pieces of RAM; the largest has {piece:,.0f} KiB"
    return Fit(
        verdict=max((verdict for verdict, _ in found), key=_ORDER.index),
        reasons=tuple(reason for _, reason in found if reason),
    )


def best(verdicts: Iterable[Verdict]) -> Verdict:
    """The best of some verdicts."""
    return min(verdicts, key=_ORDER.index)


def _place(what: str, size: int, inner: float | None, outer: float | None, memory: str) -> tuple[Verdict, str]:
    if inner is None and outer is None:
        return "amber", f"the board does not tell its {memory}"
    inner_bytes, outer_bytes = int((inner or 0) * 1024), int((outer or 0) * 1024)
    if size <= inner_bytes:
        return "green", ""
    if size <= inner_bytes + outer_bytes:
        return "amber", f"{what} of {size / 1024:,.1f} KiB need external {memory}; inside are {inner or 0:,.0f} KiB"
    more = size - inner_bytes - outer_bytes
    unit = "byte" if more == 1 else "bytes"
    return "red", f"{what} of {size / 1024:,.1f} KiB are {more:,} {unit} more than the {memory} of the board"


def require_weights_fit(name: str, info: TargetInfo, needed: MemoryEstimate) -> None:
    """Refuses a model whose weights alone are too many: they cannot be helped, activations depend on the tool.

    Raises:
        DoesNotFit: even with external memory there is no room for them.
    """
    fit = judge(info, replace(needed, activations_bytes=0))
    if fit.verdict == "red":
        raise DoesNotFit(
            f"The model does not fit {name}: {'; '.join(fit.reasons)} ({needed.method})",
            hint="Take a smaller network, or another board: reidfw fit MODEL shows all of them.",
        )


def installed_targets(catalog: Catalog, bus: HookBus) -> list[tuple[str, Component]]:
    """All installed targets by name, added to the bus; left out are those that are broken or need parameters."""
    targets: list[tuple[str, Component]] = []
    for entry in catalog.entries("targets"):
        try:
            component = catalog.load("targets", entry.reference)()
            bus.add(component, entry.name)
        except (ReidfwError, ValidationError):
            continue  # `reidfw list --check` tells what is wrong with it
        targets.append((entry.name, component))
    return targets


def estimate_file(
    model: ModelFile, bus: HookBus, targets: Sequence[Component], *, to_be_quantized: bool = True
) -> MemoryEstimate:
    """What a model file takes: Keras models from their architecture, others as a target that reads them says.

    Args:
        model: the file.
        bus: holds the targets.
        targets: those that may read it.
        to_be_quantized: a Keras model counts as after quantization, else with its floats; other files always count
            as they are.

    Raises:
        DataError: the file is damaged, or nothing that is installed reads its kind.
        ToolNotFound: a package that reading it needs is not installed.
    """
    if model.format.container == "keras":
        from reidfw_core.models import load_embedding_model

        return estimate_architecture(load_embedding_model(model.path), to_be_quantized=to_be_quantized)
    for target in targets:
        readable = any(model.format.fits(accepted) for accepted in target.accepts)  # type: ignore[attr-defined]
        if readable and bus.supports(target, "estimate_memory"):
            found: MemoryEstimate = bus.ask(target, "estimate_memory", model=model)
            return found
    raise DataError(
        f"Nothing that is installed can tell what {model.path.name} takes ({model.format.container})",
        hint="Give a .keras, .h5, .tflite or .onnx file; pip install reidfw-targets brings the readers.",
    )


def estimate_architecture(network: Any, *, to_be_quantized: bool = True) -> MemoryEstimate:
    """What a Keras network takes: once it is quantized a byte for each weight and each activation, else four.

    Args:
        network: a built ``keras.Model``.
        to_be_quantized: count it as after quantization.
    """
    from reidfw_core._keras.complexity import complexity

    cost = complexity(network)
    width, numbers = (1, "int8") if to_be_quantized else (FLOAT_BYTES, "float32")
    return MemoryEstimate(
        weights_bytes=width * cost.parameters,
        activations_bytes=width * cost.largest_pair,
        method=f"estimated for {numbers} from the architecture",
    )


def after_quantization(estimate: MemoryEstimate) -> MemoryEstimate:
    """What is left of a float file's estimate when its numbers become bytes."""
    return MemoryEstimate(
        weights_bytes=estimate.weights_bytes // FLOAT_BYTES,
        activations_bytes=estimate.activations_bytes // FLOAT_BYTES,
        method=f"estimated for int8: a quarter of the {estimate.method}",
    )
