"""A float model that computes as its integer form will, and that can be trained.

Weights and activations are rounded to the grid of their 8-bit integers and go on as floats. Rounding has no useful
gradient: it is passed on as if nothing had been rounded (straight-through), and activations outside of their range
pass none on.

Batch normalisation is folded before training, as the white paper recommends: what is trained are the weights that the
integer model has. The scale of weights follows from the largest one, in each step anew, which is the rule of the
converters: they find the same integers. Ranges of activations begin with those of the calibration images and follow
the batches as a moving average.

Sources: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
2018 (arXiv 1712.05877), section 3; M. Nagel, M. Fournarakis et al., A White Paper on Neural Network Quantization, 2021
(arXiv 2106.08295), section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reidfw_core.api import CalibrationSet, DataError
from reidfw_quantizers._keras.equalisation import fold_batch_norms
from reidfw_quantizers._keras.graph import Network, Step, build_model, read_network
from reidfw_quantizers.calibration import checked_images
from reidfw_quantizers.params import Granularity
from reidfw_quantizers.ranges import ActivationRanges, Range

RANGE_MOMENTUM = 0.95
"""Share of its old value that the range of an activation keeps in each training step."""

BATCH = 16
"""Calibration images that are looked at together."""

_LARGEST_WEIGHT = 127

_FIXED_RANGES: dict[Callable[..., Any], Range] = {
    keras.activations.sigmoid: (0.0, 255 / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
}
"""Integer kernels give the results of these functions a range that does not depend on the data."""

_ROUNDING = (
    keras.layers.Activation,
    keras.layers.PReLU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Add,
    keras.layers.Multiply,
    keras.layers.Concatenate,
)
"""Layers, beside those with a kind of their own, whose result has a range of its own in the integer model. Others only
move values, or are taken apart by the converter; ranges inside of these are the converter's."""


