"""Embeddings of Keras models with TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from reidfw_core.api import ModelFormat, load_embedding_model
from reidfw_targets.images import checked_batch

BATCH_SIZE = 32
"""Images in one call. The last call of a set is filled up with zeros, so that an embedding depends on its image
alone: another batch size would choose other kernels, with other roundings."""


class KerasRunner:
    """A Keras model as one traced function of fixed batch size.

    Args:
        model: (B, H, W, C) to (B, D).
    """

    def __init__(self, model: keras.Model) -> None:
        height, width, channels = (int(size) for size in model.inputs[0].shape[1:])
        self.input_shape = (height, width, channels)
        self.embedding_dim = int(model.outputs[0].shape[1])
        self.format = ModelFormat("keras", _numeric(model))
        self.kernels = f"Keras {keras.__version__} on TensorFlow {tf.__version__}"
        traced = tf.function(
            lambda images: tf.cast(model(images, training=False), tf.float32),
            input_signature=[tf.TensorSpec((BATCH_SIZE, *self.input_shape), tf.float32)],
            autograph=False,
        )
        # With weights as constants TensorFlow folds batch normalization into the convolutions: 1.4 times as fast.
        frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
        self._forward: Callable[[tf.Tensor], tf.Tensor] = lambda images: frozen(images)[0]

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of a batch; see :class:`reidfw_core.api.EmbeddingRunner`.

        Raises:
            DataError: the images have another shape than the model takes.
        """
        images = checked_batch(images, self.input_shape)
        embeddings = np.empty((len(images), self.embedding_dim), np.float32)
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            filled = batch
            if len(batch) < BATCH_SIZE:
                filled = np.zeros((BATCH_SIZE, *self.input_shape), np.float32)
                filled[: len(batch)] = batch
            embeddings[start : start + len(batch)] = self._forward(tf.constant(filled)).numpy()[: len(batch)]
        return embeddings

    def close(self) -> None:
        """Frees the traced function and with it the model."""
        del self._forward


def open_keras_runner(path: Path, num_threads: int) -> KerasRunner:  # noqa: ARG001
    """Opens a ``.keras`` or ``.h5`` file.

    Args:
        path: an existing file.
        num_threads: not used; TensorFlow's threads are set once for the whole process.

    Raises:
        DataError: the file is not a Keras model, damaged, or not a model from one image to one embedding.
    """
    return KerasRunner(load_embedding_model(path))


def _numeric(model: keras.Model) -> str:
    """The number format of the weights with at least two dimensions; float32 where there are none."""
    formats = sorted({weight.dtype for weight in model.weights if len(weight.shape) > 1})
    return formats[0] if len(formats) == 1 else "mixed" if formats else "float32"
