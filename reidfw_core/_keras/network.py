"""Putting a ReID network together, and taking its classification head off again."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from reidfw_core._keras.files import TWO_OUTPUT_NETWORK
from reidfw_core._keras.head import BN_NECK_LAYER, LOGITS_LAYER, CosineClassifier, Head, attach_head
from reidfw_core.errors import DataError, nearest_match
from reidfw_core.files import atomic_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReidNetwork:
    """One set of layers, seen through models that share their weights.

    Attributes:
        training: image (B, H, W, C) to the embedding (B, D) that metric losses see, and logits (B, I).
        classification: image to softmax probabilities (B, I).
        embedding: image to the embedding (B, D) that the finished model gives.
        cosine_scale: what the logits are divided by to get cosines, None where the classifier is linear.
    """

    training: keras.Model
    classification: keras.Model
    embedding: keras.Model
    cosine_scale: float | None = None

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding."""
        return int(self.embedding.output_shape[-1])

    @property
    def num_identities(self) -> int:
        """Classes I of the classifier."""
        return int(self.classification.output_shape[-1])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.embedding.input_shape[1:]
        return int(height), int(width), int(channels)

    def scoring_function(self) -> Callable[[Any], tuple[Any, Any, Any]]:
        """A graph function from images to the finished embedding, the embedding for metric losses, and logits."""
        model = keras.Model(self.training.inputs, [self.embedding.output, *self.training.outputs])
        shape = (None, *self.input_shape)
        function: Callable[[Any], tuple[Any, Any, Any]] = tf.function(
            lambda images: tuple(model(images, training=False)), input_signature=[tf.TensorSpec(shape, tf.float32)]
        )
        return function


def assemble_network(features: keras.Model, num_identities: int, head: Head, seed: int) -> ReidNetwork:
    """Adds a head to a backbone or to an embedding model.

    Args:
        features: (B, H, W, C) to a feature map (B, h, w, D) or to an embedding (B, D).
        num_identities: classes I of the classifier.
        head: pooling, embedding and classifier.
        seed: seeds dropout and the head's weights.

    Raises:
        DataError: the output is neither a feature map nor a vector.
    """
    if len(features.inputs) != 1 or len(features.outputs) != 1:
        raise DataError(
            f"The model '{features.name}' has several inputs or outputs; one image in, one tensor out is needed"
        )
    tensors = attach_head(features.outputs[0], head, num_identities, seed, features.name)
    return _network(features.inputs[0], tensors.metric, tensors.embedding, tensors.logits)


def _network(
    image: Any, metric: Any, embedding: Any, logits: Any, probabilities: Any = None, scale: float | None = None
) -> ReidNetwork:
    if probabilities is None:
        probabilities = keras.layers.Softmax(name="probabilities")(logits)
    training = keras.Model(image, [metric, logits], name="training_network")
    classifier = training.get_layer(LOGITS_LAYER)
    return ReidNetwork(
        training=training,
        classification=keras.Model(image, probabilities, name="classification_network"),
        embedding=keras.Model(image, embedding, name="embedding_network"),
        cosine_scale=classifier.scale if isinstance(classifier, CosineClassifier) else scale,
    )


def network_of_augmented_model(model: keras.Model) -> ReidNetwork:
    """The network inside a ``*_augmented_model.keras``, to train it on.

    Raises:
        DataError: it is no such model.
    """
    names = {layer.name for layer in model.layers}
    if TWO_OUTPUT_NETWORK not in names:
        raise DataError(f"The model '{model.name}' is no last_augmented_model.keras or best_augmented_model.keras")
    inner = model.get_layer(TWO_OUTPUT_NETWORK)
    probabilities, embedding = inner.outputs
    classifier = inner.get_layer(LOGITS_LAYER)
    hidden = classifier.input
    layers = {layer.name: layer for layer in inner.layers}
    if "dropout" in layers and layers["dropout"].output is hidden:
        hidden = layers["dropout"].input
    metric = layers[BN_NECK_LAYER].input if BN_NECK_LAYER in layers else hidden
    return _network(inner.inputs[0], metric, embedding, classifier.output, probabilities)


