"""A Keras model as a list of steps whose weights can be changed, and back.

Batch normalisation, activations inside of layers and nested models are taken apart, so that a rewriting sees one
kind of each: a weighted layer gives ``kernel * x + bias`` and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from reidfw_quantizers._keras.layers import ChannelClip

Array = NDArray[np.float64]

Kind = Literal["weighted", "norm", "relu", "leaky", "channelwise", "padding", "add", "gate", "other"]
"""What a rewriting may do with a step:

- weighted: convolution, depthwise convolution or dense layer without activation;
- norm: batch normalisation;
- relu: ``min(max(x, 0), ceiling)``;
- leaky: ``x`` from zero on, ``slope * x`` below;
- channelwise: each channel by itself, scales with it, and adds a constant to the result where one is added to it
  (pooling, cropping, dropout in inference); zero bounds stay bounds;
- padding: the same, but zeros join the image;
- add: the sum of values of one shape;
- gate: the first value times a broadcast second one;
- other: anything else; its inputs and outputs must stay as they are.
"""

_WEIGHTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
_CHANNELWISE = (
    keras.layers.AveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Cropping2D,
    keras.layers.UpSampling2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.Identity,
)


@dataclass(slots=True, kw_only=True)
class Step:
    """One operation of a network.

    Attributes:
        name: of the layer in the rewritten model.
        kind: see :data:`Kind`.
        operation: the Keras layer or operation behind it.
        args, kwargs: of its call, with symbolic tensors.
        inputs, outputs: numbers of the values read and written.
        channels: size of the output's last axis, 0 where there is none.
        kernel: of a weighted step: (h, w, in, out), (h, w, channels, multiplier) or (in, out).
        bias: of a weighted step: (out,).
        mean: expected value of its output, where batch normalisation told: (out,).
        ceiling: of a ReLU: infinity, or one value a channel (C,).
        slopes: of a leaky ReLU: the lowest and the highest one of each channel, (2, C) or (2, 1).
    """

    name: str
    kind: Kind
    operation: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: list[int]
    outputs: list[int]
    channels: int
    kernel: Array = field(default_factory=lambda: np.zeros(0))
    bias: Array = field(default_factory=lambda: np.zeros(0))
    mean: Array | None = None
    ceiling: Array = field(default_factory=lambda: np.array(np.inf))
    slopes: Array = field(default_factory=lambda: np.zeros((2, 1)))

    @property
    def is_depthwise(self) -> bool:
        """Whether each output channel reads a single input channel."""
        return isinstance(self.operation, keras.layers.DepthwiseConv2D)

    @property
    def sees_padding(self) -> bool:
        """Whether zeros around the image are among the inputs of a weighted step."""
        return self.kernel.ndim == 4 and self.operation.padding != "valid" and self.kernel.shape[:2] != (1, 1)

    def by_output(self) -> Array:
        """The kernel as (weights of one channel, output channels)."""
        return np.asarray(self.kernel.reshape(-1, self.bias.size))

    def by_input(self) -> Array:
        """The kernel as (input channels, weights that read it)."""
        channels: Array = np.moveaxis(self.kernel, -2, 0)
        return channels.reshape(self.kernel.shape[-2], -1)

    def scale_output(self, factors: Array) -> None:
        """Multiplies what the step gives by one factor a channel."""
        self.kernel = (self.by_output() * factors).reshape(self.kernel.shape)
        self.bias = self.bias * factors
        if self.mean is not None:
            self.mean = self.mean * factors

    def scale_input(self, factors: Array) -> None:
        """Multiplies the weights that read channel ``k`` by ``factors[k]``."""
        self.kernel = self.kernel * factors[:, np.newaxis]  # the axis before the last one in all three layouts

    def response(self, constant: Array) -> Array:
        """What the step adds to its output where ``constant`` (one value a channel) is added to its input."""
        if self.is_depthwise:
            return np.asarray((self.kernel.sum((0, 1)) * constant[:, np.newaxis]).reshape(-1))
        taps = self.kernel.reshape(-1, *self.kernel.shape[-2:]).sum(0)
        return np.asarray(constant @ taps)


@dataclass(slots=True, kw_only=True)
class Network:
    """The steps of a model in the order of execution.

    Attributes:
        name: of the model.
        image: its input layer's tensor.
        steps: the operations.
        source, sink: numbers of the value that comes in and of the one that goes out.
    """

    name: str
    image: Any
    steps: list[Step]
    source: int
    sink: int

    def readers(self, value: int) -> list[Step]:
        """The steps that read a value."""
        return [step for step in self.steps if value in step.inputs]

    def maker(self, value: int) -> Step | None:
        """The step that gives a value; None for the image."""
        return next((step for step in self.steps if value in step.outputs), None)

    def bypass(self, step: Step) -> None:
        """Removes a step with one input and one output; who read its output reads its input."""
        given, gone = step.inputs[0], step.outputs[0]
        self.steps.remove(step)
        for other in self.steps:
            other.inputs = [given if value == gone else value for value in other.inputs]
        self.sink = given if self.sink == gone else self.sink


def read_network(model: keras.Model) -> Network:
    """Takes a functional model apart; its layers are not changed.

    Args:
        model: from one image to one vector.
    """
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def watch(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Model) and hasattr(operation, "outputs"):
            nested = keras.models.clone_model(
                _functional(operation), input_tensors=args[0], clone_function=lambda layer: layer, call_function=watch
            )
            return nested.output
        result = operation(*args, **kwargs)
        calls.append((operation, args, kwargs, result))
        return result

    model = _functional(model)
    image = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype, name=model.inputs[0].name)
    traced = keras.models.clone_model(
        model, input_tensors=_like(model.input, image), clone_function=lambda layer: layer, call_function=watch
    )
    numbers = {id(image): 0}
    uses = Counter(id(operation) for operation, *_ in calls)
    steps: list[Step] = []
    for operation, args, kwargs, result in calls:
        inputs = [numbers[id(tensor)] for tensor in _tensors((args, kwargs))]
        outputs = [numbers.setdefault(id(tensor), len(numbers)) for tensor in _tensors(result)]
        steps += _taken_apart(operation, args, kwargs, inputs, outputs, result, shared=uses[id(operation)] > 1)
    # values between a layer and its split activation get numbers behind those of the model
    fresh = iter(range(len(numbers), len(numbers) + len(steps)))
    for step, following in pairwise(steps):
        if step.outputs == [-1]:
            step.outputs = following.inputs = [next(fresh)]
    return Network(name=model.name, image=image, steps=steps, source=0, sink=numbers[id(traced.outputs[0])])


def build_model(
    network: Network,
    *,
    wrap: Callable[[keras.layers.Layer], keras.layers.Layer] = lambda layer: layer,
    mark: Callable[[Step | None, Any], Any] = lambda _, value: value,
) -> keras.Model:
    """The Keras model of a network; layers without changed weights are shared with the model it was read from.

    Args:
        network: the steps.
        wrap: gets each new weighted layer, and gives the one to call in its place.
        mark: gets each step with the symbolic tensor of its (first) output, None with the image, and gives the tensor
            that the following steps read.
    """
    values = {network.source: mark(None, network.image)}
    taken: Counter[str] = Counter()
    for step in network.steps:
        taken[step.name] += 1
        name = step.name if taken[step.name] == 1 else f"{step.name}_{taken[step.name]}"
        given = [values[number] for number in step.inputs]
        if step.kind == "weighted":
            result = _weighted(step, name, given[0], wrap)
        elif step.kind == "relu":
            result = _relu(step, name, given[0])
        else:
            remaining = iter(given)
            args, kwargs = _map_tensors(lambda _, rest=remaining: next(rest), (step.args, step.kwargs))
            result = step.operation(*args, **kwargs)
        first, *others = _tensors(result)
        values.update(zip(step.outputs, [mark(step, first), *others], strict=True))
    return keras.Model(network.image, values[network.sink], name=network.name)


def _functional(model: keras.Model) -> keras.Model:
    """The same layers as a functional model; a Sequential one cannot be watched."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def _taken_apart(
    operation: Any, args: Any, kwargs: Any, inputs: list[int], outputs: list[int], result: Any, *, shared: bool
) -> list[Step]:
    shape = getattr(result, "shape", ())
    common = {"operation": operation, "args": args, "kwargs": kwargs, "channels": int(shape[-1] or 0) if shape else 0}
    if not shared and type(operation) is keras.layers.SeparableConv2D and operation.data_format == "channels_last":
        return _separated(operation, common, inputs, outputs, result)
    if shared or type(operation) not in _WEIGHTED or not _is_plain(operation):
        kind, ceiling = _kind(operation, args)
        if shared and kind in ("norm", "relu"):
            kind = "other"
        step = Step(name=operation.name, kind=kind, inputs=inputs, outputs=outputs, **common)
        step.ceiling = ceiling
        if kind == "leaky":
            step.slopes = _slopes(operation)
        return [step]
    kernel, *bias = (np.asarray(weight, np.float64) for weight in operation.get_weights())
    weighted = Step(name=operation.name, kind="weighted", inputs=inputs, outputs=outputs, **common)
    weighted.kernel, weighted.bias = kernel, bias[0] if bias else np.zeros(weighted.channels)
    return [weighted, *_activation_behind(weighted, result)]


