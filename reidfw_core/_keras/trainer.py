"""The training step: several weighted losses over one network, in Keras's own ``fit`` loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf

from reidfw_core._keras.batch_norm import fuse_batch_norm
from reidfw_core._keras.network import ReidNetwork
from reidfw_core._keras.precision import in_precision
from reidfw_core._keras.statistics import batch_norm_layers


@dataclass(frozen=True)
class LossTerm:
    """One weighted term of the training loss.

    Attributes:
        name: what logs and curves call it.
        weight: its factor in the sum.
        consumes: the output that it is computed from.
        cosine_scale: what logits are divided by to get cosines.
        function: ``function(identities, outputs)`` to a scalar.
    """

    name: str
    weight: float
    consumes: Literal["embeddings", "logits", "probabilities", "cosines"]
    function: Callable[[Any, Any], Any]
    cosine_scale: float = 1.0

    def value(self, identities: Any, embeddings: Any, logits: Any, *, training: bool = True) -> Any:
        """The unweighted scalar for one batch; ``training`` is told to losses that are layers and want to know."""
        if self.consumes == "embeddings":
            outputs = embeddings
        elif self.consumes == "cosines":
            outputs = tf.cast(logits, tf.float32) / self.cosine_scale
        else:
            outputs = logits if self.consumes == "logits" else tf.nn.softmax(logits)
        extra = {"training": training} if self._knows_training else {}
        return tf.cast(self.function(identities, tf.cast(outputs, tf.float32), **extra), tf.float32)

    @property
    def _knows_training(self) -> bool:
        layer: Any = self.function
        return isinstance(layer, keras.layers.Layer) and "training" in inspect.signature(layer.call).parameters


@dataclass(frozen=True)
class Sharpness:
    """Sharpness-aware minimisation.

    Attributes:
        radius: length of the step uphill in weight space; 0 switches it off.
        batch_share: share of the batch, from its beginning, that tells the direction uphill, in (0, 1].
    """

    radius: float = 0.0
    batch_share: float = 1.0


@contextmanager
def _frozen_statistics(layers: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 1.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def loss_values(
    terms: Sequence[LossTerm], identities: Any, embeddings: Any, logits: Any, *, training: bool = True
) -> tuple[Any, dict[str, Any]]:
    """The weighted sum of all terms, and each of them unweighted by its name."""
    values = {term.name: term.value(identities, embeddings, logits, training=training) for term in terms}
    return tf.add_n([term.weight * values[term.name] for term in terms]), values


class ReidTrainer(keras.Model):
    """Trains a :class:`~reidfw_core._keras.network.ReidNetwork`; metrics are loss, each term, and accuracy.

    Args:
        network: the network. In float32 its layers are trained in place; otherwise a twin of it is, and the network
            gets the twin's weights inside :meth:`averaged_weights`.
        terms: the losses.
        average_momentum: share of the old average that each step keeps in the exponential moving average of all
            weights and batch normalization statistics; 0 switches averaging off.
        sharpness: settings of sharpness-aware minimisation.
        precision: ``float32``, ``mixed_bfloat16`` or ``mixed_float16``.

    Source: P. Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021, algorithm 1;
    J. Du et al., "Efficient Sharpness-aware Minimization", 2022, for taking the ascent from a part of the batch.
    """

    def __init__(
        self,
        network: ReidNetwork,
        terms: Sequence[LossTerm],
        average_momentum: float = 0.0,
        sharpness: Sharpness | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(name="reid_trainer")
        # Inside a function Keras does not see them: they would count as variables of the trainer, without gradients.
        published = network.training.variables
        self._published: Callable[[], list[Any]] = lambda: published
        self._in_place = precision == "float32"
        self.network = network.training if self._in_place else in_precision(network.training, precision)
        fuse_batch_norm(self.network)
        self.terms = tuple(terms)
        self.term_layers = [term.function for term in terms if isinstance(term.function, keras.layers.Layer)]
        self._build_terms(network)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("loss", *(term.name for term in terms))}
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self._sharpness = sharpness or Sharpness()
        self._normalizations = batch_norm_layers(self.network)
        self._momentum = average_momentum
        self._averaged = [v for v in self.network.variables if v.dtype == "float32"] if average_momentum else []
        same = tf.VariableAggregation.MEAN  # all devices have the same values; one must be named
        self._averages = [tf.Variable(v.value, trainable=False, aggregation=same) for v in self._averaged]
        self._steps = tf.Variable(0.0, trainable=False, aggregation=same)

    def _build_terms(self, network: ReidNetwork) -> None:
        # Losses with weights get them now and not in the first step: the optimizer, and a resumed state, need them.
        widths = {"embeddings": int(self.network.outputs[0].shape[-1])}
        for term in self.terms:
            if isinstance(term.function, keras.layers.Layer) and not term.function.built:
                width = widths.get(term.consumes, network.num_identities)
                term.function(keras.KerasTensor((None,), "int64"), keras.KerasTensor((None, width), "float32"))

    @property
    def steps_done(self) -> int:
        """Batches that this training has seen, those before an interruption included."""
        return int(self._steps.numpy())

    @property
    def published_variables(self) -> list[Any]:
        """The variables of the network that is validated and saved."""
        return list(self._published())

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The network has its averaged weights inside the block (its own, where they are not averaged).

        After the block a network that is trained in place has its own weights again.
        """
        averages = {id(v): average for v, average in zip(self._averaged, self._averages, strict=True)}
        values = [averages.get(id(variable), variable).numpy() for variable in self.network.variables]
        own = [variable.numpy() for variable in self._published()] if self._in_place else []
        for variable, value in zip(self._published(), values, strict=True):
            variable.assign(value)
        try:
            yield
        finally:
            if self._in_place:
                for variable, value in zip(self._published(), own, strict=True):
                    variable.assign(value)

    def state_arrays(self) -> dict[str, list[Any]]:
        """All that a step changes, by group: network, averages, their step count, losses, optimizer."""
        return {name: [variable.numpy() for variable in items] for name, items in self._state_variables().items()}

    def restore(self, arrays: Mapping[str, Sequence[Any]]) -> None:
        """Sets everything to what :meth:`state_arrays` gave; the trainer must be compiled.

        Raises:
            ValueError: the state belongs to another network, optimizer or losses.
        """
        for name, variables in self._state_variables().items():
            given = arrays.get(name, ())
            shapes = [tuple(value.shape) for value in given], [tuple(variable.shape) for variable in variables]
            if shapes[0] != shapes[1]:
                raise ValueError(f"the saved {name} has {len(given)} tensors, this training's has {len(variables)}")
            for variable, value in zip(variables, given, strict=True):
                variable.assign(value)

    def build_optimizer(self) -> None:
        """Makes the optimizer's variables; in the first step it would be too late for several devices."""
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def _state_variables(self) -> dict[str, list[Any]]:
        self.build_optimizer()
        return {
            "network": list(self.network.variables),
            "averages": list(self._averages),
            "steps": [self._steps],
            "losses": [variable for layer in self.term_layers for variable in layer.variables],
            "optimizer": list(self.optimizer.variables),
        }

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All trackers; Keras resets them at each epoch."""
        return [*self.trackers.values(), self.accuracy]

    def call(self, images: Any, training: bool = False) -> Any:
        """Embedding (B, D) and logits (B, I) of a batch."""
        return self.network(images, training=training)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # All parts are built already. Keras would look at a batch first, which it cannot where several computers share
        # it; it has no public way to say so.
        del iterator, data_batch

    def train_step(self, data: tuple[Any, ...]) -> Mapping[str, Any]:
        """One optimizer step on a batch of images (B, H, W, C) and identities (B,)."""
        images, identities, _ = keras.utils.unpack_x_y_sample_weight(data)
        perturbation = self._ascend(images, identities)
        # Batch normalization statistics come from the pass with the weights that are kept, not the perturbed ones.
        with _frozen_statistics(self._normalizations if perturbation else ()):
            gradients, total, values, logits = self._differentiate(images, identities)
        self._move(perturbation, -1.0)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self._follow_average()
        self.trackers["loss"].update_state(total)
        for name, value in values.items():
            self.trackers[name].update_state(value)
        self.accuracy.update_state(identities, logits)
        results = {metric.name: metric.result() for metric in self.metrics}
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            results = {name: tf.reshape(value, (1,)) for name, value in results.items()}  # Keras averages their rows
        return results

    def _differentiate(self, images: Any, identities: Any) -> tuple[list[Any], Any, dict[str, Any], Any]:
        # Gradients of several devices are summed by the optimizer: each gives its share of the mean.
        share = 1.0 / tf.distribute.get_strategy().num_replicas_in_sync
        with tf.GradientTape() as tape:
            embeddings, logits = self.network(images, training=True)
            total, values = loss_values(self.terms, identities, embeddings, logits)
            if self.network.losses:
                total += tf.add_n(self.network.losses)
            scaled = self.optimizer.scale_loss(total * share)
        return tape.gradient(scaled, self.trainable_variables), total, values, logits

    def _ascend(self, images: Any, identities: Any) -> list[Any]:
        # Moves the weights uphill by `sharpness.radius`, where the step's gradient is then taken. A part of the batch
        # tells the direction well enough.
        if not self._sharpness.radius:
            return []
        part = max(1, round(images.shape[0] * self._sharpness.batch_share)) if images.shape[0] else None
        gradients, *_ = self._differentiate(images[:part], identities[:part])
        norm = tf.maximum(tf.linalg.global_norm(gradients), 1e-12)
        perturbation = [
            tf.zeros_like(variable.value) if gradient is None else gradient * (self._sharpness.radius / norm)
            for gradient, variable in zip(gradients, self.trainable_variables, strict=True)
        ]
        self._move(perturbation, 1.0)
        return perturbation

    def _move(self, perturbation: Sequence[Any], sign: float) -> None:
        if perturbation:
            for step, variable in zip(perturbation, self.trainable_variables, strict=True):
                variable.assign_add(sign * step)

    def _follow_average(self) -> None:
        # The average forgets its random start quickly: its momentum grows with the steps up to the one asked for.
        self._steps.assign_add(1.0)
        keep = tf.minimum(self._momentum, (1.0 + self._steps) / (10.0 + self._steps))
        for variable, average in zip(self._averaged, self._averages, strict=True):
            average.assign_add((1.0 - keep) * (variable.value - average))  # frozen weights stay exactly as they are
