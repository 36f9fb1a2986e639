"""Fake components and the user's document as one file, so that no plugin is needed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from reidfw_core.catalog import Catalog, CatalogEntry
from reidfw_core.components import (
    Augmentation,
    Backbone,
    Component,
    ComponentParams,
    DatasetReader,
    Listener,
    Loss,
    Quantizer,
    Target,
)
from reidfw_core.config import Configuration, read_config
from reidfw_core.errors import PluginBroken


class IdentityPrefix(DatasetReader):
    """Reads folders."""


class Drawn(DatasetReader):
    """Draws its images."""

    needs_paths: ClassVar[bool] = False

    class Params(ComponentParams):
        """How to draw."""

        identities: int = Field(8, ge=2)
        """People."""
        style: str = "plain"
        """Name of a style."""


class RandomFlip(Augmentation):
    """Flips."""

    class Params(ComponentParams):
        """How to flip."""

        mode: Literal["horizontal", "vertical", "horizontal_and_vertical"] = "horizontal"
        """Direction."""


class RandomShift(Augmentation):
    """Translation, rotation and zoom alike."""

    class Params(ComponentParams):
        """How far."""

        factor: float | tuple[float, float] = 0.1
        """Part of a turn."""
        width_factor: float | tuple[float, float] = 0.1
        """Part of the width."""
        height_factor: float | tuple[float, float] = 0.1
        """Part of the height."""
        fill_mode: Literal["reflect", "nearest"] = "reflect"
        """What comes in from outside."""
        interpolation: Literal["nearest", "bilinear"] = "bilinear"
        """Resampling."""


class RandomErasing(Augmentation):
    """Erases rectangles."""

    class Params(ComponentParams):
        """How many."""

        nrec: int | tuple[int, int] = (0, 3)
        """Rectangles."""


class MobileNet(Backbone):
    """A network."""


class TinyConv(Backbone):
    """A smaller one."""

    class Params(ComponentParams):
        """Its size."""

        width: int = Field(16, ge=4)
        """Channels of the first layer."""


class CrossEntropy(Loss):
    """Cross-entropy."""

    consumes: ClassVar[Literal["embeddings", "logits", "probabilities"]] = "logits"

    class Params(ComponentParams):
        """Its smoothing."""

        label_smoothing: float = Field(0.1, ge=0, lt=1)
        """Share of the target that is spread."""


class Triplet(Loss):
    """A triplet loss."""

    min_instances: ClassVar[int] = 2

    class Params(ComponentParams):
        """Its margin."""

        margin: float = Field(0.3, ge=0, le=1)
        """Distance."""
        distance_metric: Literal["cosine", "euclidean"] = "cosine"
        """Metric."""


class Center(Loss):
    """A third party's loss."""


class Tflite(Quantizer):
    """Quantizes."""

    class Params(ComponentParams):
        """The section as it is."""

        quantization_type: str = "PTQ"
        """Kind."""
        quantization_input_type: str = "uint8"
        """Input."""
        quantization_output_type: str = "float"
        """Output."""
        granularity: Literal["per_channel", "per_tensor"] = "per_channel"
        """Scales."""
        optimize: bool = False
        """Optimise."""
        target_opset: int = 17
        """Opset."""
        onnx_extra_options: dict[str, Any] | None = None
        """Options."""


class Host(Target):
    """This computer."""


class Board(Target):
    """A board."""

    class Params(ComponentParams):
        """What it takes from its section and from the tools."""

        serial: str | None = None
        """Probe."""
        optimization: Literal["balanced", "time", "ram"] = "balanced"
        """From the tools section."""
        path_to_stedgeai: Path | None = None
        """From the tools section."""


class Mlflow(Listener):
    """Tracks."""

    class Params(ComponentParams):
        """Where."""

        uri: str = "./mlruns"
        """Store."""


class Notifier(Listener):
    """Another listener."""

    class Params(ComponentParams):
        """Whom."""

        address: str
        """Address."""


