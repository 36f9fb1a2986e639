"""Rewriting a float model so that one weight scale a layer loses less, without changing what it computes.

Sources: M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, Data-Free Quantization Through Weight Equalization and
Bias Correction, ICCV 2019 (arXiv 1906.04721), sections 4.1 and 4.1.3; M. Nagel, M. Fournarakis et al., A White Paper
on Neural Network Quantization, 2021 (arXiv 2106.08295), section 3.2.

Everything here is exact: ReLU6 keeps its meaning through a ceiling for each channel, and a bias is moved only where
interval arithmetic proves that no activation is cut off (the papers' three standard deviations only make it likely).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import numpy as np

from reidfw_quantizers._keras.graph import Array, Network, Step, build_model, read_network

DEAD = 1e-10
"""Weights of at most this size count as zero."""

MAX_PASSES = 1000
TOLERANCE = 1e-3
"""Passes end when no factor of a channel changes by more than this share."""

MAX_SCALE = 4.0
"""A channel is scaled by at most this factor from the median of its layer. A channel that is scaled down uses fewer
of the 256 activation values; beyond this, what the weights gain is lost there. On MobileNetV1 0.25 the embeddings'
signal-to-noise ratio is 7 dB at 1, 10 dB at 4 and 8 dB at 16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equalisation:
    """What was done to a model.

    Attributes:
        folded: batch normalisations folded into the layers before them.
        dead_channels: output channels whose weights were set to zero, since nothing depends on them.
        absorbed: channels whose bias was moved to the following layers.
        groups: sets of layers whose channels were scaled together.
        passes: passes until the scales stood still.
    """

    folded: int
    dead_channels: int
    absorbed: int
    groups: int
    passes: int


@dataclass(slots=True)
class _Group:
    """Values that must have the same scale in each channel, and the weighted steps at both ends."""

    steps: list[Step] = field(default_factory=list)
    makers: list[Step] = field(default_factory=list)
    readers: list[Step] = field(default_factory=list)
    values: set[int] = field(default_factory=set)


def equalise(model: keras.Model, max_scale: float = MAX_SCALE) -> tuple[keras.Model, Equalisation]:
    """Folds batch normalisation, cleans dead channels, absorbs biases and equalises weights across layers.

    Args:
        model: functional, from one image to one vector.
        max_scale: see :data:`MAX_SCALE`.

    Returns:
        A model with the same outputs up to float rounding, and what was done.
    """
    network = read_network(model)
    folded = fold_batch_norms(network)
    dead = clean_dead_channels(network)
    absorbed = absorb_biases(network)
    groups = _scalable_groups(network)
    passes = equalise_weights(groups, max_scale)
    done = Equalisation(folded=folded, dead_channels=dead, absorbed=absorbed, groups=len(groups), passes=passes)
    return build_model(network), done


def fold_batch_norms(network: Network) -> int:
    """Multiplies each batch normalisation into the weighted layer before it, where no one else reads that.

    Returns:
        How many were folded.
    """
    norms = [step for step in network.steps if step.kind == "norm"]
    count = 0
    for norm in norms:
        before = network.maker(norm.inputs[0])
        if before is None or before.kind != "weighted" or before.outputs[0] == network.sink:
            continue
        if len(network.readers(before.outputs[0])) > 1:
            continue
        layer = norm.operation
        gamma = np.asarray(layer.gamma, np.float64) if layer.scale else np.ones(norm.channels)
        beta = np.asarray(layer.beta, np.float64) if layer.center else np.zeros(norm.channels)
        factor = gamma / np.sqrt(np.asarray(layer.moving_variance, np.float64) + layer.epsilon)
        before.scale_output(factor)
        before.bias = before.bias + beta - np.asarray(layer.moving_mean, np.float64) * factor
        before.mean = beta
        network.bypass(norm)
        count += 1
    return count


def clean_dead_channels(network: Network) -> int:
    """Sets weights to zero that cannot change the output; otherwise they stretch the scale of their layer.

    A channel is dead where its weights are zero up to :data:`DEAD`, where the ReLU behind it is provably always zero,
    or where all layers that read it do so with zero weights.

    Returns:
        How many channels were newly set to zero.
    """
    bounds = value_bounds(network)
    count = 0
    for step in network.steps:
        if step.kind == "weighted":
            count += _silence(step, np.abs(step.by_output()).max(0) <= DEAD, keep_bias=True)
        elif step.kind == "relu":
            before = network.maker(step.inputs[0])
            if before is not None and before.kind == "weighted" and len(network.readers(step.inputs[0])) == 1:
                count += _silence(before, bounds[step.inputs[0]][1] <= 0, keep_bias=False)
    for group in _scalable_groups(network):
        unread = np.all([np.abs(step.by_input()).max(1) <= DEAD for step in group.readers], axis=0)
        for maker in group.makers:
            count += _silence(maker, unread, keep_bias=False)
    return count


