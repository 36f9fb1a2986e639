"""``reidfw run``, ``validate``, ``schema`` and ``init``."""

from __future__ import annotations

import json
import os
import shlex
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reidfw_core.catalog import Catalog
from reidfw_core.cli.logs import logging_to_screen
from reidfw_core.cli.render import messages, screen, show_commands, show_plan, show_result, show_warnings, shown_path
from reidfw_core.errors import ConfigError, PluginNotFound, Problem, StorageError, nearest_match

if TYPE_CHECKING:
    from reidfw_core.config import Configuration

USER_CONFIG = "user_config.yaml"


@dataclass(frozen=True, slots=True)
class ConfigChoice:
    """Which file is used, and what is changed in it: ``reason`` says why this file."""

    path: Path
    overrides: tuple[str, ...]
    reason: str


def choose_config(arguments: Sequence[str], config_path: Path | None, config_name: str | None) -> ConfigChoice:
    """Tells the configuration file from the overrides.

    The first argument without ``=`` that is no deletion (``~key``) is the file. Without one, ``--config-path`` and
    ``--config-name`` name it; without those, ``user_config.yaml`` of the current folder; without that, the starter
    configuration that needs no data.

    Raises:
        ConfigError: two files are given, or none can be found.
    """

    def is_file(text: str) -> bool:
        return "=" not in text and (not text.startswith("~") or text.startswith("~/"))

    files = [text for text in arguments if is_file(text)]
    overrides = tuple(text for text in arguments if not is_file(text))
    if len(files) > 1:
        message = (
            f"'{files[1]}' is neither an override (key=value) nor the one configuration file, which is '{files[0]}'"
        )
        raise ConfigError([Problem(where="command line", message=message)])
    if files and (config_path or config_name):
        raise ConfigError(
            [Problem(where="command line", message=f"'{files[0]}' and --config-path/--config-name both name a file")]
        )
    if files:
        return ConfigChoice(Path(files[0]).expanduser(), overrides, "given")
    if config_path or config_name:
        name = config_name or USER_CONFIG
        if not name.endswith((".yaml", ".yml")):
            name += ".yaml"
        return ConfigChoice((config_path or Path()) / name, overrides, "given")
    if Path(USER_CONFIG).is_file():
        return ConfigChoice(Path(USER_CONFIG), overrides, f"found {USER_CONFIG} in the current folder")
    name, path = starter_config(None)
    return ConfigChoice(path, overrides, f"no configuration given: running the demonstration '{name}'")


def starter_config(name: str | None) -> tuple[str, Path]:
    """A starter configuration of an installed plugin (entry point group ``reidfw.starters``), the first by default.

    Raises:
        PluginNotFound: there is none, or none of this name.
    """
    from importlib.metadata import entry_points

    starters = {point.name: point for point in entry_points(group="reidfw.starters")}
    if not starters:
        raise PluginNotFound(
            "No configuration is given, and no installed plugin brings a starter configuration",
            hint="Give a YAML file, or: pip install reidfw-dataset-readers",
        )
    if name is not None and name not in starters:
        near = nearest_match(name, starters)
        raise PluginNotFound(
            f"There is no starter configuration '{name}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint="Starters: " + ", ".join(sorted(starters)),
        )
    chosen = name or min(starters)
    return chosen, Path(starters[chosen].load())


def run(arguments: Sequence[str], config_path: Path | None, config_name: str | None, *, dry_run: bool) -> None:
    """Runs a configuration, or prints its plan."""
    from reidfw_core.cli.console import ProgressListener
    from reidfw_core.config import read_config
    from reidfw_core.plan.planner import make_plan
    from reidfw_core.run.runner import open_bus, planned_commands
    from reidfw_core.run.runner import run as run_plan

    choice = choose_config(arguments, config_path, config_name)
    with logging_to_screen() as console:
        if choice.reason != "given":
            console.print(f"[cyan]{choice.reason}[/] ({shown_path(choice.path)})", soft_wrap=True)
        configuration = read_config(choice.path, choice.overrides, Catalog(), check_paths=True)
        show_warnings(configuration.warnings)
        if dry_run:
            bus = open_bus(configuration)
            plan = make_plan(configuration, bus)
            _check_with_frameworks(configuration)
            show_plan(plan)
            show_commands(planned_commands(plan, configuration, bus))
            return
        result = run_plan(configuration, [("progress", ProgressListener(console))])
    given = [str(choice.path)] if choice.reason == "given" else []
    repeated = [text for text in choice.overrides if not text.startswith(("training.epochs=", "hydra.run.dir="))]
    show_result(result, shlex.join([*given, *repeated]))
    if configuration.config.general.display_figures:
        display_figures(result.run_dir)