def _separated(
    operation: Any, common: dict[str, Any], inputs: list[int], outputs: list[int], result: Any
) -> list[Step]:
    """A separable convolution as what it is: a depthwise one and a pointwise one."""
    depthwise_kernel, pointwise_kernel, *bias = (np.asarray(weight, np.float64) for weight in operation.get_weights())
    given = depthwise_kernel.shape[-2] * depthwise_kernel.shape[-1]
    first = keras.layers.DepthwiseConv2D(
        operation.kernel_size,
        strides=operation.strides,
        padding=operation.padding,
        depth_multiplier=operation.depth_multiplier,
        dilation_rate=operation.dilation_rate,
        name=f"{operation.name}_depthwise",
    )
    second = keras.layers.Conv2D(operation.filters, 1, activation=operation.activation, name=operation.name)
    depthwise = Step(
        **{**common, "operation": first, "channels": given},
        name=first.name,
        kind="weighted",
        inputs=inputs,
        outputs=[-1],
        kernel=depthwise_kernel,
        bias=np.zeros(given),
    )
    pointwise = Step(
        **{**common, "operation": second},
        name=second.name,
        kind="weighted",
        inputs=[-1],
        outputs=outputs,
        kernel=pointwise_kernel,
        bias=bias[0] if bias else np.zeros(common["channels"]),
    )
    return [depthwise, pointwise, *_activation_behind(pointwise, result)]


