"""What a Keras file takes and gives."""

from __future__ import annotations

from dataclasses import replace

from reidfw_core.api import ModelFile, ModelFormat, load_embedding_model


def inspect_keras(model: ModelFile) -> ModelFile:
    """The same model with input shape, embedding length and number format, a classifier counted without its head.

    Raises:
        DataError: the file is not a Keras model from one image to one vector.
    """
    opened = load_embedding_model(model.path)
    height, width, channels = (int(size) for size in opened.inputs[0].shape[1:])
    return replace(
        model,
        format=ModelFormat.parse("keras/float32"),
        input_shape=(height, width, channels),
        embedding_dim=int(opened.outputs[0].shape[1]),
    )
