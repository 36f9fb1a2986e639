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
def resume(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of an interrupted run.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes, for example training.epochs=200.")] = None,
    debug: Debug = False,
) -> None:
    """Go on with an interrupted run where it stopped."""
    from reidfw_core.cli import run as command

    with reporting_errors(debug):
        command.resume(run_dir, overrides or [])


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
    input_shape: Annotated[
        str | None, typer.Option(help="For backbones: HxWxC, for example 256x128x3, to see what it costs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a component is, what it can do, and its parameters."""
    from reidfw_core.cli import listing

    with reporting_errors(debug):
        listing.show_component(kind, name, as_json=as_json, input_shape=input_shape)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="The schema of summary.json instead.")] = False,
    debug: Debug = False,
) -> None:
    """Print the JSON Schema of the configuration over the installed components, for editors."""
    from reidfw_core.cli import run as command

    with reporting_errors(debug):
        command.schema(output, of_summary=summary)


Model = Annotated[Path, typer.Option("--model", "-m", help="Model file: .keras, .h5, .tflite or .onnx.")]
SameModel = Annotated[Path | None, typer.Option("--model", "-m", help="Where the gallery's model is, if it was moved.")]
Index = Annotated[Path, typer.Argument(metavar="INDEX", help="Gallery file.", show_default=False)]
Images = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of images, or one image.", show_default=False)]
Preprocessing = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG] [KEY=VALUE]...",
        help="Configuration with the preprocessing; by default that of the run which made the model.",
        show_default=False,
    ),
]
Flip = Annotated[bool, typer.Option("--flip", help="Add the embedding of the mirror image.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def embed(
    images: Images,
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .npz, .parquet or .csv.")],
    arguments: Preprocessing = None,
    flip: Flip = False,
    debug: Debug = False,
) -> None:
    """Write the embeddings of all images of a folder."""
    from reidfw_core.cli import embed as command

    with reporting_errors(debug):
        command.embed(images, model, output, arguments or [], flip=flip)


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Float model file.", show_default=False)],
    calibration: Annotated[
        Path, typer.Option("--calibration", "-c", help="Folder of images to measure activations with.")
    ],
    arguments: Preprocessing = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder; by default MODEL_quantized here.")
    ] = None,
    quantizer: Annotated[str | None, typer.Option("--quantizer", "-q", help="See: reidfw list quantizers")] = None,
    debug: Debug = False,
) -> None:
    """Quantize a model and compare it with the result."""
    from reidfw_core.cli import quantize as command

    with reporting_errors(debug):
        command.quantize(model, calibration, output, quantizer, arguments or [])