def _silence(step: Step, channels: np.ndarray, *, keep_bias: bool) -> int:
    already = ~step.by_output().any(0) & (keep_bias | (step.bias == 0))
    changed = channels & ~already
    step.kernel = np.where(channels, 0.0, step.by_output()).reshape(step.kernel.shape)
    if not keep_bias:
        step.bias = np.where(channels, 0.0, step.bias)
    return int(changed.sum())


def absorb_biases(network: Network) -> int:
    """Moves constant parts of activations into the biases of the layers that read them.

    Between linear layers the whole mean moves, which centres the values that are quantized; behind a ReLU only what
    is provably below every value. Layers that see zeros around the image are left alone: the zeros do not move.

    Returns:
        From how many channels something was moved.
    """
    bounds = value_bounds(network)
    count = 0
    for group in _scalable_groups(network):
        kinds = {step.kind for step in group.steps}
        if kinds & {"padding", "gate"} or any(reader.sees_padding for reader in group.readers):
            continue
        limited = any(np.isfinite(step.ceiling).any() for step in group.steps if step.kind == "relu")
        if limited and len(group.makers) > 1:
            continue
        offsets: dict[int, Array] = {}
        for maker in group.makers:
            if kinds & {"relu", "leaky"}:  # neither changes what is above zero
                amount = np.maximum(bounds[maker.outputs[0]][0], 0.0)
            else:
                amount = np.zeros(maker.channels) if maker.mean is None else maker.mean
            for step in group.steps:
                if step.kind == "relu":
                    amount = np.where(amount < step.ceiling, amount, 0.0)
            offsets[maker.outputs[0]] = amount
            maker.bias = maker.bias - amount
            maker.mean = None if maker.mean is None else maker.mean - amount
            count += int(np.count_nonzero(amount))
        for step in group.steps:
            given = [offsets[value] for value in step.inputs]
            if step.kind == "relu":
                step.ceiling = step.ceiling - given[0]
            offsets[step.outputs[0]] = np.sum(given, axis=0)
        for reader in group.readers:
            moved = reader.response(offsets[reader.inputs[0]])
            reader.bias = reader.bias + moved
    return count


def equalise_weights(groups: list[_Group], max_scale: float) -> int:
    """Makes the largest weights of all channels of a layer alike, at both ends of each group, until nothing moves.

    For one pair of layers the factor of channel k is ``sqrt(r1 / r2)`` with the largest absolute weights r1 of the
    layer before and r2 of the layer behind (the paper's equation 11). A group with several layers at an end, as a
    residual connection makes it, takes their geometric mean.

    Returns:
        The number of passes.
    """
    totals = [np.zeros(group.makers[0].bias.size) for group in groups]
    limit = np.log(max_scale)
    passes, change = 0, np.inf
    while groups and change >= TOLERANCE and passes < MAX_PASSES:
        passes += 1
        change = 0.0
        for place, group in enumerate(groups):
            written = np.mean([_log_range(step.by_output().T) for step in group.makers], axis=0)
            read = np.mean([_log_range(step.by_input()) for step in group.readers], axis=0)
            alive = np.isfinite(written) & np.isfinite(read)
            if not alive.any():
                continue
            wanted = totals[place] + np.where(alive, (np.where(alive, written, 0) - np.where(alive, read, 0)) / 2, 0)
            wanted -= np.median(wanted[alive])
            wanted = np.where(alive, np.clip(wanted, -limit, limit), 0.0)
            moved = wanted - totals[place]
            _scale(group, np.exp(-moved))
            totals[place] = wanted
            change = max(change, float(np.abs(moved).max()))
    for total, group in zip(totals, groups, strict=True):
        if any(np.isfinite(step.ceiling).any() for step in group.steps if step.kind == "relu"):
            # the highest ceiling is again that of the model's ReLU6, which integer kernels know
            _scale(group, np.full(total.size, np.exp(total.min())))
    return passes


