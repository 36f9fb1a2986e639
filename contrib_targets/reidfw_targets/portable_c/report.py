"""What ``portable_c`` found: the report as JSON, as a table, and as the core's benchmark report.

Three columns are kept apart. *Measured*: of the program that was built and run. *Modelled*: what follows from
assumptions, which includes the memory plan of a program that was not built. *Published*: figures of others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reidfw_core.api import BenchmarkReport, BoardQuantity, LayerInstructions, atomic_path
from reidfw_targets.emulation import Firmware, FirmwareRun
from reidfw_targets.facts import BoardFacts
from reidfw_targets.portable_c.compiling import Check, Compiled
from reidfw_targets.portable_c.latency import Latency
from reidfw_targets.portable_c.network import shortened
from reidfw_targets.published import PublishedFigure

REPORT_NAME = "portable_c_report.json"
TABLE_NAME = "portable_c_report.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCore:
    """Runs on the emulated core.

    Attributes:
        run: the program as it will be flashed.
        traced: the same with its trace; None where that was not wanted or had no room.
        check: every tensor of it against LiteRT's reference kernels.
        second: the same image in a second emulator; None where there is none.
    """

    run: FirmwareRun
    traced: FirmwareRun | None
    check: Check | None
    second: FirmwareRun | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that is known.

    Attributes:
        board: the board.
        compiled: the code.
        firmware: the program for the board; None where it could not be built here.
        on_host: comparison on this computer; None where it was not wanted or there is no compiler.
        on_core: runs; None where they could not be made here.
        latency: time of one inference; None where nothing is known of the core's cycles.
        published: rows of others for such a model on this board.
        notes: what was changed, missing or found odd.
    """

    board: BoardFacts
    compiled: Compiled
    firmware: Firmware | None
    on_host: Check | None
    on_core: OnCore | None
    latency: Latency | None
    published: tuple[PublishedFigure, ...]
    notes: tuple[str, ...]


def report_of(found: Findings) -> BenchmarkReport:
    """The core's report."""
    plan, generated, firmware = found.compiled.plan, found.compiled.generated, found.firmware
    return BenchmarkReport(
        macs=plan.network.macs,
        activations_ram_kib=_kib(plan.arena_bytes),
        total_ram_kib=_total_ram_kib(found),
        weights_flash_kib=_kib(generated.constant_bytes),
        total_flash_kib=None if firmware is None else round(firmware.use.flash_kib, 2),
        tool=f"portable_c ({_how(found)})",
        quantities=quantities(found),
        origins=origins(found),
        layers=layers(found),
        details=_facts(found),
    )


def _how(found: Findings) -> str:
    if found.on_core is not None:
        return found.on_core.run.label
    return "memory planned, not built" if found.firmware is None else "built, not run"


def quantities(found: Findings) -> tuple[BoardQuantity, ...]:
    """The table's rows, each number in the column of its origin."""
    plan, generated = found.compiled.plan, found.compiled.generated
    firmware, on_core = found.firmware, found.on_core
    published = found.published[0] if found.published else None
    resident = plan.input_mode == "resident"
    macs = plan.network.macs

    def built(name: str, kib: float, published_kib: float | None = None) -> BoardQuantity:
        """Memory that is measured once the linker has placed it, and planned before."""
        kib = round(kib, 2)
        if firmware is None:
            return BoardQuantity(name=name, unit="KiB", modelled=(kib, kib), published=published_kib)
        return BoardQuantity(name=name, unit="KiB", measured=kib, published=published_kib)

    theirs = None if published is None else round(published.ram_kib + published.external_ram_kib, 2)
    whole = "RAM arena, image included"
    name, beside = (whole, theirs) if resident else ("RAM arena, image row by row", None)
    rows = [built(name, plan.arena_bytes / 1024, beside)]
    if theirs is not None and not resident:  # theirs holds the image, ours does not: no row for both
        rows.append(BoardQuantity(name=whole, unit="KiB", published=theirs))
    if on_core is not None:
        rows += [
            BoardQuantity(name="Stack", unit="KiB", measured=_kib(on_core.run.stack_bytes)),
            BoardQuantity(name="RAM in total", unit="KiB", measured=_total_ram_kib(found)),
        ]
    rows.append(
        built("Flash, constants", generated.constant_bytes / 1024, None if published is None else published.flash_kib)
    )
    if firmware is not None:
        rows.append(BoardQuantity(name="Flash in total", unit="KiB", measured=round(firmware.use.flash_kib, 2)))
    rows.append(BoardQuantity(name="MACs", unit="million", measured=round(macs / 1e6, 3)))
    if on_core is not None:
        count = on_core.run.instructions
        rows.append(BoardQuantity(name="Instructions", unit="million", measured=round(count / 1e6, 3)))
        if macs:
            rows.append(BoardQuantity(name="Instructions per MAC", measured=round(count / macs, 3)))
    time = found.latency
    if time is not None or published is not None:
        rows.append(
            BoardQuantity(
                name="Inference",
                unit="ms",
                modelled=None if time is None else (round(time.low_ms, 2), round(time.high_ms, 2)),
                published=None if published is None else published.inference_ms,
            )
        )
    return tuple(rows)


