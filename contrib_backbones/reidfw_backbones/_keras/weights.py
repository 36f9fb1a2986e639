"""Loading the weights of a file into a backbone, whichever of Keras's file formats it is in."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from reidfw_core.api import DataError

logger = logging.getLogger(__name__)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class StoredWeights:
    """What an HDF5 file of weights holds.

    Attributes:
        shapes: shape of each tensor.
        is_model: it is a whole model with its configuration, not weights alone.
        is_published: the format of Keras 2, in which Keras publishes weights and which Keras 3 does not write.
    """

    shapes: tuple[Shape, ...]
    is_model: bool
    is_published: bool = False

    @property
    def num_parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(shape) for shape in self.shapes)


def load_pretrained(
    model: keras.Model,
    path: Path,
    build: Callable[[int], keras.Model],
    known_sizes: Mapping[str, int],
    adapt_published: Callable[[keras.Model], None] | None = None,
) -> None:
    """Sets all weights of ``model`` to those in a file.

    Args:
        model: the network, its first layer with weights a convolution of the image.
        path: ``.weights.h5`` or ``.h5`` with weights alone, ``.keras`` or ``.h5`` with a whole model that has the
            layers of ``model`` under the same names, with any others behind them.
        build: makes the same network for a number of input channels.
        known_sizes: number of parameters of each architecture (RGB), to name the one that a wrong file holds.
        adapt_published: called with the network that has got its weights from a file in the format of Keras 2, where
            the published weights want other pixels than ours.

    Raises:
        DataError: there is no such file, it is damaged, or it holds another architecture.
    """
    if not path.is_file():
        raise DataError(f"model.pretrained: there is no file {path.absolute()}")
    if path.suffix == ".keras":
        _copy_from_model(model, path, known_sizes)
    elif path.suffix in {".h5", ".hdf5"}:
        stored = _read_stored_weights(path)
        if stored.is_model:
            _copy_from_model(model, path, known_sizes)
        else:
            _load_weights(model, path, stored, build, known_sizes, adapt_published)
    else:
        raise DataError(
            f"model.pretrained: {path} is not a file of Keras weights",
            hint="Give a .weights.h5, .h5 or .keras file.",
        )
    logger.info("%s: weights of %s", model.name, path)


def copy_weights(source: Mapping[str, Sequence[np.ndarray]], model: keras.Model, origin: str) -> None:
    """Sets the weights of ``model`` from those of equally named layers.

    A first kernel for three channels serves a grayscale input as the sum over its input channels.

    Args:
        source: the tensors of each layer, by its name.
        model: the network.
        origin: what error messages call the source.

    Raises:
        DataError: a layer is missing, or has another shape.
    """
    layers = _layers_with_weights(model)
    image_kernel = _image_kernel(model)
    for place, layer in enumerate(layers):
        if layer.name not in source:
            raise DataError(f"{origin} has no layer '{layer.name}'")
        tensors = list(source[layer.name])
        if place == 0 and image_kernel is not None:
            tensors[0] = _for_channels(tensors[0], image_kernel.shape[2], origin)
        given, needed = [tensor.shape for tensor in tensors], [tuple(weight.shape) for weight in layer.weights]
        if given != needed:
            raise DataError(f"{origin}: layer '{layer.name}' has tensors of shape {given}, needed are {needed}")
        layer.set_weights(tensors)


def _load_weights(
    model: keras.Model,
    path: Path,
    stored: StoredWeights,
    build: Callable[[int], keras.Model],
    known_sizes: Mapping[str, int],
    adapt_published: Callable[[keras.Model], None] | None,
) -> None:
    if _held_architecture(stored, known_sizes) not in (None, model.name):
        raise _misfit(path, model, stored, known_sizes)
    channels = _stored_channels(model, stored)
    source = model if channels == model.input_shape[-1] else build(channels)
    try:
        source.load_weights(path)
    except (ValueError, KeyError, OSError) as cause:  # Keras raises each of them where tensors do not match
        raise _misfit(path, model, stored, known_sizes) from cause
    if stored.is_published and adapt_published is not None:
        adapt_published(source)
    if source is not model:
        tensors = {layer.name: layer.get_weights() for layer in _layers_with_weights(source)}
        copy_weights(tensors, model, f"model.pretrained: {path}")


def _copy_from_model(model: keras.Model, path: Path, known_sizes: Mapping[str, int]) -> None:
    try:
        loaded = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as cause:  # Keras raises each of them for damaged files
        raise DataError(
            f"model.pretrained: {path} cannot be loaded as a Keras model: {_first_line(cause)}",
            hint="Give a model saved by this version of Keras, or its weights as a .weights.h5 file.",
        ) from cause
    layers = list(_flat_layers(loaded))
    source = {layer.name: layer.get_weights() for layer in layers}
    try:
        copy_weights(source, model, f"model.pretrained: {path}")
    except DataError as cause:
        convolutional = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.BatchNormalization)
        shapes = tuple(
            tuple(weight.shape) for layer in layers if isinstance(layer, convolutional) for weight in layer.weights
        )
        raise _misfit(path, model, StoredWeights(shapes, is_model=True), known_sizes, str(cause)) from cause


def _read_stored_weights(path: Path) -> StoredWeights:
    shapes: list[Shape] = []

    def note(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            shapes.append(tuple(item.shape))

    try:
        with h5py.File(path) as file:
            file.visititems(note)
            return StoredWeights(
                tuple(shapes), is_model="model_weights" in file, is_published="layer_names" in file.attrs
            )
    except OSError as cause:
        raise DataError(
            f"model.pretrained: {path} is not an HDF5 file, or is damaged: {_first_line(cause)}",
            hint="Get the file again; delete it first where it lies in Keras's cache.",
        ) from cause


def _stored_channels(model: keras.Model, stored: StoredWeights) -> int:
    """Input channels of the stored network: those of the kernel that looks like the model's first one."""
    first = _image_kernel(model)
    if first is None:
        return int(model.input_shape[-1])
    rows, columns, channels, filters = first.shape
    for candidate in (channels, 3, 1):
        if (rows, columns, candidate, filters) in stored.shapes:
            return int(candidate)
    return int(channels)


