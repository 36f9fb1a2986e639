"""Loading a Keras file as a model from one image to one embedding."""

from __future__ import annotations

import importlib
import json
import logging
import textwrap
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

import reidfw_core._keras.custom_function
import reidfw_core._keras.head  # noqa: F401 (both register the layers that our own files name)
from reidfw_core.errors import DataError

logger = logging.getLogger(__name__)

TWO_OUTPUT_NETWORK = "two_output_network"
"""Name of the network inside ``*_augmented_model.keras``; its outputs are probabilities and embedding."""


def load_embedding_model(path: Path) -> keras.Model:
    """Reads a ``.keras`` or ``.h5`` file and cuts a classifier off it.

    Layers of reidfw plugins are found by the module that a ``.keras`` file names. Lambda layers are refused, since
    they would run code from the file.

    Returns:
        A model from (B, H, W, C) to (B, D) with known H, W, C and D.

    Raises:
        DataError: the file is missing, not a Keras model, or not a model from one image to one vector.
    """
    model = _without_augmentation(load_keras_file(path))
    model, removed = cut_classifier(model)
    if removed:
        logger.info("%s is a classifier: embedding taken before %s", path.name, ", ".join(reversed(removed)))
    check_image_to_vector(model, str(path))
    return model


def load_keras_file(path: Path) -> keras.Model:
    """Reads a ``.keras`` or ``.h5`` file as it is.

    Raises:
        DataError: the file is missing or not a Keras model.
    """
    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    if path.suffix.lower() == ".keras" and not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} cannot be read as a Keras model: it is not a .keras file, or it is cut off",
            hint="Give a complete file; a model in HDF5 format ends in .h5.",
        )
    try:
        _import_plugin_layers(path)
        model = keras.models.load_model(path, custom_objects=_LEGACY_LAYERS, compile=False)
    except Exception as cause:  # Keras raises many kinds: OSError, ValueError, TypeError, KeyError, zip and HDF5 errors
        raise DataError(
            f"{path} cannot be read as a Keras model: {_reason(cause)}",
            hint="Give a complete .keras or .h5 file, and install the plugins whose layers it uses.",
        ) from cause
    if not isinstance(model, keras.Model):
        raise DataError(f"{path} holds a {type(model).__name__}, not a Keras model")
    return model


def _without_augmentation(model: keras.Model) -> keras.Model:
    """The embedding part of a ``*_augmented_model.keras``; any other model unchanged."""
    names = {layer.name for layer in model.layers}
    if TWO_OUTPUT_NETWORK not in names:
        return model
    inner = model.get_layer(TWO_OUTPUT_NETWORK)
    return keras.Model(inner.inputs, inner.outputs[1], name=model.name)


def cut_classifier(model: keras.Model) -> tuple[keras.Model, tuple[str, ...]]:
    """Removes a classification head: [Dropout], Dense, [Activation] that ends in a softmax or sigmoid.

    A last Dense layer with another activation counts as an embedding layer and stays.

    Returns:
        The model up to the input of the head (the same weights), and the names of the removed layers, last first;
        the model itself and () where it has no such head.
    """
    if len(model.outputs) != 1:
        return model, ()
    removed: list[str] = []
    layer = _producer(model, model.outputs[0])
    if layer is not None and not isinstance(layer, keras.layers.Dense) and _gives_probabilities(layer):
        removed.append(layer.name)
        layer = _producer(model, layer.input)
        is_classifier = isinstance(layer, keras.layers.Dense)
    else:
        is_classifier = isinstance(layer, keras.layers.Dense) and _gives_probabilities(layer)
    if layer is None or not is_classifier:
        return model, ()
    removed.append(layer.name)
    embedding = layer.input
    while isinstance(before := _producer(model, embedding), keras.layers.Dropout):
        removed.append(before.name)
        embedding = before.input
    return keras.Model(model.inputs, embedding, name=model.name), tuple(removed)


def check_image_to_vector(model: keras.Model, name: str) -> None:
    """Checks that a model turns one (H, W, C) image into one (D,) vector, all sizes known.

    Raises:
        DataError: it does not; the message says what the file has instead.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise DataError(
            f"{name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; a ReID model has one each"
        )
    input_shape, output_shape = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    if len(input_shape) != 4 or None in input_shape[1:]:
        raise DataError(f"{name} takes {input_shape}; a ReID model takes (batch, H, W, C) with fixed H, W and C")
    if len(output_shape) != 2 or output_shape[1] is None:
        hint = "Add a GlobalAveragePooling2D layer at its end." if len(output_shape) == 4 else None
        raise DataError(
            f"{name} gives {output_shape}; a ReID model gives (batch, D): one embedding an image", hint=hint
        )


class _LegacyDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D as Keras 2 wrote it: with ``groups``, always 1, which Keras 3 refuses."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.DepthwiseConv2D:
        """The layer of Keras 3 with these settings."""
        return keras.layers.DepthwiseConv2D.from_config({key: config[key] for key in config if key != "groups"})


_LEGACY_LAYERS = {"DepthwiseConv2D": _LegacyDepthwiseConv2D}


def _import_plugin_layers(path: Path) -> None:
    """Imports the modules that a ``.keras`` file names, as far as they belong to installed reidfw plugins.

    Keras knows a custom layer only after its module was imported. Other modules are left alone: a model file must not
    choose what Python imports.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    groups = [group for group in metadata.entry_points().groups if group.startswith("reidfw.")]
    plugins = {entry.module.partition(".")[0] for group in groups for entry in metadata.entry_points(group=group)}
    for module in sorted(_named_modules(config)):
        if module.partition(".")[0] in plugins:
            importlib.import_module(module)


def _named_modules(config: Any) -> set[str]:
    """All values of the key ``module`` in nested lists and mappings."""
    if isinstance(config, dict):
        own = {config["module"]} if isinstance(config.get("module"), str) else set()
        return own.union(*map(_named_modules, config.values()))
    if isinstance(config, list):
        return set().union(*map(_named_modules, config))
    return set()


def _reason(cause: Exception) -> str:
    """The first line of what Keras says, without the configuration that it puts before."""
    text = str(cause).rpartition("Exception encountered: ")[2].strip() or type(cause).__name__
    return textwrap.shorten(text.splitlines()[0], 200)


def _producer(model: keras.Model, tensor: Any) -> Any:
    """The layer of the model whose only output is ``tensor``, or None."""
    for layer in reversed(model.layers):
        try:
            if layer.output is tensor:
                return layer
        except (AttributeError, ValueError):  # a layer that is used several times has no single output
            continue
    return None


def _gives_probabilities(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Softmax):
        return True
    return getattr(layer, "activation", None) in (keras.activations.softmax, keras.activations.sigmoid)
