"""``reidfw list`` and ``reidfw show``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from reidfw_core.catalog import Catalog, CatalogEntry
from reidfw_core.cli.render import aligned, screen, show_json, table
from reidfw_core.errors import ConfigError, DataError, Problem, ReidfwError
from reidfw_core.hookspecs import KINDS
from reidfw_core.types import PixelRange

if TYPE_CHECKING:
    from reidfw_core.components import Component

_COLORS = {"ok": "green", "conflict": "yellow", "incompatible": "yellow", "broken": "red"}


def list_components(kind: str | None, *, as_json: bool, check: bool) -> None:
    """Lists components of one kind or of all; imports them only with ``check``."""
    catalog = Catalog()
    kinds = [catalog.kind(kind).name] if kind else list(KINDS)
    rows = [_row(catalog, entry, check=check) for name in kinds for entry in catalog.entries(name)]
    here = (
        {entry.name: _abilities(catalog, entry) for entry in catalog.entries("targets")} if kinds == ["targets"] else {}
    )
    if as_json:
        show_json([{**row, "here": here[row["name"]]} if here else row for row in rows])
        return
    console = screen()
    if not rows:
        what = "components" if kind is None else kinds[0]
        packages = sorted({KINDS[name].package for name in kinds})
        console.print(f"No {what} are installed. They come as plugins, for example:")
        console.print(f"  pip install {' '.join(packages)}", soft_wrap=True)
        return
    for name in kinds:
        own = [row for row in rows if row["kind"] == name]
        if own:
            cells = [
                tuple(row[column] for column in ("name", "distribution", "version", "status", "note")) for row in own
            ]
            console.print(aligned(name, ("name", "distribution", "version", "status", "note"), cells, _COLORS))
    if here:
        cells, notes = _short(here)
        console.print(aligned("here and now", ("name", *_ABILITIES.values()), cells))
        for number, note in enumerate(notes, start=1):
            console.print(f"[dim]\\[{number}] {escape(note)}[/]", soft_wrap=True)
        console.print()
    distributions = {row["distribution"]: row for row in rows}
    cells = [(name, row["version"], row["summary"]) for name, row in sorted(distributions.items())]
    console.print(aligned("distributions", ("name", "version", "what it brings"), cells))
    if not check:
        console.print("[dim]reidfw show KIND NAME tells more; reidfw list --check imports and checks each one.[/]")


def show_component(kind: str, name: str, *, as_json: bool, input_shape: str | None = None) -> None:
    """Shows one component: docstring, facts, abilities, parameters.

    Args:
        kind, name: which one.
        as_json: print JSON.
        input_shape: of a backbone, as ``256x128x3``: its cost at that size is shown too.
    """
    import inspect

    catalog = Catalog()
    entry = catalog.find(kind, name)
    component = catalog.load(kind, name)
    facts = _facts(component)
    hooks = [hook for hook in _kind_hooks(entry.kind) if hasattr(component, hook)]
    params = component.Params.model_json_schema()
    description = _target_facts(component)
    if input_shape is not None:
        description |= _cost(component, entry, input_shape)
    if as_json:
        show_json(
            {
                "kind": entry.kind,
                "name": entry.name,
                "distribution": entry.distribution,
                "version": entry.version,
                "description": inspect.getdoc(component) or "",
                "facts": facts,
                "target": description,
                "hooks": hooks,
                "params": params,
            }
        )
        return
    console = screen()
    console.print(f"[bold]{escape(entry.name)}[/]  {entry.kind}, {entry.distribution} {entry.version}")
    console.print(escape(inspect.getdoc(component) or ""), soft_wrap=True)
    console.print()
    console.print(
        table("Facts", ("fact", "value"), [(key, escape(value)) for key, value in {**facts, **description}.items()])
    )
    console.print()
    console.print("[bold]Answers[/]  " + ", ".join(hooks))
    console.print()
    rows = [
        (
            key,
            escape(_type_text(field)),
            escape(_default_text(component, key)),
            escape(str(field.get("description", ""))),
        )
        for key, field in params.get("properties", {}).items()
    ]
    console.print(
        table("Parameters", ("name", "type", "default", "meaning"), rows) if rows else "It has no parameters."
    )


def _row(catalog: Catalog, entry: CatalogEntry, *, check: bool) -> dict[str, str]:
    status, note = entry.status, ""
    if entry.status == "incompatible":
        note = f"needs reidfw-core{entry.needs_core}"
    elif entry.status == "conflict":
        note = f"name used twice; write {entry.reference}"
    if check and entry.status != "incompatible":
        fault = _fault(catalog, entry)
        if fault:
            status, note = "broken", fault  # type: ignore[assignment]
    return {
        "kind": entry.kind,
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "status": status,
        "summary": entry.summary,
        "note": note,
    }


_ABILITIES = {"open_runner": "evaluate, predict", "benchmark_model": "benchmark", "deploy_model": "deploy"}


def _abilities(catalog: Catalog, entry: CatalogEntry) -> dict[str, str]:
    """What a target can do here and now, by ability; it is imported, but nothing is started."""
    from pydantic import ValidationError

    try:
        component: Any = catalog.load(entry.kind, entry.reference)
        here = component().describe_abilities() if hasattr(component, "describe_abilities") else {}
    except ReidfwError as error:
        return dict.fromkeys(_ABILITIES.values(), f"no: {error.message.splitlines()[0]}")
    except ValidationError:
        here = {}  # it needs parameters
    return {title: here.get(hook, "yes") if hasattr(component, hook) else "-" for hook, title in _ABILITIES.items()}


def _short(here: Mapping[str, Mapping[str, str]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """One word for each ability of each target, and what there is to say about it: once, with a number."""
    notes: dict[str, int] = {}

    def cell(text: str) -> str:
        word, _, more = text.partition(" ")
        if not more:
            return word
        return f"{word.rstrip(':') if word != 'with' else 'yes'} [{notes.setdefault(text, len(notes) + 1)}]"

    return [(name, *(cell(text) for text in told.values())) for name, told in here.items()], list(notes)


def _fault(catalog: Catalog, entry: CatalogEntry) -> str | None:
    from pydantic import ValidationError

    from reidfw_core.bus import HookBus

    try:
        component = catalog.load(entry.kind, entry.reference)
        try:
            instance = component()
        except ValidationError:
            return None  # it has required parameters: there is no instance to bind without a configuration
        HookBus().add(instance, entry.name)
    except ReidfwError as error:
        return error.message.splitlines()[0] + (f" ({error.hint})" if error.hint else "")
    return None


def _kind_hooks(kind: str) -> Iterable[str]:
    specs = vars(KINDS[kind].specs)
    return [name for name, value in specs.items() if hasattr(value, "reidfw_spec")]


def _facts(component: type[Component]) -> dict[str, str]:
    names = {name for cls in component.__mro__ for name in getattr(cls, "__annotations__", {})}
    facts = {}
    for name in sorted(names - {"kind", "params"}):
        if name.startswith("_") or not hasattr(component, name):
            continue
        value = getattr(component, name)
        if is_dataclass(type(value)) and not isinstance(value, PixelRange):
            continue  # shown field by field, or what a family of components knows of its members
        if isinstance(value, (frozenset, set)):
            value = ", ".join(sorted(str(item) for item in value))
        if value is not None:
            facts[name] = str(value)
    return facts


def _cost(component: type[Component], entry: CatalogEntry, text: str) -> dict[str, str]:
    """What a backbone costs at an input size; builds it, which imports TensorFlow."""
    from pydantic import ValidationError

    from reidfw_core.bus import HookBus
    from reidfw_core.run.setup import import_frameworks

    sizes = [int(part) for part in text.lower().split("x") if part.isdigit()]
    if entry.kind != "backbones" or len(sizes) != 3 or text.count("x") != 2:
        raise ConfigError(
            [
                Problem(
                    where="--input-shape",
                    message=f"'{text}' with {entry.kind}",
                    allowed="HEIGHTxWIDTHxCHANNELS of a backbone, for example 256x128x3",
                )
            ]
        )
    import_frameworks()
    from reidfw_core._keras.complexity import complexity

    try:
        instance = component()
    except ValidationError as cause:
        raise DataError(f"{entry.name} needs parameters: its cost cannot be shown without a configuration") from cause
    bus = HookBus()
    bus.add(instance, entry.name)
    shape = (sizes[0], sizes[1], sizes[2])
    model = bus.ask(instance, "build_backbone", input_shape=shape, pretrained=False, seed=0)
    cost = complexity(model)
    return {
        f"at {text}": "",
        "parameters": f"{cost.parameters:,}",
        "multiply-accumulates": f"{cost.macs / 1e6:,.1f} million",
        "embedding size": str(model.output_shape[-1]),
        "largest tensor": f"{cost.largest_tensor:,} numbers (KiB as int8: {cost.largest_tensor / 1024:,.0f})",
    }


def _target_facts(component: type[Component]) -> dict[str, str]:
    import dataclasses

    from pydantic import ValidationError

    if not hasattr(component, "describe_target"):
        return {}
    try:
        info = component().describe_target()  # type: ignore[attr-defined]
    except ValidationError:
        return {}
    return {
        field.name: str(getattr(info, field.name))
        for field in dataclasses.fields(info)
        if getattr(info, field.name) is not None
    }


def _type_text(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " | ".join(_type_text(option) for option in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1]
    return {"null": "none", "object": "mapping", "array": "list"}.get(
        str(field.get("type")), str(field.get("type", "any"))
    )


def _default_text(component: type[Component], name: str) -> str:
    field = component.Params.model_fields.get(name)
    if field is None or field.is_required():
        return "required"
    return str(field.get_default(call_default_factory=True))
