"""Tiny real images, a configuration for them, and the command line as a function."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

TINY_CONFIG = """\
general:
  project_name: tiny
operation_mode: chain_tqe
dataset:
  dataset_name: tiny
  training_path: {data}/training
  test_query_path: {data}/query
  test_gallery_path: {data}/gallery
preprocessing:
  rescaling: {{ scale: 1/127.5, offset: -1 }}
  resizing: {{ interpolation: nearest, aspect_ratio: fit }}
  color_mode: rgb
model:
  model_name: mobilenetv1_a025
  input_shape: (64, 32, 3)
training:
  batch_size: 16
  epochs: 2
  optimizer:
    Adam: {{ learning_rate: 0.001 }}
  triplet_loss:
    strategy: semi_hard
quantization:
  quantizer: TFlite_converter
  quantization_type: PTQ
  quantization_input_type: uint8
  quantization_output_type: float
mlflow:
  uri: ./experiments_outputs/mlruns
hydra:
  run:
    dir: ./experiments_outputs/${{now:%Y_%m_%d_%H_%M_%S}}
"""


def draw_person(identity: int, frame: int) -> Image.Image:
    """A figure in the identity's colours (48 x 24 pixels), a little different in each frame."""
    rng = np.random.default_rng([identity, frame])
    image = Image.new("RGB", (24, 48), tuple(int(v) for v in rng.integers(90, 170, 3)))
    draw = ImageDraw.Draw(image)
    colors = np.random.default_rng([identity]).integers(0, 256, (3, 3))
    top, legs, head = (tuple(int(v) for v in np.clip(c + rng.integers(-15, 16), 0, 255)) for c in colors)
    x, y = (int(v) for v in rng.integers(-2, 3, 2))
    draw.ellipse((9 + x, 3 + y, 15 + x, 11 + y), fill=head)
    draw.rectangle((6 + x, 12 + y, 18 + x, 28 + y), fill=top)
    draw.rectangle((8 + x, 28 + y, 16 + x, 45 + y), fill=legs)
    return image


@pytest.fixture(scope="session")
def draw_one() -> Callable[[int, int], Image.Image]:
    """Draws a frame of an identity; see :func:`draw_person`."""
    return draw_person


def draw_set(folder: Path, identities: range, frames: range) -> Path:
    """Writes a folder of ``p<identity>_<frame>.jpg``."""
    folder.mkdir(parents=True)
    for identity in identities:
        for frame in frames:
            draw_person(identity, frame).save(folder / f"p{identity:02d}_{frame:02d}.jpg", quality=92)
    return folder


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both outputs on one line, so that messages are found however they were wrapped."""
        return " ".join((self.out + self.err).split())


CommandLine = Callable[..., Outcome]


def call_reidfw(*arguments: object) -> Outcome:
    """Runs ``reidfw`` in this process, in the current folder."""
    from typer.testing import CliRunner

    from reidfw_core.cli.app import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="reidfw")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The block runs in ``folder``."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training (8 identities x 6), query (4 x 2) and gallery (4 x 4), below a path with a space and an umlaut."""
    root = tmp_path_factory.mktemp("data") / "mit Kühen"
    draw_set(root / "training", range(8), range(6))
    draw_set(root / "query", range(20, 24), range(2))
    draw_set(root / "gallery", range(20, 24), range(2, 6))
    return root


@pytest.fixture
def reidfw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Runs ``reidfw`` with the given arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return call_reidfw


@pytest.fixture(scope="session")
def tiny_config_text(tiny_data: Path) -> str:
    """A configuration for the tiny data."""
    return TINY_CONFIG.format(data=tiny_data)


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_config_text: str) -> Path:
    """A configuration file for the tiny data, in a file name with a space."""
    path = tmp_path / "tiny config.yaml"
    path.write_text(tiny_config_text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def chain(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The run folder of a ``chain_tqe`` and what stood on the screen; run once for the whole session."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "config.yaml").write_text(TINY_CONFIG.format(data=tiny_data), encoding="utf-8")
    with inside(folder):
        outcome = call_reidfw("run", "config.yaml")
    assert outcome.code == 0, outcome.text
    return only_run(folder), outcome


def only_run(folder: Path) -> Path:
    """The one run folder below a working folder."""
    runs = [path.parent for path in (folder / "experiments_outputs").glob("*/reidfw")]
    assert len(runs) == 1, runs
    return runs[0]
