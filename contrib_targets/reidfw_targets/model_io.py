"""Inputs and outputs of a model file, read from the file alone: no interpreter is opened."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import DataError, ModelFile, ModelFormat
from reidfw_targets.images import ImageInput
from reidfw_targets.numbers import TensorNumbers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIo:
    """What goes into a model and what comes out.

    Attributes:
        format: container and number format.
        image: size and order of its image.
        input_numbers: number format of the image.
        embedding_dim: length D of its embedding.
        output_numbers: number format of the embedding.
        image_integers, embedding_integers: the integers that image and embedding are inside of the file, where it takes
            or gives float numbers and only converts them; those above where they are integers; None for neither.
    """

    format: ModelFormat
    image: ImageInput
    input_numbers: TensorNumbers
    embedding_dim: int
    output_numbers: TensorNumbers
    image_integers: TensorNumbers | None
    embedding_integers: TensorNumbers | None


def read_model_io(model: ModelFile) -> ModelIo | None:
    """Reads a TensorFlow Lite or ONNX file; None for a Keras file, which only Keras can open.

    Raises:
        DataError: the file is missing, damaged, a classifier, or not one from one image to one embedding.
    """
    path = model.path
    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    container = ModelFormat.of_file(path).container
    if container == "tflite":
        from reidfw_targets._tflite.io import read_tflite_io

        return read_tflite_io(path)
    if container == "onnx":
        from reidfw_targets._onnx.io import read_onnx_io

        return read_onnx_io(path)
    if container == "keras":
        return None
    raise DataError(f"{path} is no model file: its name must end in .keras, .h5, .tflite or .onnx")


def image_shape(model: ModelFile) -> tuple[int, int, int] | None:
    """(H, W, C) of a model's image: as the model tells, else as its file does; None where neither can be known."""
    if model.input_shape is not None:
        return model.input_shape
    try:
        io = read_model_io(model)
    except DataError as cause:
        logger.debug("The image size of %s is not known: %s", model.path, cause)
        return None
    return None if io is None else io.image.shape


def classifier_error(path: Path, removed: tuple[str, ...]) -> DataError:
    """The error for a file that gives classes where an embedding is wanted."""
    return DataError(
        f"{path} is a classifier: it ends in {', '.join(removed)}, and the board would compute classes, no embeddings",
        hint="Give a model that ends in its embedding, such as saved_models/best_model.keras after quantization.",
    )
