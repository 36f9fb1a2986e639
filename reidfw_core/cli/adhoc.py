"""Embedding images outside of a run, for ``reidfw embed`` and ``reidfw gallery``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.catalog import Catalog
from reidfw_core.cli.logs import logging_to_screen
from reidfw_core.context import BOARD_FILES_DIR, work_progress
from reidfw_core.errors import ConfigError, DataError, Problem
from reidfw_core.files import file_digest
from reidfw_core.types import EmbeddingRunner, Role, Samples

if TYPE_CHECKING:
    from reidfw_core.config import Configuration
    from reidfw_core.imaging.spec import ImageSpec

logger = logging.getLogger(__name__)

RUN_CONFIG = Path("reidfw") / "config.resolved.yaml"
"""Where a run folder keeps the configuration that its models need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Images and their embeddings.

    Attributes:
        samples: the images.
        embeddings: (N, D) float32, de-quantized, not normalised.
        images_per_second: rate, decoding included.
    """

    samples: Samples
    embeddings: NDArray[np.float32]
    images_per_second: float


class OpenedModel:
    """A model with the preprocessing, the reader and the target of a configuration.

    Args:
        configuration: read in operation_mode prediction.
        bus: its components.
        runner: the opened model.
        spec: how images are resized and rescaled.
        path: the model file.
    """

    def __init__(
        self, configuration: Configuration, bus: Any, runner: EmbeddingRunner, spec: ImageSpec, path: Path
    ) -> None:
        assert configuration.config.prediction is not None
        self.configuration = configuration
        self.runner = runner
        self.spec = spec
        self.path = path
        self.metric: str = configuration.config.prediction.reid_distance_metric
        self.sha256 = file_digest(path)
        self._bus = bus

    def embed(self, images: Path, role: Role, *, flip: bool) -> Embedded:
        """Reads a folder, or one image, and embeds it.

        Raises:
            DataError: no images, damaged ones, or a model that gives NaN for some.
        """
        from reidfw_core.services.embedding import embed_samples

        samples = self._read(images, role)
        started = time.perf_counter()
        embeddings = embed_samples(
            self.runner,
            samples,
            self.spec,
            partial(work_progress, self._bus),
            flip=flip,
        )
        seconds = time.perf_counter() - started
        bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        if bad.size:
            names = ", ".join(samples.paths[i].name for i in bad[:5])
            raise DataError(
                f"{self.path.name} gives NaN or infinite values for {bad.size} of {len(samples)} images: {names}",
                hint="The training diverged or the model file is damaged.",
            )
        return Embedded(samples=samples, embeddings=embeddings, images_per_second=len(samples) / seconds)

    def _read(self, images: Path, role: Role) -> Samples:
        from reidfw_core.imaging.files import bad_images_error, find_bad_images, sniff_image
        from reidfw_core.plan.sources import single_image

        path = images.expanduser().absolute()
        if not path.exists():
            raise DataError(f"There is no folder or image {path}")
        reader = self.configuration.components.reader
        assert reader is not None
        if path.is_file():
            samples = single_image(path, role)
        else:
            samples = self._bus.ask(reader.component, "read_samples", root=path, role=role)
        bad = find_bad_images(samples.paths, sniff_image)
        if bad:
            raise bad_images_error(bad, Path.cwd())
        return samples


@contextmanager
def opened_model(model: Path, images: Path, arguments: Sequence[str]) -> Iterator[OpenedModel]:
    """Opens a model with the preprocessing of a configuration.

    The configuration is the file among ``arguments``; without one, that of the run folder that the model lies in.

    Args:
        model: the model file.
        images: an image or a folder; it must exist.
        arguments: a configuration file and overrides in Hydra's syntax, both optional.

    Raises:
        ReidfwError: no configuration, mistakes in it, or an unusable model.
    """
    from reidfw_core.cli.console import ProgressListener
    from reidfw_core.config import read_config
    from reidfw_core.imaging.spec import image_spec
    from reidfw_core.run.runner import open_bus
    from reidfw_core.run.setup import import_frameworks
    from reidfw_core.services.embedding import runner_threads
    from reidfw_core.types import ModelFile, ModelFormat

    path = model.expanduser().absolute()
    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    if not images.expanduser().exists():
        raise DataError(f"There is no folder or image {images.expanduser().absolute()}")
    with logging_to_screen() as console:
        file, overrides = choose_config(path, arguments)
        folder = images.expanduser().absolute()
        folder = folder.parent if folder.is_file() else folder
        asked = [
            "++operation_mode=prediction",
            "++model.model_name=null",
            f"++model.model_path={quoted(path)}",
            f"++dataset.prediction_query_path={quoted(folder)}",
            f"++dataset.prediction_gallery_path={quoted(folder)}",
            "++prediction.gallery_index=null",
            "++prediction.threshold=null",
        ]
        configuration = read_config(file, [*overrides, *asked], Catalog(), check_paths=True)
        target, preprocessing = configuration.components.prediction_target, configuration.config.preprocessing
        assert target is not None
        assert preprocessing is not None
        bus = open_bus(configuration, [("progress", ProgressListener(console))])
        import_frameworks()
        threads = runner_threads(configuration.config.general.num_threads_tflite)
        file_facts = ModelFile(path=path, format=ModelFormat.of_file(path), name=path.stem)
        runner: EmbeddingRunner = bus.ask(
            target.component,
            "open_runner",
            model=file_facts,
            num_threads=threads,
            workdir=Path.cwd() / BOARD_FILES_DIR,
            progress=partial(work_progress, bus),
        )
        try:
            yield OpenedModel(configuration, bus, runner, image_spec(preprocessing, runner.input_shape), path)
        finally:
            runner.close()


def choose_config(model: Path, arguments: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """The configuration file among the arguments, or that of the run folder which the model lies in; the overrides.

    Raises:
        ConfigError: two files are given, or there is none.
    """
    files = [text for text in arguments if "=" not in text and not text.startswith("~")]
    overrides = tuple(text for text in arguments if text not in files)
    if len(files) > 1:
        raise ConfigError([Problem(where="command line", message=f"two configuration files: {files[0]}, {files[1]}")])
    if files:
        return Path(files[0]).expanduser(), overrides
    for folder in model.parents[:3]:
        if (folder / RUN_CONFIG).is_file():
            logger.info("Preprocessing as in the run that made the model: %s", folder / RUN_CONFIG)
            return folder / RUN_CONFIG, overrides
    raise ConfigError(
        [
            Problem(
                where="command line",
                message=f"how images are resized and rescaled for {model.name} is not known: no configuration is "
                "given, and the model does not lie in a run folder",
            )
        ],
        hint="Give the configuration that it was trained with: ... user_config.yaml",
    )


def quoted(path: Path | str) -> str:
    """A value for an override in Hydra's syntax that is taken as it is, whatever signs it holds."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