def _scale(group: _Group, factors: Array) -> None:
    for maker in group.makers:
        maker.scale_output(factors)
    for reader in group.readers:
        reader.scale_input(1 / factors)
    for step in group.steps:
        if step.kind == "relu":
            step.ceiling = step.ceiling * factors


def _log_range(weights: Array) -> Array:
    """Logarithm of the largest absolute weight of each row; minus infinity for a row of zeros."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.abs(weights).max(axis=1)))


def _scalable_groups(network: Network) -> list[_Group]:
    """The groups of values between weighted layers whose channels may be scaled without changing the output."""
    parent = list(range(1 + max(value for step in network.steps for value in (*step.inputs, *step.outputs))))

    def root(value: int) -> int:
        while parent[value] != value:
            value = parent[value]
        return value

    frozen = {network.source, network.sink}
    for step in network.steps:
        if step.kind in ("relu", "leaky", "channelwise", "padding", "add"):
            for value in step.inputs:
                parent[root(value)] = root(step.outputs[0])
        elif step.kind == "gate":
            parent[root(step.inputs[0])] = root(step.outputs[0])
            frozen.add(step.inputs[1])
        elif step.kind != "weighted":
            frozen |= {*step.inputs, *step.outputs}
    groups: dict[int, _Group] = {}
    for step in network.steps:
        if step.kind == "weighted":
            groups.setdefault(root(step.inputs[0]), _Group()).readers.append(step)
            groups.setdefault(root(step.outputs[0]), _Group()).makers.append(step)
        elif step.kind not in ("norm", "other"):
            groups.setdefault(root(step.outputs[0]), _Group()).steps.append(step)
    fixed = {root(value) for value in frozen}
    return [group for key, group in groups.items() if key not in fixed and group.makers and group.readers]


def value_bounds(network: Network) -> dict[int, tuple[Array, Array]]:
    """Lowest and highest possible value of each channel, by interval arithmetic from the activations' own limits."""
    anything = (np.array(-np.inf), np.array(np.inf))
    bounds: dict[int, tuple[Array, Array]] = {network.source: anything}
    for step in network.steps:
        given = [bounds[value] for value in step.inputs]
        result = anything
        if step.kind == "weighted":
            result = _weighted_bounds(step, *given[0])
        elif step.kind == "relu":
            low, high = given[0]
            result = (np.clip(low, 0.0, step.ceiling), np.clip(high, 0.0, step.ceiling))
        elif step.kind == "leaky":
            result = _leaky_bounds(step, *given[0])
        elif step.kind == "channelwise":
            result = given[0]
        elif step.kind == "padding":
            result = (np.minimum(given[0][0], 0.0), np.maximum(given[0][1], 0.0))
        elif step.kind == "add":
            result = (sum((low for low, _ in given), np.zeros(())), sum((high for _, high in given), np.zeros(())))
        for value in step.outputs:
            bounds[value] = result
    return bounds


def _leaky_bounds(step: Step, low: Array, high: Array) -> tuple[Array, Array]:
    """What lies below zero may end up on either side of it, with slopes of either sign."""
    with np.errstate(invalid="ignore"):
        below = np.array([np.minimum(end, 0.0) * step.slopes for end in (low, high)])
    below = np.where(np.isnan(below), 0.0, below)  # infinity with a slope of zero
    lowest, highest = below.min((0, 1)), below.max((0, 1))
    highest = np.where(high > 0, np.maximum(high, highest), highest)
    return np.where(low < 0, lowest, low), np.where(low < 0, highest, high)


def _weighted_bounds(step: Step, low: Array, high: Array) -> tuple[Array, Array]:
    if step.sees_padding:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    kernel = step.kernel
    low, high = (np.broadcast_to(limit, kernel.shape[-2])[:, np.newaxis] for limit in (low, high))
    positive, negative = np.maximum(kernel, 0.0), np.minimum(kernel, 0.0)

    def total(with_positive: Array, with_negative: Array) -> Array:
        parts = np.multiply(positive, with_positive, where=positive > 0, out=np.zeros_like(kernel))
        parts = parts + np.multiply(negative, with_negative, where=negative < 0, out=np.zeros_like(kernel))
        axes = (0, 1) if step.is_depthwise else tuple(range(kernel.ndim - 1))
        return np.asarray(parts.sum(axes)).reshape(-1) + step.bias

    return total(low, high), total(high, low)