gallery_app = typer.Typer(
    name="gallery",
    help="A gallery of known identities, embedded once and searched many times.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(gallery_app)


@gallery_app.command("build")
def gallery_build(
    index: Index,
    images: Images,
    model: Model,
    arguments: Preprocessing = None,
    flip: Flip = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a gallery that is there.")] = False,
    debug: Debug = False,
) -> None:
    """Embed a folder of known identities and write the gallery."""
    from reidfw_core.cli import gallery as command

    with reporting_errors(debug):
        command.build(index, images, model, arguments or [], flip=flip, overwrite=overwrite)


@gallery_app.command("add")
def gallery_add(
    index: Index,
    images: Images,
    arguments: Preprocessing = None,
    model: SameModel = None,
    relabel: Annotated[bool, typer.Option("--relabel", help="Let known images get another identity.")] = False,
    debug: Debug = False,
) -> None:
    """Add images; those that are in the gallery already are replaced."""
    from reidfw_core.cli import gallery as command

    with reporting_errors(debug):
        command.add(index, images, model, arguments or [], relabel=relabel)


@gallery_app.command("search")
def gallery_search(
    index: Index,
    images: Images,
    arguments: Preprocessing = None,
    model: SameModel = None,
    neighbours: Annotated[int, typer.Option("--neighbours", "-k", min=1, help="Nearest images to show.")] = 5,
    threshold: Annotated[
        str | None,
        typer.Option(help="Largest distance of the same identity, or the ..._reid_threshold.json of an evaluation."),
    ] = None,
    engine: Annotated[str, typer.Option(help="exact, or faiss for very many images.")] = "exact",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Name the nearest known identities of an image, or of each image of a folder."""
    from reidfw_core.cli import gallery as command

    with reporting_errors(debug):
        command.search(
            index,
            images,
            model,
            arguments or [],
            neighbours=neighbours,
            threshold=threshold,
            engine=engine,
            as_json=as_json,
        )


@gallery_app.command("remove")
def gallery_remove(
    index: Index,
    identity: Annotated[list[str] | None, typer.Option("--identity", help="Remove all its images.")] = None,
    image: Annotated[list[Path] | None, typer.Option("--image", help="Remove this image.")] = None,
    debug: Debug = False,
) -> None:
    """Remove identities or single images."""
    from reidfw_core.cli import gallery as command

    with reporting_errors(debug):
        command.remove(index, identity or [], image or [])


@gallery_app.command("show")
def gallery_show(index: Index, as_json: AsJson = False, debug: Debug = False) -> None:
    """Tell what is in a gallery."""
    from reidfw_core.cli import gallery as command

    with reporting_errors(debug):
        command.show(index, as_json=as_json)


preview_app = typer.Typer(help="See what a configuration will do, before it is run.", no_args_is_help=True)
app.add_typer(preview_app, name="preview")

ConfigAndOverrides = Annotated[
    list[str] | None, typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="As for reidfw run.")
]


@preview_app.command("lr")
def preview_lr(
    arguments: ConfigAndOverrides = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")] = Path("lr_schedule.png"),
    debug: Debug = False,
) -> None:
    """Draw the learning rate of each epoch."""
    from reidfw_core.cli import preview as command

    with reporting_errors(debug):
        command.learning_rate(arguments or [], output)


@preview_app.command("augmentation")
def preview_augmentation(
    arguments: ConfigAndOverrides = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")] = Path("augmentation.png"),
    images: Annotated[int, typer.Option(min=1, max=64, help="Training images to show.")] = 4,
    variants: Annotated[int, typer.Option(min=1, max=16, help="Draws of each image.")] = 6,
    debug: Debug = False,
) -> None:
    """Write a sheet of training images before and after augmentation."""
    from reidfw_core.cli import preview as command

    with reporting_errors(debug):
        command.augmentation(arguments or [], output, images=images, variants=variants)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; several are compared.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Write the page of a run again, or a page that compares several runs."""
    from reidfw_core.cli import report as command

    with reporting_errors(debug):
        command.report(runs, output, as_json=as_json)


@app.command("compile")
def compile_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Quantized model file.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the code; it is made.")],
    target: Annotated[str | None, typer.Option(help="What writes the code; by default the one that can.")] = None,
    input_mode: Annotated[
        str | None, typer.Option("--input", help="resident: image in RAM as a whole; rows: row by row.")
    ] = None,
    ram_limit: Annotated[float | None, typer.Option(help="Most working memory in KiB.", min=1)] = None,
    kernels: Annotated[
        str, typer.Option(help="plain: any processor; dsp: processors with DSP instructions; mve: with Helium.")
    ] = "plain",
    verify: Annotated[int, typer.Option(help="Images whose every tensor is compared.", min=0, max=64)] = 1,
    debug: Debug = False,
) -> None:
    """Write a model as source code that can be built into any firmware, and check that it computes the same."""
    from reidfw_core.cli import compiling as command

    with reporting_errors(debug):
        command.compile_model(
            model,
            output,
            target=target,
            input_mode=input_mode,
            ram_limit_kib=ram_limit,
            kernels=kernels,
            verify=verify,
        )


@app.command()
def fit(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras, .h5, .tflite or .onnx file.")],
    board: Annotated[list[str] | None, typer.Option("--board", "-b", help="Only this board; may be repeated.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Tell on which boards a model fits, before anything is built."""
    from reidfw_core.cli import fit as command

    with reporting_errors(debug):
        command.fit(model, board or [], as_json=as_json)


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
