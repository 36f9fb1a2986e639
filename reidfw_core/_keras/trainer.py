"""The training step: several weighted losses over one network, in Keras's own ``fit`` loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf

from reidfw_core._keras.network import ReidNetwork


@dataclass(frozen=True)
class LossTerm:
    """One weighted term of the training loss.

    Attributes:
        name: what logs and curves call it.
        weight: its factor in the sum.
        consumes: the output that it is computed from.
        function: ``function(identities, outputs)`` to a scalar.
    """

    name: str
    weight: float
    consumes: Literal["embeddings", "logits", "probabilities"]
    function: Callable[[Any, Any], Any]

    def value(self, identities: Any, embeddings: Any, logits: Any) -> Any:
        """The unweighted scalar for one batch."""
        outputs = {"embeddings": embeddings, "logits": logits}.get(self.consumes)
        if outputs is None:
            outputs = tf.nn.softmax(logits)
        return tf.cast(self.function(identities, tf.cast(outputs, tf.float32)), tf.float32)


def loss_values(terms: Sequence[LossTerm], identities: Any, embeddings: Any, logits: Any) -> tuple[Any, dict[str, Any]]:
    """The weighted sum of all terms, and each of them unweighted by its name."""
    values = {term.name: term.value(identities, embeddings, logits) for term in terms}
    return tf.add_n([term.weight * values[term.name] for term in terms]), values


class ReidTrainer(keras.Model):
    """Trains a :class:`~reidfw_core._keras.network.ReidNetwork`; metrics are loss, each term, and accuracy.

    Args:
        network: the network; its layers are trained in place.
        terms: the losses.
    """

    def __init__(self, network: ReidNetwork, terms: Sequence[LossTerm]) -> None:
        super().__init__(name="reid_trainer")
        self.network = network.training
        self.terms = tuple(terms)
        self.term_layers = [term.function for term in terms if isinstance(term.function, keras.layers.Layer)]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("loss", *(term.name for term in terms))}
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All trackers; Keras resets them at each epoch."""
        return [*self.trackers.values(), self.accuracy]

    def call(self, images: Any, training: bool = False) -> Any:
        """Embedding (B, D) and logits (B, I) of a batch."""
        return self.network(images, training=training)

    def train_step(self, data: tuple[Any, Any]) -> Mapping[str, Any]:
        """One optimizer step on a batch of images (B, H, W, C) and identities (B,)."""
        images, identities = data
        with tf.GradientTape() as tape:
            embeddings, logits = self.network(images, training=True)
            total, values = loss_values(self.terms, identities, embeddings, logits)
            if self.network.losses:
                total += tf.add_n(self.network.losses)
            scaled = self.optimizer.scale_loss(total)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        self.trackers["loss"].update_state(total)
        for name, value in values.items():
            self.trackers[name].update_state(value)
        self.accuracy.update_state(identities, logits)
        return {metric.name: metric.result() for metric in self.metrics}
