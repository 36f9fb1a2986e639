"""``reidfw``: the commands, each importing what it needs when it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from reidfw_core.cli.failures import reporting_errors

app = typer.Typer(
    name="reidfw",
    help="Train, quantize, evaluate and deploy re-identification models for STM32 boards.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")]
ConfigPath = Annotated[Path | None, typer.Option("--config-path", help="Folder of the configuration file.")]
ConfigName = Annotated[str | None, typer.Option("--config-name", help="Name of the configuration file in that folder.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG] [KEY=VALUE]...",
        help="YAML file, then overrides in Hydra's syntax, for example training.epochs=2.",
        show_default=False,
    ),
]


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Train, quantize, evaluate and deploy re-identification models for STM32 boards."""
    if version:
        import reidfw_core

        typer.echo(f"reidfw {reidfw_core.__version__}")
        raise typer.Exit


@app.command()
def run(
    arguments: Arguments = None,
    config_path: ConfigPath = None,
    config_name: ConfigName = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    debug: Debug = False,
) -> None:
    """Run the operation mode of a configuration; without one, a demonstration that needs no download.

    Without CONFIG the file user_config.yaml of the current folder is used where there is one.
    """
    from reidfw_core.cli import run as command

    with reporting_errors(debug):
        command.run(arguments or [], config_path, config_name, dry_run=dry_run)


@app.command()
def validate(
    arguments: Arguments = None,
    config_path: ConfigPath = None,
    config_name: ConfigName = None,
    no_paths: Annotated[bool, typer.Option("--no-paths", help="Do not check that files and folders exist.")] = False,
    debug: Debug = False,
) -> None:
    """Check a configuration against the installed components, without running it."""
    from reidfw_core.cli import run as command

    with reporting_errors(debug):
        command.validate(arguments or [], config_path, config_name, check_paths=not no_paths)


@app.command("list")
def list_components(
    kind: Annotated[str | None, typer.Argument(help="One kind only, for example backbones.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Import each component and check its contract.")] = False,
    debug: Debug = False,
) -> None:
    """List the installed components."""
    from reidfw_core.cli import listing

    with reporting_errors(debug):
        listing.list_components(kind, as_json=as_json, check=check)


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help="Kind of component, for example backbones.")],
    name: Annotated[str, typer.Argument(help="Its name, or distribution/name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a component is, what it can do, and its parameters."""
    from reidfw_core.cli import listing

    with reporting_errors(debug):
        listing.show_component(kind, name, as_json=as_json)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
    debug: Debug = False,
) -> None:
    """Print the JSON Schema of the configuration over the installed components, for editors."""
    from reidfw_core.cli import run as command

    with reporting_errors(debug):
        command.schema(output)


@app.command()
def init(
    starter: Annotated[str | None, typer.Argument(help="Name of a starter configuration.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("user_config.yaml"),
    debug: Debug = False,
) -> None:
    """Write a commented configuration to begin with."""
    from reidfw_core.cli import run as command

    with reporting_errors(debug):
        command.init(starter, output)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Look at Python, packages, plugins, vendor tools and disk, and say what is missing."""
    from reidfw_core.cli import doctor as command

    with reporting_errors(debug):
        command.doctor(as_json=as_json)


def main() -> None:
    """Entry point of the ``reidfw`` command."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's native warnings; errors are still shown
    app(prog_name="reidfw")


if __name__ == "__main__":
    main()
