"""``reidfw fit``: one model against all boards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog
from reidfw_core.cli.logs import logging_to_screen
from reidfw_core.cli.render import screen, show_json, table
from reidfw_core.errors import DataError, DoesNotFit
from reidfw_core.services.fit import best, estimate_file, installed_targets, judge
from reidfw_core.types import ModelFile, ModelFormat

_COLORS = {"green": "green", "amber": "yellow", "red": "red"}


def fit(model: Path, boards: Sequence[str], *, as_json: bool) -> None:
    """Prints a line for each board; without names, for every installed target with a known memory.

    Raises:
        DoesNotFit: boards were named, and the model fits none of them.
    """
    if model.parts[:1] in (("http:",), ("https:",)):
        raise DataError("A model at an address cannot be judged", hint="Download it, then give the file.")
    path = model.expanduser().absolute()
    if path.is_dir():
        raise DataError(f"{path} is a folder; give a model file in it")
    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    catalog, bus = Catalog(), HookBus()
    targets = installed_targets(catalog, bus)
    chosen = {catalog.find("targets", name).name for name in boards}
    file = ModelFile(path=path, format=ModelFormat.of_file(path), name=path.stem)
    with logging_to_screen():
        needed = estimate_file(file, bus, [component for _, component in targets])
    rows: list[dict[str, Any]] = []
    for name, component in targets:
        info = bus.ask(component, "describe_target")
        if (chosen and name not in chosen) or (
            not chosen and not (info.flash_kib or info.external_flash_kib or info.external_ram_kib)
        ):
            continue
        verdict = judge(info, needed)
        notes = list(verdict.reasons)
        by_tool = []
        if (chosen or verdict.verdict != "green") and bus.supports(component, "estimate_by_tool"):
            with logging_to_screen():
                by_tool = [
                    (one, judge(info, one))
                    for one in bus.ask(component, "estimate_by_tool", model=file, chosen_only=False)
                ]
        if by_tool:
            notes = [f"operation by operation: {verdict.verdict}", *notes]
            for one, found in by_tool:
                notes.append(f"{one.method}: {found.verdict}, {one.activations_bytes / 1024:,.1f} KiB of RAM")
                notes += [reason for reason in found.reasons if reason not in notes]
        if bus.supports(component, "published_figures"):
            notes += [str(figure) for figure in bus.ask(component, "published_figures", model=file)]
        rows.append(
            {
                "board": name,
                "fit": best((verdict.verdict, *(found.verdict for _, found in by_tool))),
                "notes": notes,
                "ram_kib": info.ram_kib,
                "flash_kib": info.flash_kib,
                "operation_by_operation": verdict.verdict,
                "by_tool": [
                    {
                        "method": one.method,
                        "fit": found.verdict,
                        "weights_bytes": one.weights_bytes,
                        "activations_bytes": one.activations_bytes,
                    }
                    for one, found in by_tool
                ],
            }
        )
    order = list(_COLORS)
    rows.sort(key=lambda row: (order.index(row["fit"]), row["board"]))
    estimate = {
        "weights_bytes": needed.weights_bytes,
        "activations_bytes": needed.activations_bytes,
        "method": needed.method,
    }
    if as_json:
        show_json({"model": str(path), "estimate": estimate, "boards": rows})
    else:
        console = screen()
        console.print(
            f"[bold]{escape(path.name)}[/]: weights {needed.weights_bytes / 1024:,.1f} KiB, "
            f"activations {needed.activations_bytes / 1024:,.1f} KiB ({escape(needed.method)})",
            soft_wrap=True,
        )
        cells = [
            (row["board"], f"[{_COLORS[row['fit']]}]{row['fit']}[/]", escape("; ".join(row["notes"]))) for row in rows
        ]
        console.print(table(None, ("board", "fit", "why"), cells))
        console.print(
            "[dim]green: internal memory; amber: with external memory, or RAM in pieces; red: does not fit. "
            "The best way counts.[/]"
        )
    if chosen and all(row["fit"] == "red" for row in rows):
        raise DoesNotFit(f"{path.name} does not fit {', '.join(sorted(chosen))}")