def _activation_behind(weighted: Step, result: Any) -> list[Step]:
    """The activation inside of a weighted layer, taken out as a step of its own; none where it has none."""
    layer = weighted.operation
    if layer.activation is keras.activations.linear:
        return []
    activation = keras.layers.Activation(layer.activation, name=f"{layer.name}_activation")
    kind, ceiling = _kind(activation, (result,))
    after = Step(
        name=activation.name,
        kind=kind,
        operation=activation,
        args=(result,),
        inputs=[-1],
        outputs=weighted.outputs,
        channels=weighted.channels,
        ceiling=ceiling,
    )
    weighted.outputs = [-1]
    return [after]


def _is_plain(layer: Any) -> bool:
    """Whether a weighted layer has the usual layout of its channels, and nothing beside kernel and bias."""
    is_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return is_last and getattr(layer, "groups", 1) == 1 and len(layer.get_weights()) == 1 + bool(layer.use_bias)


def _kind(operation: Any, args: Any) -> tuple[Kind, Array]:
    unlimited = np.array(np.inf)
    if getattr(operation, "data_format", "channels_last") != "channels_last":
        return "other", unlimited
    if type(operation) is keras.layers.BatchNormalization:
        return ("norm" if operation.axis in (-1, len(args[0].shape) - 1) else "other"), unlimited
    if type(operation) is keras.layers.ReLU and not operation.threshold and not operation.negative_slope:
        return "relu", np.array(np.inf if operation.max_value is None else float(operation.max_value))
    if _function(operation) in ("Relu", "Relu6"):
        return "relu", np.array(6.0 if _function(operation) == "Relu6" else np.inf)
    if _is_leaky(operation):
        return "leaky", unlimited
    if type(operation) is keras.layers.Activation:
        if operation.activation in (keras.activations.relu, keras.activations.relu6):
            return "relu", np.array(6.0 if operation.activation is keras.activations.relu6 else np.inf)
        return ("channelwise" if operation.activation is keras.activations.linear else "other"), unlimited
    if type(operation) in _CHANNELWISE:
        is_bilinear = getattr(operation, "interpolation", "nearest") != "nearest"
        return ("other" if is_bilinear else "channelwise"), unlimited
    if type(operation) is keras.layers.ZeroPadding2D:
        return "padding", unlimited
    tensors = _tensors(args)
    if type(operation) is keras.layers.Add:
        same = all(tuple(tensor.shape) == tuple(tensors[0].shape) for tensor in tensors)
        return ("add" if same else "other"), unlimited
    if type(operation) is keras.layers.Multiply and len(tensors) == 2:
        return ("gate" if tensors[0].shape[-1] == tensors[1].shape[-1] else "other"), unlimited
    return "other", unlimited