def resume(run_dir: Path, overrides: Sequence[str]) -> None:
    """Goes on with an interrupted run in its own folder."""
    from reidfw_core.cli.console import ProgressListener
    from reidfw_core.config import read_config
    from reidfw_core.run.resume import open_run
    from reidfw_core.run.runner import run as run_plan

    with logging_to_screen() as console:
        continued = open_run(run_dir)
        changes = [*overrides, f"hydra.run.dir='{continued.run_dir}'"]
        if continued.training_state is not None:
            changes.append(f"training.resume_training_from='{continued.training_state}'")
        configuration = read_config(continued.config, changes, Catalog(), check_paths=True)
        show_warnings(configuration.warnings)
        result = run_plan(configuration, [("progress", ProgressListener(console))], continued=continued)
    show_result(result, shlex.join([str(continued.config), "~hydra"]))


def _check_with_frameworks(configuration: Configuration) -> None:
    from reidfw_core.run.runner import check_training
    from reidfw_core.run.setup import import_frameworks

    if configuration.config.training is not None:
        import_frameworks(configuration.config.general)
        check_training(configuration)


def display_figures(run_dir: Path) -> None:
    """Opens the pictures of a run in the desktop's viewer, where somebody sits before one.

    The files are written in any case. Nothing is opened when the output goes to a file, or where there is no display.
    """
    has_display = sys.platform in ("win32", "darwin") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
    if not (has_display and sys.stdout.isatty()):
        return
    for picture in sorted(run_dir.glob("*.png")):
        webbrowser.open(picture.as_uri())


def validate(arguments: Sequence[str], config_path: Path | None, config_name: str | None, *, check_paths: bool) -> None:
    """Checks a configuration and its plan; prints one line where all is well."""
    from reidfw_core.config import read_config
    from reidfw_core.plan.planner import make_plan
    from reidfw_core.run.runner import open_bus

    choice = choose_config(arguments, config_path, config_name)
    configuration = read_config(choice.path, choice.overrides, Catalog(), check_paths=check_paths)
    with logging_to_screen():
        show_warnings(configuration.warnings)
    plan = make_plan(configuration, open_bus(configuration))
    _check_with_frameworks(configuration)
    steps = ", ".join(planned.key for planned in plan.steps)
    screen().print(f"[green]{choice.path} is valid[/]: {plan.operation_mode} ({steps})", soft_wrap=True)


def schema(output: Path | None, *, of_summary: bool = False) -> None:
    """Prints the JSON Schema of the configuration (or of ``summary.json``), or writes it to a file."""
    from reidfw_core.cli.render import show_json
    from reidfw_core.config.schema import config_schema
    from reidfw_core.files import write_text
    from reidfw_core.report.summary import summary_schema

    value = summary_schema() if of_summary else config_schema(Catalog())
    if output is None:
        show_json(value)
        return
    write_text(output, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    if of_summary:
        messages().print(f"Wrote {output}")
        return
    messages().print(
        f"Wrote {output}. Put this line at the top of a YAML file:\n# yaml-language-server: $schema={output}"
    )


def init(starter: str | None, output: Path) -> None:
    """Writes a starter configuration; an existing file is never overwritten."""
    from reidfw_core.files import write_text

    name, path = starter_config(starter)
    if output.exists():
        raise StorageError(f"{output} exists already", hint="Choose another name with --output, or move it away.")
    write_text(output, path.read_text(encoding="utf-8"))
    messages().print(f"Wrote {output} (starter '{name}'). Edit it, then: reidfw run {shlex.quote(str(output))}")