def freeze_layers(network: ReidNetwork, frozen: Sequence[int | slice]) -> int:
    """Makes all layers trainable, then those at the given places not.

    Places are Python indices into the layers from the input on; the classifier's Dense layer is the last one
    (index -1), whether or not a softmax layer follows it.

    Args:
        network: the network.
        frozen: indices and slices, as ``training.frozen_layers`` gives them.

    Returns:
        How many layers are frozen.

    Raises:
        DataError: an index outside the network, or nothing is left to train.
    """
    layers = [layer for layer in network.classification.layers if layer.name != "probabilities"]
    for layer in layers:
        layer.trainable = True
    for place in frozen:
        if isinstance(place, slice):
            chosen = layers[place]
        elif -len(layers) <= place < len(layers):
            chosen = [layers[place]]
        else:
            raise DataError(f"training.frozen_layers: there is no layer {place}; the network has {len(layers)} layers")
        for layer in chosen:
            layer.trainable = False
    if not network.training.trainable_variables:
        raise DataError("training.frozen_layers: every layer with weights is frozen, so nothing is left to train")
    return sum(not layer.trainable for layer in layers)


@dataclass(frozen=True)
class Transfer:
    """What became of the layers with weights when those of another model were taken over, by their names.

    Attributes:
        copied: got their weights from a layer of the same name and shapes.
        absent: there is no layer of their name.
        other_shape: the layer of their name has weights of other shapes.
        unused: layers of the other model that had no counterpart.
    """

    copied: tuple[str, ...]
    absent: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def total(self) -> int:
        """Layers with weights of the model that got them."""
        return len(self.copied) + len(self.absent) + len(self.other_shape)


def transfer_weights(source: keras.Model, target: keras.Model) -> Transfer:
    """Copies the weights of all layers that both models have, by name and by the shapes of their weights."""
    given = {layer.name: layer.get_weights() for layer in source._flatten_layers(include_self=False) if layer.weights}
    wanted = {layer.name: layer for layer in target.layers if layer.weights}
    fits = {
        name: [weight.shape for weight in given[name]] == [tuple(weight.shape) for weight in layer.weights]
        for name, layer in wanted.items()
        if name in given
    }
    for name, same in fits.items():
        if same:
            wanted[name].set_weights(given[name])
    return Transfer(
        copied=tuple(name for name, same in fits.items() if same),
        absent=tuple(name for name in wanted if name not in given),
        other_shape=tuple(name for name, same in fits.items() if not same),
        unused=tuple(name for name in given if name not in wanted),
    )


def save_keras_model(model: keras.Model, path: Path) -> Path:
    """Saves a model in Keras's own format, under a temporary name first.

    Raises:
        StorageError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        model.save(temporary)
    return path


def augmented_model(
    network: ReidNetwork, scale: float, offset: float, augmentation: Iterable[keras.layers.Layer]
) -> keras.Model:
    """The network with rescaling and augmentation in front, for ``*_augmented_model.keras``.

    Input: raw pixels (B, H, W, C) in [0, 255]. Outputs: softmax probabilities and embedding.
    """
    image = keras.Input(network.input_shape, name="pixels")
    changed = keras.layers.Rescaling(scale, offset, name="rescaling")(image)
    for layer in augmentation:
        changed = layer(changed)
    two_outputs = keras.Model(
        network.training.input,
        [network.classification.output, network.embedding.output],
        name=TWO_OUTPUT_NETWORK,
    )
    return keras.Model(image, two_outputs(changed), name="augmented_model")


def build_optimizer(name: str, arguments: dict[str, Any]) -> keras.optimizers.Optimizer:
    """A Keras optimizer by its class name, any case.

    Raises:
        DataError: no such optimizer (names the nearest one), or arguments that it refuses.
    """
    known = {
        key: value
        for key, value in vars(keras.optimizers).items()
        if isinstance(value, type)
        and issubclass(value, keras.optimizers.Optimizer)
        and value not in (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)
    }
    matches = [key for key in known if key.lower() == name.lower()]
    if not matches:
        near = nearest_match(name, known)
        raise DataError(
            f"training.optimizer: Keras has no optimizer '{name}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint="Optimizers: " + ", ".join(sorted(known)),
        )
    accepted = [key for key in inspect.signature(known[matches[0]]).parameters if key != "kwargs"]
    for key in arguments:
        if key not in accepted:
            near = "learning_rate" if key == "lr" else nearest_match(key, accepted)
            raise DataError(
                f"training.optimizer.{matches[0]}: there is no argument '{key}'"
                + (f" (did you mean '{near}'?)" if near else ""),
                hint="Arguments: " + ", ".join(accepted),
            )
    rate = arguments.get("learning_rate")
    if isinstance(rate, (int, float)) and not isinstance(rate, bool):
        if rate <= 0:
            raise DataError(f"training.optimizer.{matches[0]}.learning_rate: must be above 0, got {rate}")
        arguments = {**arguments, "learning_rate": float(rate)}  # Keras refuses 1 where it takes 1.0
    try:
        return known[matches[0]](**arguments)
    except (TypeError, ValueError) as cause:
        raise DataError(f"training.optimizer.{matches[0]}: {str(cause).splitlines()[0]}") from cause
