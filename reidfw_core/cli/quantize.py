"""``reidfw quantize``: one model, without writing a configuration for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reidfw_core.catalog import Catalog
from reidfw_core.cli.adhoc import choose_config, quoted
from reidfw_core.cli.logs import logging_to_screen
from reidfw_core.cli.render import show_result, show_warnings, shown_path
from reidfw_core.errors import DataError, PluginNotFound
from reidfw_core.types import ModelFormat


def quantize(
    model: Path, calibration: Path, output: Path | None, quantizer: str | None, arguments: Sequence[str]
) -> None:
    """Quantizes a float model and compares it with the result, in a run folder of its own.

    Where the configuration names test images that are there, both models are evaluated on them too.

    Args:
        model: the float model file.
        calibration: a folder of images to measure activations with.
        output: the run folder; by default ``<model>_quantized`` in the current folder.
        quantizer: component; by default that of the configuration, else the only installed one that reads the file.
        arguments: a configuration file and overrides, both optional; without a file the configuration of the run that
            made the model.

    Raises:
        ReidfwError: no configuration, mistakes in it, an unusable model or unusable images.
    """
    from reidfw_core.cli.console import ProgressListener
    from reidfw_core.config import load_config, read_config
    from reidfw_core.run.runner import run as run_plan

    path, images = model.expanduser().absolute(), calibration.expanduser().absolute()
    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    if not images.is_dir():
        raise DataError(f"There is no folder {images} of calibration images")
    folder = (output or Path(f"{path.stem}_quantized")).expanduser().absolute()
    catalog = Catalog()
    with logging_to_screen() as console:
        file, overrides = choose_config(path, arguments)
        values = load_config(file, overrides).values
        asked = [
            f"++operation_mode={'chain_eqe' if _has_test_images(values.get('dataset')) else 'quantization'}",
            "++model.model_name=null",
            f"++model.model_path={quoted(path)}",
            f"++dataset.quantization_path={quoted(images)}",
            f"++hydra.run.dir={quoted(folder)}",
        ]
        if quantizer is None and not (values.get("quantization") or {}).get("quantizer"):
            quantizer = _only_quantizer(path, catalog)
        if quantizer is not None:
            asked.append(f"++quantization.quantizer={quoted(quantizer)}")
        configuration = read_config(file, [*overrides, *asked], catalog, check_paths=True)
        show_warnings(configuration.warnings)
        result = run_plan(configuration, [("progress", ProgressListener(console))])
    show_result(result, shown_path(file))


def _has_test_images(dataset: Any) -> bool:
    """Whether the section names folders of queries and of a gallery, and they exist here."""
    if not isinstance(dataset, Mapping):
        return False
    paths = [dataset.get(f"{role}_path") for role in ("test_query", "test_gallery")]
    return all(path is not None and Path(str(path)).expanduser().is_dir() for path in paths)


def _only_quantizer(model: Path, catalog: Catalog) -> str:
    """The name of the only installed quantizer for this kind of file.

    Raises:
        PluginNotFound: there is none, or a choice.
    """
    container = ModelFormat.of_file(model)
    able = [
        entry.name
        for entry in catalog.entries("quantizers")
        if entry.status == "ok"
        and any(container.fits(one) for one in catalog.load("quantizers", entry.reference).consumes)  # type: ignore[attr-defined]
    ]
    if len(able) == 1:
        return able[0]
    message = f"Several quantizers read {model.name}" if able else f"No installed quantizer reads {model.name}"
    raise PluginNotFound(
        message, hint=f"Choose one: --quantizer {' | '.join(able)}" if able else "See: reidfw list quantizers"
    )