def _function(operation: Any) -> str:
    """``Relu`` of ``keras.ops.relu``, whose class has no public name; nothing for a layer."""
    is_function = isinstance(operation, keras.Operation) and not isinstance(operation, keras.layers.Layer)
    return type(operation).__name__ if is_function and type(operation).__module__.startswith("keras.") else ""


def _is_leaky(operation: Any) -> bool:
    if type(operation) is keras.layers.ReLU:
        return operation.max_value is None and not operation.threshold
    return type(operation) in (keras.layers.LeakyReLU, keras.layers.PReLU) or _function(operation) == "LeakyRelu"


def _slopes(operation: Any) -> Array:
    """The lowest and the highest slope below zero of each channel, (2, C) or (2, 1)."""
    if type(operation) is keras.layers.PReLU:
        slopes = np.asarray(operation.alpha, np.float64).reshape(-1, operation.alpha.shape[-1])
    else:
        slopes = np.full((1, 1), float(operation.negative_slope))
    return np.stack([slopes.min(0), slopes.max(0)])


def _weighted(step: Step, name: str, given: Any, wrap: Callable[[keras.layers.Layer], keras.layers.Layer]) -> Any:
    layer = type(step.operation).from_config(
        {**step.operation.get_config(), "name": name, "use_bias": True, "activation": "linear"}
    )
    result = wrap(layer)(given)
    layer.set_weights([step.kernel.astype(np.float32), step.bias.astype(np.float32)])
    return result


def _relu(step: Step, name: str, given: Any) -> Any:
    """ReLU with the highest of the ceilings, and only where they differ a limit for each channel behind it."""
    highest = float(np.float32(np.max(step.ceiling)))  # beside 6 by a rounding error it would be no ReLU6 any more
    result = keras.layers.ReLU(None if np.isinf(highest) else highest, name=name)(given)
    if np.all(np.float32(step.ceiling) == highest):
        return result
    return ChannelClip(np.broadcast_to(step.ceiling, step.channels).tolist(), name=f"{name}_clip")(result)


def _tensors(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def _map_tensors(function: Any, structure: Any) -> Any:
    return keras.tree.map_structure(
        lambda leaf: function(leaf) if isinstance(leaf, keras.KerasTensor) else leaf, structure
    )


def _like(structure: Any, tensor: Any) -> Any:
    """The tensor in the structure of a model's input: alone, in a list or under a name."""
    return keras.tree.map_structure(lambda _: tensor, structure)