def _misfit(
    path: Path, model: keras.Model, stored: StoredWeights, known_sizes: Mapping[str, int], reason: str | None = None
) -> DataError:
    held = _held_architecture(stored, known_sizes)
    if held is not None and held != model.name:
        return DataError(
            f"model.pretrained: {path} holds the weights of {held}, not of {model.name}",
            hint=f"Give a file for {model.name}, or set model.model_name: {held}.",
        )
    if held is not None:
        name_rule = "" if path.name.endswith(".weights.h5") else "; its name must end in .weights.h5"
        message = (
            reason or f"model.pretrained: {path} has the size of {model.name}, but its layers are arranged otherwise"
        )
        return DataError(message + name_rule)
    return DataError(
        reason
        or f"model.pretrained: {path} does not fit {model.name}: it holds {stored.num_parameters:,} numbers in "
        f"{len(stored.shapes)} tensors, the network {model.count_params():,} in {len(model.weights)}",
        hint="Weights files must be without the classifier (include_top=False).",
    )


def _held_architecture(stored: StoredWeights, known_sizes: Mapping[str, int]) -> str | None:
    """The architecture with this number of parameters, as it is or were a first kernel for grayscale one for RGB."""
    gray_stems = [math.prod(shape) for shape in stored.shapes if len(shape) == 4 and shape[2] == 1 and shape[0] > 1]
    rgb_sizes = {stored.num_parameters, *(stored.num_parameters + 2 * size for size in gray_stems)}
    return next((name for name, size in known_sizes.items() if size in rgb_sizes), None)


def _for_channels(kernel: np.ndarray, channels: int, origin: str) -> np.ndarray:
    if kernel.ndim != 4 or kernel.shape[2] == channels:
        return kernel
    if kernel.shape[2] == 3 and channels == 1:
        return np.asarray(kernel.sum(axis=2, keepdims=True))
    raise DataError(f"{origin} is for {kernel.shape[2]} input channels, model.input_shape has {channels}")


def _layers_with_weights(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in _flat_layers(model) if layer.weights]


def _image_kernel(model: keras.Model) -> Any:
    """The kernel (rows, columns, C, filters) of the convolution that sees the image, None where there is none."""
    layers = _layers_with_weights(model)
    is_convolution = bool(layers) and isinstance(layers[0], keras.layers.Conv2D)
    return layers[0].kernel if is_convolution else None


def _flat_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat_layers(layer)
        else:
            yield layer


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