@keras.saving.register_keras_serializable(package="reidfw_quantizers")
class RoundedWeights(keras.layers.Wrapper):  # type: ignore[misc]  # Keras has no types
    """A convolution or dense layer that computes with weights rounded to symmetric 8-bit integers.

    Args:
        layer: the layer; its ``kernel`` keeps its full precision and is what training changes.
        per_channel: one scale for each output channel, or one for the whole kernel.
    """

    def __init__(self, layer: keras.layers.Layer, per_channel: bool, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.per_channel = per_channel

    def call(self, values: Any) -> Any:
        """What the layer gives."""
        rounded = self.rounded_kernel()
        trainable, others = (
            [rounded if variable is self.layer.kernel else variable for variable in variables]
            for variables in (self.layer.trainable_variables, self.layer.non_trainable_variables)
        )
        result, _ = self.layer.stateless_call(trainable, others, values)
        return result

    def rounded_kernel(self) -> Any:
        """The kernel on its grid; its gradient is the kernel's."""
        kernel = tf.convert_to_tensor(self.layer.kernel)
        axes = None
        if self.per_channel:
            is_depthwise = isinstance(self.layer, keras.layers.DepthwiseConv2D)
            axes = (0, 1) if is_depthwise else tuple(range(len(kernel.shape) - 1))
        scale = tf.reduce_max(tf.abs(kernel), axes, keepdims=True) / _LARGEST_WEIGHT
        on_grid = tf.round(tf.math.divide_no_nan(kernel, scale)) * scale
        return kernel + tf.stop_gradient(on_grid - kernel)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        """That of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments of this layer."""
        return {**super().get_config(), "per_channel": self.per_channel}


@keras.saving.register_keras_serializable(package="reidfw_quantizers")
class RoundedValues(keras.layers.Layer):  # type: ignore[misc]
    """Rounds activations to the grid of asymmetric 8-bit integers.

    Args:
        source: name of the layer whose output this is, empty for the image.
        low, high: range at the beginning; zero is in it.
        follows: whether the range follows the batches of a training.
    """

    def __init__(self, source: str, low: float, high: float, follows: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source, self.follows = source, follows
        self._begins = float(low), float(high)
        self.low, self.high = (
            self.add_weight(name=name, shape=(), initializer=keras.initializers.Constant(value), trainable=False)
            for name, value in (("low", low), ("high", high))
        )

    def call(self, values: Any, training: bool | None = None) -> Any:
        """Values of any shape, rounded and limited to the range."""
        if training and self.follows:
            for variable, found in (
                (self.low, tf.minimum(tf.reduce_min(values), 0.0)),
                (self.high, tf.maximum(tf.reduce_max(values), 0.0)),
            ):
                variable.assign(RANGE_MOMENTUM * variable + (1 - RANGE_MOMENTUM) * found)
        return tf.quantization.fake_quant_with_min_max_vars(
            values, tf.convert_to_tensor(self.low), tf.convert_to_tensor(self.high)
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of this layer."""
        low, high = self._begins
        return {**super().get_config(), "source": self.source, "low": low, "high": high, "follows": self.follows}


def with_fake_quantization(model: keras.Model, calibration: CalibrationSet, granularity: Granularity) -> keras.Model:
    """The trainable model that computes as the integer form of ``model`` will.

    Args:
        model: functional, float, from one image to one vector; its layers are not changed.
        calibration: images that the ranges of activations begin with.
        granularity: one weight scale a channel, or one a layer.

    Raises:
        DataError: no or unfit calibration images, or no layer whose weights can be rounded.
    """
    network = read_network(model)
    for step in [step for step in network.steps if type(step.operation) is keras.layers.Identity]:
        network.bypass(step)  # what an earlier training left
    fold_batch_norms(network)
    if not any(step.kind == "weighted" for step in network.steps):
        raise DataError(
            f"{model.name} has no convolution or dense layer that can be trained with rounded weights",
            hint="Set quantization_type: PTQ.",
        )
    ranges = _measure_ranges(network, calibration)

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        return RoundedWeights(layer, granularity == "per_channel", name=layer.name)

    def mark(step: Step | None, value: Any) -> Any:
        if not _has_range(network, step):
            return value
        source = "" if step is None else _maker_name(value)
        is_function = step is not None and type(step.operation) is keras.layers.Activation
        fixed = _FIXED_RANGES.get(step.operation.activation) if is_function else None
        low, high = fixed or ranges[source]
        follows = step is not None and fixed is None
        return RoundedValues(source, low, high, follows, name=f"{source or 'image'}_range")(value)

    return build_model(network, wrap=wrap, mark=mark)


def is_fake_quantized(model: keras.Model) -> bool:
    """Whether a model was made by :func:`with_fake_quantization`."""
    return any(isinstance(layer, RoundedValues) for layer in model.layers)


def trained_granularity(model: keras.Model) -> Granularity:
    """How many scales the weights of a model made by :func:`with_fake_quantization` have."""
    by_channel = any(layer.per_channel for layer in model.layers if isinstance(layer, RoundedWeights))
    return "per_channel" if by_channel else "per_tensor"


def trained_ranges(model: keras.Model) -> ActivationRanges:
    """The ranges that a model made by :func:`with_fake_quantization` has now.

    Layers are named as in the model that :func:`without_fake_quantization` gives.
    """
    found = {
        _unnumbered(layer.source): (float(layer.low.numpy()), float(layer.high.numpy()))
        for layer in model.layers
        if isinstance(layer, RoundedValues)
    }
    last = model.get_layer(_maker_name(model.outputs[0]))
    output = found.pop(_unnumbered(last.source)) if isinstance(last, RoundedValues) else None
    return ActivationRanges(image=found.pop(""), output=output, layers=found)


def without_fake_quantization(model: keras.Model, *, keep_ranges: bool = False) -> keras.Model:
    """The float model with the trained weights.

    No layer's name ends in a number: TensorFlow adds numbers to names when a model is converted, and ``relu_1`` would
    be ``relu`` or ``relu_1``.

    Args:
        model: made by :func:`with_fake_quantization`.
        keep_ranges: whether activations are still rounded.
    """

    def plain(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, RoundedValues) and not keep_ranges:
            return keras.layers.Identity(name=layer.name)
        copied = layer.layer if isinstance(layer, RoundedWeights) else layer
        return type(copied).from_config({**copied.get_config(), "name": _unnumbered(copied.name)})

    result = keras.models.clone_model(model, clone_function=plain)
    for own, given in zip(result.layers, model.layers, strict=True):
        if own.weights:
            own.set_weights(given.get_weights())
    return result


def _unnumbered(name: str) -> str:
    return f"{name}_" if re.search(r"_\d+$", name) else name


def _measure_ranges(network: Network, calibration: CalibrationSet) -> dict[str, Range]:
    """Ranges of the float model: of the image its extremes, of activations the averages of those of small batches."""
    watched: dict[str, Any] = {}

    def mark(step: Step | None, value: Any) -> Any:
        if _has_range(network, step):
            watched["" if step is None else _maker_name(value)] = value
        return value

    model = build_model(network, mark=mark)
    watching = keras.Model(model.inputs, list(watched.values()))
    extremes = tf.function(
        lambda images: [(tf.reduce_min(values), tf.reduce_max(values)) for values in watching(images, training=False)],
        reduce_retracing=True,
    )
    shape = tuple(model.inputs[0].shape[1:])
    found = np.array([extremes(batch) for batch in _batches(checked_images(calibration, shape))], np.float64)
    lows, highs = np.minimum(found[:, :, 0], 0), np.maximum(found[:, :, 1], 0)
    ranges = dict(zip(watched, zip(lows.mean(0).tolist(), highs.mean(0).tolist(), strict=True), strict=True))
    ranges[""] = float(lows[:, 0].min()), float(highs[:, 0].max())
    return ranges


def _batches(images: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    batch: list[np.ndarray] = []
    for image in images:
        batch.append(image)
        if len(batch) == BATCH:
            yield np.concatenate(batch)
            batch = []
    if batch:
        yield np.concatenate(batch)


def _has_range(network: Network, step: Step | None) -> bool:
    """Whether the integer model rounds the output of a step to a range of its own; None stands for the image."""
    if step is None:
        return True
    value = step.outputs[0]
    readers = network.readers(value)
    if step.kind in ("weighted", "add", "gate"):
        # a ReLU behind it is part of the same integer operator
        return value == network.sink or [reader.kind for reader in readers] != ["relu"]
    return step.kind in ("relu", "norm") or type(step.operation) in _ROUNDING


def _maker_name(value: Any) -> str:
    """Name of the layer that gives a symbolic tensor (Keras tells it in no public way)."""
    return str(value._keras_history.operation.name)