INSTALLED: dict[str, dict[str, type[Component]]] = {
    "datasets": {"identity_prefix": IdentityPrefix, "drawn": Drawn},
    "augmentations": {
        "random_flip": RandomFlip,
        "random_translation": RandomShift,
        "random_rotation": RandomShift,
        "random_zoom": RandomShift,
        "random_rectangle_erasing": RandomErasing,
    },
    "backbones": {"mobilenetv1_a025": MobileNet, "acme.tiny_conv": TinyConv},
    "losses": {
        "identity_cross_entropy": CrossEntropy,
        "triplet_hard": Triplet,
        "triplet_semi_hard": Triplet,
        "triplet_simple": Triplet,
        "center": Center,
    },
    "quantizers": {"TFlite_converter": Tflite, "onnx_quantizer": Tflite},
    "targets": {"host": Host, "STM32H747I-DISCO": Board, "STM32N6570-DK": Board},
    "listeners": {"mlflow": Mlflow, "notifier": Notifier},
}


class FakeCatalog(Catalog):
    """A catalog of classes; a class given as an exception is a plugin that cannot be imported."""

    def __init__(self, installed: Mapping[str, Mapping[str, type[Component] | str]] = INSTALLED) -> None:
        super().__init__()
        self.installed = installed
        self.loaded: list[str] = []

    def entries(self, kind: str) -> tuple[CatalogEntry, ...]:
        """Entries of the distribution ``acme``."""
        return tuple(
            CatalogEntry(
                kind=kind,
                name=name,
                target="acme:Class",
                distribution="acme",
                version="1.2",
                summary="",
                needs_core="",
                status="ok",
                entry_point=EntryPoint(name, "acme:Class", f"reidfw.{kind}"),
            )
            for name in self.installed.get(kind, {})
        )

    def load(self, kind: str, reference: str) -> type[Component]:
        """The class."""
        entry = self.find(kind, reference)
        self.loaded.append(entry.name)
        component = self.installed[kind][entry.name]
        if isinstance(component, str):
            raise PluginBroken(f"{kind} '{entry.name}' cannot be imported: {component}", hint="reinstall it")
        return component


@pytest.fixture
def make_catalog() -> Callable[..., FakeCatalog]:
    """A catalog with some kinds replaced."""
    return lambda **kinds: FakeCatalog({**INSTALLED, **kinds})


@pytest.fixture
def catalog() -> FakeCatalog:
    """The catalog of this folder's components."""
    return FakeCatalog()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a configuration into the current folder, which is a fresh one."""
    monkeypatch.chdir(tmp_path)

    def write_text(text: str) -> Path:
        path = tmp_path / "user_config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


@pytest.fixture
def read(write: Callable[[str], Path], catalog: FakeCatalog) -> Callable[..., Configuration]:
    """Reads a configuration from its text, without looking for the paths in it."""

    def read_text(text: str, *overrides: str, check_paths: bool = False) -> Configuration:
        return read_config(write(text), overrides, catalog, check_paths=check_paths)

    return read_text


DOCUMENT = """\
general:
   project_name: my_project           # Project name. Optional, defaults to "<unnamed>".
   logs_dir: logs                    # Name of the directory where log files are saved. Optional, defaults to "logs".
   saved_models_dir: saved_models    # Name of the directory where model files are saved.
   global_seed: 123                  # Seed used to seed random generators (an integer). Optional, defaults to 123.
   deterministic_ops: False          # Enable/disable deterministic operations (a boolean). Optional, defaults to False.
   display_figures: True             # Enable/disable the display of figures.
   gpu_memory_limit: 16              # Maximum amount of GPU memory in GBytes that TensorFlow may use (an integer).
   num_threads_tflite: 4             # Number of threads for tflite interpreter. Optional, defaults to 1

operation_mode: chain_tqeb