def origins(found: Findings) -> dict[str, str]:
    """Where each column comes from."""
    firmware, on_core = found.firmware, found.on_core
    columns = {"measured": "counted in the plan; nothing was built"}
    if firmware is not None:
        columns["measured"] = f"built by {firmware.compiler} for the memory of {found.board.name}, not run"
    if firmware is not None and on_core is not None:
        memory = "memory" if firmware.machine == "board" else "memory sizes"
        columns["measured"] = f"built by {firmware.compiler}, run in {on_core.run.label} with the {memory} of "
        columns["measured"] += found.board.name
        if on_core.second is not None:
            columns["measured"] += f"; {on_core.second.label} computes the same embedding with "
            columns["measured"] += f"{on_core.second.instructions} instructions"
    if found.latency is not None:
        columns["modelled"] = found.latency.basis
    elif firmware is None:
        columns["modelled"] = "memory as planned, not built"
    elif on_core is not None:
        columns["modelled"] = f"no time: nothing is known of the cycles of {firmware.core.name}"
    if found.published:
        columns["published"] = found.published[0].origin
    return columns


def layers(found: Findings) -> tuple[LayerInstructions, ...]:
    """Instructions of each operator, in the order of the network; empty without a trace."""
    traced = None if found.on_core is None else found.on_core.traced
    if traced is None:
        return ()
    return tuple(
        LayerInstructions(
            name=operator.layer,
            operator=operator.kind,
            macs=operator.macs,
            instructions=traced.by_operator.get(number, 0),
        )
        for number, operator in enumerate(found.compiled.network.operators)
    )


def write_files(found: Findings, workdir: Path) -> None:
    """Writes the report and the table."""
    with atomic_path(workdir / REPORT_NAME) as temporary:
        temporary.write_text(json.dumps(as_json(found), indent=2) + "\n", encoding="utf-8")
    with atomic_path(workdir / TABLE_NAME) as temporary:
        temporary.write_text(as_text(found), encoding="utf-8")


