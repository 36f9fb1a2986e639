"""``reidfw compile``: a model as source code."""

from __future__ import annotations

from pathlib import Path

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog
from reidfw_core.cli.logs import logging_to_screen
from reidfw_core.cli.render import screen, shown_path
from reidfw_core.components import Component
from reidfw_core.errors import ConfigError, DataError, PluginNotFound, Problem, ToolNotFound, nearest_match
from reidfw_core.files import added_to_folder
from reidfw_core.types import DeploymentReport, ModelFile, ModelFormat

_HOOK = "compile_model"
_INPUT_MODES = ("resident", "rows")


def compile_model(
    model: Path,
    output: Path,
    *,
    target: str | None,
    input_mode: str | None,
    ram_limit_kib: float | None,
    kernels: str,
    verify: int,
) -> None:
    """Writes a model as code with the target that can; see the hook ``compile_model`` for the arguments.

    Code that was refused, or that could not be checked, is not left in ``output``.

    Raises:
        ReidfwError: no such target, model or folder, a mistake in an option, or what the target raises.
    """
    if input_mode is not None and input_mode not in _INPUT_MODES:
        raise ConfigError(
            [
                Problem(
                    where="--input",
                    message=f"'{input_mode}' is no input mode",
                    allowed=", ".join(_INPUT_MODES),
                    nearest=nearest_match(input_mode, _INPUT_MODES),
                )
            ]
        )
    path = model.expanduser().absolute()
    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    name, component, bus = _compiler(target)
    folder = output.expanduser().absolute()
    with logging_to_screen(), added_to_folder(folder) as written:
        try:
            report: DeploymentReport = bus.ask(
                component,
                _HOOK,
                model=ModelFile(path=path, format=ModelFormat.of_file(path), name=path.stem),
                output=written,
                input_mode=input_mode,
                ram_limit_kib=ram_limit_kib,
                kernels=kernels,
                verify=verify,
            )
        except ToolNotFound as missing:
            if not verify:
                raise
            unchecked = "--verify 0 writes the code unchecked."
            hint = f"{missing.hint}\n{unchecked}" if missing.hint else unchecked
            raise ToolNotFound(missing.message, hint=hint) from missing
    console = screen()
    console.print(f"{path.name} written by {name} to {shown_path(folder)}", soft_wrap=True)
    for fact, value in report.details.items():
        console.print(f"  {fact}: {value}", soft_wrap=True, markup=False)
    for step in report.next_steps:
        console.print(f"Next: {step}", soft_wrap=True, markup=False)


def _compiler(asked: str | None) -> tuple[str, Component, HookBus]:
    """The target that was asked for, or the first one that writes code."""
    catalog = Catalog()
    names = [asked] if asked else [entry.name for entry in catalog.entries("targets") if entry.status == "ok"]
    for name in names:
        component = catalog.load("targets", name)()
        bus = HookBus()
        bus.add(component, name)
        if bus.supports(component, _HOOK):
            return name, component, bus
    if asked:
        raise PluginNotFound(f"The target '{asked}' does not write code", hint="Leave --target out.")
    raise PluginNotFound("No installed target writes code", hint="Run: pip install reidfw-targets")