dataset:
   dataset_name: DeepSportradar                                      # Dataset name. Defaults to "<unnamed>".
   training_path: ./datasets/DeepSportradar-ReID/reid_training       # Path to the root directory of the training set.
   validation_path: <validation-set-root-directory>           # Path to the root directory of the validation set.
   validation_split: 0.2                                      # Training/validation sets split ratio.
   test_query_path: ./datasets/DeepSportradar-ReID/reid_test/query            # Path of the test query set.
   test_gallery_path: ./datasets/DeepSportradar-ReID/reid_test/gallery          # Path of the test gallery set.
   quantization_path: <quantization-set-root-directory>       # Path to the root directory of the quantization set.
   quantization_split:                                        # Quantization split ratio.
   check_image_files: False                                   # Enable/disable image file checking.
   seed: 123                                                  # Random generator seed used when splitting a dataset.

preprocessing:
   rescaling:
      # Image rescaling parameters
      scale : 1/127.5
      offset : -1
   resizing:
      # Image resizing parameters
      interpolation: nearest
      aspect_ratio: fit
   color_mode: rgb

data_augmentation:
  random_flip:
    mode: horizontal_and_vertical
  random_translation:
    width_factor: 0.2
    height_factor: 0.2
    fill_mode: reflect
    interpolation: nearest
  random_rotation:
    factor: 0.125
    fill_mode: reflect
    interpolation: nearest
  random_zoom:
    width_factor: 0.2
    height_factor: 0.2
    fill_mode: nearest
    interpolation: nearest

model:
   model_name: mobilenetv1_a025
   input_shape: (256, 128, 3)
   pretrained: True

training:
   batch_size: 64
   epochs: 150
   dropout: 0.3             # Insert a dropout layer in the model and set the rate to 0.3
   frozen_layers: (0, -1)   # Make all layers non-trainable except the last one
   optimizer:
      # Use Keras Adam optimizer with initial LR set to 0.001
      Adam:
         learning_rate: 0.001
   callbacks:
      # Use Keras ReduceLROnPlateau learning rate scheduler
      ReduceLROnPlateau:
         monitor: val_loss
         factor: 0.1
         patience: 10
      # Use Keras EarlyStopping to stop training and not overfit
      EarlyStopping:
         monitor: val_accuracy
         mode: max
         restore_best_weights: true
         patience: 60
   triplet_loss:
      margin: 0.3  # Optional between [0, 1], default is 0.3
      strategy: semi_hard   #choices=['hard', 'semi_hard', 'simple'], default is 'hard'
      distance_metric: cosine  # Optional, choices=['euclidean', 'cosine'], default is 'cosine'

quantization:
   quantizer: TFlite_converter         # or onnx_quantizer
   quantization_type: PTQ
   quantization_input_type: float      # float for onnx_quantizer
   quantization_output_type: uint8     # float for onnx_quantizer
   granularity: per_tensor             # Optional, defaults to "per_channel".
   optimize: True                      # Optional, defaults to False.
   target_opset: 17                    # Optional, defaults to 17.
   export_dir: quantized_models        # Optional, defaults to "quantized_models".
   onnx_extra_options:
      CalibMovingAverage: True         # Optional, default to False

tools:
  stedgeai:
    optimization: balanced
    on_cloud: True
    path_to_stedgeai: C:/ST/STEdgeAI/<x.y>/Utilities/windows/stedgeai.exe
  path_to_cubeIDE: C:/ST/STM32CubeIDE_<*.*.*>/STM32CubeIDE/stm32cubeide.exe

benchmarking:
   board: STM32H747I-DISCO     # Name of the STM32 board to benchmark the model on

hydra:
   run:
      dir: ./tf/src/experiments_outputs/${now:%Y_%m_%d_%H_%M_%S}

mlflow:
   uri: ./tf/src/experiments_outputs/mlruns
"""


@pytest.fixture
def document() -> str:
    """The blocks of the user's document, in one file."""
    return DOCUMENT