def as_json(found: Findings) -> dict[str, Any]:
    """The report for programs; numbers under other columns than their own do not occur."""
    plan, generated = found.compiled.plan, found.compiled.generated
    firmware, on_core = found.firmware, found.on_core
    memory = {"ram_arena_kib": _kib(plan.arena_bytes), "flash_constants_kib": _kib(generated.constant_bytes)}
    measured: dict[str, Any] = {"macs": plan.network.macs}
    modelled: dict[str, Any] = {}
    (modelled if firmware is None else measured).update(memory)
    if found.on_host is not None:
        measured["on_this_computer"] = _check(found.on_host)
    if firmware is not None:
        measured["compiler"] = firmware.compiler
        measured["flash_total_kib"] = round(firmware.use.flash_kib, 2)
        measured["ram_variables_kib"] = round(firmware.use.ram_kib, 2)
    if on_core is not None:
        run, macs = on_core.run, plan.network.macs
        measured["emulator"] = run.label
        measured["stack_kib"] = _kib(run.stack_bytes)
        measured["ram_total_kib"] = _total_ram_kib(found)
        measured["instructions"] = run.instructions
        measured["instructions_per_mac"] = round(run.instructions / macs, 3) if macs else None
        measured["instructions_by_function"] = dict(run.by_function)
        measured["instructions_by_layer"] = [asdict(layer) for layer in layers(found)]
        if on_core.check is not None:
            measured["on_core"] = _check(on_core.check)
        if on_core.second is not None:
            second = on_core.second
            measured["second_emulator"] = {
                "emulator": second.label,
                "embedding_equal": True,  # another embedding ends the benchmark
                "instructions": second.instructions,
            }
    if found.latency is not None:
        modelled["inference_ms_low"] = round(found.latency.low_ms, 2)
        modelled["inference_ms_high"] = round(found.latency.high_ms, 2)
    return {
        "board": found.board.name,
        "kernels": generated.kernels,
        "input": plan.input_mode,
        "measured": measured,
        "modelled": modelled,
        "published": [asdict(one) for one in found.published],
        "origins": origins(found),
        "segments": [
            {
                "first": plan.network.operators[one.first].layer,
                "last": plan.network.operators[one.last].layer,
                "live_kib": _kib(one.live_bytes),
            }
            for one in plan.segments
        ],
        "notes": list(found.notes),
    }


def as_text(found: Findings) -> str:
    """The report for people: quantities, equality, layers."""
    generated = found.compiled.generated
    rows = [("", "", "measured", "modelled", "published")]
    for one in quantities(found):
        low, high = one.modelled or (None, None)
        modelled = _number(low) if low == high else f"{_number(low)} to {_number(high)}"
        rows.append((one.name, one.unit, _number(one.measured), modelled, _number(one.published)))
    lines = [
        f"{found.compiled.network.name} on {found.board.name}, kernels {generated.kernels}",
        "",
        *_columns(rows, 2),
    ]
    lines += ["", *(f"{column}: {text}" for column, text in origins(found).items())]
    lines += ["", *(f"{name}: {text}" for name, text in _equality(found).items())]
    costs = layers(found)
    if costs:
        every = sum(layer.instructions for layer in costs) or 1
        table = [("layer", "operator", "MACs", "instructions", "share %", "per MAC")]
        table += [
            (
                shortened(layer.name),
                layer.operator,
                str(layer.macs),
                str(layer.instructions),
                f"{100 * layer.instructions / every:.1f}",
                f"{layer.instructions / layer.macs:.2f}" if layer.macs else "-",
            )
            for layer in costs
        ]
        lines += ["", *_columns(table, 2)]
    lines += ["", *(f"note: {note}" for note in found.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _facts(found: Findings) -> dict[str, Any]:
    """What the page shows below the table."""
    facts: dict[str, Any] = {"kernels": found.compiled.generated.kernels, **_equality(found)}
    piece, whole = found.board.arena, sum(region.size_kib for region in found.board.of_kind("ram", "npu_ram"))
    if piece.size_kib < whole:
        facts["RAM in one piece"] = f"{piece.size_kib:g} of {whole:g} KiB ({piece.name}); the arena needs one piece"
    if found.notes:
        facts["notes"] = list(found.notes)
    return facts


def _equality(found: Findings) -> dict[str, str]:
    """Which comparisons with LiteRT's reference kernels were made; a difference would have ended the benchmark."""
    texts = {}
    checks = {"on this computer": found.on_host, "on the core": None if found.on_core is None else found.on_core.check}
    for place, check in checks.items():
        if check is None:
            texts[f"compared {place}"] = "no"
        else:
            images = "1 image" if check.images == 1 else f"{check.images} images"
            texts[f"compared {place}"] = f"all {check.tensors} tensors of {images} equal LiteRT's reference kernels"
    return texts


def _check(check: Check) -> dict[str, Any]:
    return {"images": check.images, "tensors_compared": check.tensors, "tensors_equal": not check.different}


def _total_ram_kib(found: Findings) -> float | None:
    if found.firmware is None or found.on_core is None:
        return None
    return round(found.firmware.use.ram_kib + found.on_core.run.stack_bytes / 1024, 2)


def _kib(count: int) -> float:
    return round(count / 1024, 2)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows below each other: the first columns aligned to the left, all others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
