"""optimize: rewritten models compute the same, and lose less with one weight scale a layer."""

import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reidfw_quantizers.tflite import TfliteConverter

from reidfw_core.api import load_embedding_model

from .conftest import HEIGHT, WIDTH, cosine, save

keras = pytest.importorskip("keras")
from keras import layers  # noqa: E402
from reidfw_quantizers._keras.equalisation import DEAD, equalise  # noqa: E402
from reidfw_quantizers._keras.graph import read_network  # noqa: E402

ACTIVATIONS = {
    "relu": layers.ReLU,
    "relu6": lambda: layers.ReLU(6.0),
    "relu by name": lambda: layers.Activation("relu"),
    "linear": layers.Identity,
    "hard swish": lambda: layers.Activation("hard_swish"),
    "leaky": lambda: layers.LeakyReLU(0.1),
    "leaky relu": lambda: layers.ReLU(negative_slope=0.2),
    "prelu": lambda: layers.PReLU(shared_axes=[1, 2]),
    "prelu of each value": layers.PReLU,
    "one prelu": lambda: layers.PReLU(shared_axes=[1, 2, 3]),
    "function relu": lambda: keras.ops.relu,
    "function relu6": lambda: keras.ops.relu6,
    "function leaky": lambda: keras.ops.leaky_relu,
}
BLOCKS = (
    *("conv", "valid conv", "fused conv", "pointwise", "depthwise", "multiplier", "separable", "fused separable"),
    *("residual", "pool", "pad", "gate"),
)


def scramble(model, seed: int) -> None:
    """Weights and statistics with ranges that differ a hundredfold between channels, as trained depthwise ones do."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape = weight.shape
        if weight.path.endswith("moving_variance"):
            weight.assign(rng.uniform(0.05, 2.0, shape))
        elif weight.path.endswith("kernel"):
            spread = np.exp(rng.uniform(-2.3, 2.3, shape[-1]))
            values = rng.normal(0, 1, shape) * spread / np.sqrt(np.prod(shape[:-1]))
            values[..., rng.random(shape[-1]) < 0.1] = 0  # some channels are dead
            weight.assign(values)
        else:
            weight.assign(rng.normal(0.3, 0.7, shape))


def random_network(draw):
    """A network of random blocks and activations, from an image to a vector."""
    image = x = keras.Input((8, 8, 3))
    for _ in range(draw(st.integers(1, 4))):
        activation = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
        with_norm = draw(st.booleans())
        width, given_width = draw(st.integers(2, 6)), int(x.shape[-1])

        def finished(y, with_norm=with_norm, activation=activation):
            return activation()(layers.BatchNormalization()(y) if with_norm else y)

        match draw(st.sampled_from(BLOCKS)):
            case "conv":
                x = finished(layers.Conv2D(width, 3, padding="same")(x))
            case "valid conv":
                x = finished(layers.Conv2D(width, 1, padding="valid", use_bias=False)(x))
            case "fused conv":
                x = layers.Conv2D(width, 3, padding="same", activation=draw(st.sampled_from(["relu", "relu6"])))(x)
            case "pointwise":
                x = finished(layers.Conv2D(width, 1)(x))
            case "depthwise":
                x = finished(layers.DepthwiseConv2D(3, padding="same")(x))
            case "multiplier":
                x = finished(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
            case "separable":
                x = finished(layers.SeparableConv2D(width, 3, padding="same", depth_multiplier=2, use_bias=False)(x))
            case "fused separable":
                x = layers.SeparableConv2D(width, 1, activation="relu6")(x)
            case "residual":
                y = finished(layers.Conv2D(width, 1)(x))
                x = activation()(layers.Add()([layers.Conv2D(given_width, 1)(y), x]))
            case "pool":
                x = layers.MaxPooling2D(2, padding="same")(layers.AveragePooling2D(2, 1, padding="same")(x))
            case "pad":
                x = layers.ZeroPadding2D(((0, 1), (1, 0)))(x)
            case "gate":
                shares = layers.GlobalAveragePooling2D(keepdims=True)(x)
                x = layers.Multiply()([x, layers.Conv2D(given_width, 1, activation="sigmoid")(shares)])
    x = layers.GlobalAveragePooling2D()(x)
    if draw(st.booleans()):
        x = layers.Dense(5)(layers.Dense(4, activation="relu")(x))
    model = keras.Model(image, x)
    scramble(model, draw(st.integers(0, 2**16)))
    return model


@given(data=st.data(), max_scale=st.sampled_from([2.0, 4.0, 1e6]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_a_rewritten_network_gives_the_same_outputs(data, max_scale):
    """Up to float rounding, whatever the network and whatever the image."""
    model = random_network(data.draw)
    images = np.random.default_rng(1).uniform(-3, 3, (4, 8, 8, 3)).astype(np.float32)
    wanted = model(images, training=False).numpy()
    rewritten, _ = equalise(model, max_scale)
    found = rewritten(images, training=False).numpy()
    largest = max(float(np.abs(wanted).max()), 1.0)
    np.testing.assert_allclose(found, wanted, atol=2e-5 * largest, rtol=2e-4)
    np.testing.assert_array_equal(model(images, training=False).numpy(), wanted)  # the original is untouched


def channel_ranges(model, layer: str) -> np.ndarray:
    step = next(step for step in read_network(model).steps if step.name == layer)
    return np.abs(step.by_output()).max(0)


def chain(*activations):
    """Conv, depthwise, pointwise, Conv with the activations between them: each kind of pair once."""
    keras.utils.set_random_seed(8)
    image = x = keras.Input((HEIGHT, WIDTH, 3))
    makers = (
        layers.Conv2D(8, 3, padding="same", name="conv"),
        layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
        layers.Conv2D(8, 1, name="pointwise"),
    )
    for maker, activation in zip(makers, activations, strict=True):
        x = activation()(layers.BatchNormalization()(maker(x)))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="last")(x)), name="chain")
    rng = np.random.default_rng(8)
    for weight in model.weights:
        if weight.path.endswith("gamma"):
            weight.assign(np.exp(rng.uniform(-2, 2, weight.shape)))
    return model


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky", "prelu", "function relu", "function relu6"])
def test_every_kind_of_pair_is_equalised_to_convergence(activation):
    """Without a limit the weights of all channels meet those of the layer behind (equation 11 of the paper)."""
    rewritten, done = equalise(chain(*[ACTIVATIONS[activation]] * 3), max_scale=1e6)
    assert (done.folded, done.groups) == (3, 3)
    assert done.passes > 2
    steps = {step.name: step for step in read_network(rewritten).steps}
    for before, behind in (("conv", "depthwise"), ("depthwise", "pointwise"), ("pointwise", "last")):
        written = np.abs(steps[before].by_output()).max(0)
        read = np.abs(steps[behind].by_input()).max(1)
        ratio = written / read
        assert ratio.max() / ratio.min() < 1.02, (before, behind)


def test_a_separable_convolution_is_two():
    """Its depthwise and its pointwise part are equalised with each other and with their neighbours."""
    image = x = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="before", activation="relu")(x)
    x = layers.SeparableConv2D(5, 3, name="both", activation="relu")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, name="behind")(x)))
    scramble(model, 3)
    rewritten, done = equalise(model)
    assert done.groups == 3
    kinds = [type(layer).__name__ for layer in rewritten.layers]
    assert "SeparableConv2D" not in kinds
    assert kinds.count("DepthwiseConv2D") == 1


def test_relu6_keeps_its_kernel_and_gets_a_limit_for_each_channel():
    """The highest ceiling is 6 again, so that integer kernels fuse it; lower ones stand in a layer behind it."""
    rewritten, _ = equalise(chain(*[ACTIVATIONS["relu6"]] * 3))
    ceilings = [layer.max_value for layer in rewritten.layers if isinstance(layer, layers.ReLU)]
    assert ceilings == pytest.approx([6.0] * 3)
    clips = [layer for layer in rewritten.layers if type(layer).__name__ == "ChannelClip"]
    assert len(clips) == 3
    assert all(max(clip.ceilings) == pytest.approx(6.0) and min(clip.ceilings) < 5 for clip in clips)


def test_dead_channels_are_cleaned():
    """A channel with weights near zero, one whose ReLU never opens, and one that nobody reads."""
    image = x = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(x)
    x = layers.Conv2D(4, 1, activation="relu", name="second")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, name="third")(x)))
    kernel, _ = model.get_layer("first").get_weights()
    kernel[..., 0] = DEAD / 2
    model.get_layer("first").set_weights([kernel, np.array([1.0, 0.5, 0.5, 0.5])])
    kernel = np.abs(model.get_layer("second").get_weights()[0])
    kernel[..., 1] *= -100  # inputs are at least 0: never opens
    model.get_layer("second").set_weights([kernel, np.array([0.5, -1.0, 0.5, 0.5])])
    kernel, bias = model.get_layer("third").get_weights()
    kernel[:, :, 2] = 0
    model.get_layer("third").set_weights([kernel, bias])
    rewritten, done = equalise(model)
    assert done.dead_channels == 3
    assert (channel_ranges(rewritten, "first") == 0).tolist() == [True, False, False, False]
    assert (channel_ranges(rewritten, "second") == 0).tolist() == [False, True, True, False]
    images = np.random.default_rng(0).normal(0, 1, (4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(rewritten(images).numpy(), model(images).numpy(), rtol=1e-4, atol=1e-6)


def test_a_linear_layer_hands_its_mean_on():
    """Between linear layers the mean that batch normalisation tells moves to the next bias."""
    image = x = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, name="first")(x))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="second")(x)))
    scramble(model, 4)
    rewritten, done = equalise(model)
    assert done.absorbed == 4
    norm = next(layer for layer in model.layers if isinstance(layer, layers.BatchNormalization))
    centre = -np.asarray(norm.moving_mean) * np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + 1e-3)
    kernel, bias = model.get_layer("first").get_weights()
    del kernel
    factor = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + 1e-3)
    first = rewritten.get_layer("first").get_weights()
    scale = np.abs(first[0]).max((0, 1, 2)) / np.abs(model.get_layer("first").get_weights()[0] * factor).max((0, 1, 2))
    alive = scale > 0
    np.testing.assert_allclose(first[1][alive], ((centre + bias * factor) * scale)[alive], rtol=1e-3, atol=1e-5)


def test_models_inside_of_models_and_layers_used_twice():
    """A Sequential model that holds one, and a convolution with two uses, which keeps its weights."""
    block = keras.Sequential([layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(6.0)])
    whole = keras.Sequential([keras.Input((8, 8, 3)), block, layers.Conv2D(4, 1), layers.GlobalAveragePooling2D()])
    image = x = keras.Input((8, 8, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="twice")
    x = layers.Conv2D(2, 1)(layers.ReLU()(twice(layers.ReLU()(twice(x)))))
    shared = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    images = np.random.default_rng(0).normal(0, 2, (4, 8, 8, 3)).astype(np.float32)
    for model, groups in ((whole, 1), (shared, 0)):
        scramble(model, 2)
        rewritten, done = equalise(model)
        assert done.groups == groups
        np.testing.assert_allclose(rewritten(images).numpy(), model(images).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_per_tensor_file_gets_better(calibration, images, tmp_path, caplog):
    """Through the converter itself, with the rewritten model beside the result."""
    model = chain(*[ACTIVATIONS["relu6"]] * 3)
    model_file = save(model, tmp_path / "chain.keras")
    from .test_tflite import quantize, run

    wanted = model(images).numpy()
    plain = quantize(model_file, calibration, tmp_path, granularity="per_tensor")
    before = cosine(run(plain.path, images), wanted).mean()
    with caplog.at_level(logging.INFO):
        better = quantize(model_file, calibration, tmp_path, granularity="per_tensor", optimize=True)
    assert "3 groups of layers equalised" in caplog.text
    after = cosine(run(better.path, images), wanted).mean()
    assert 1 - after < (1 - before) / 2
    optimized = load_embedding_model(tmp_path / "optimized_model.keras")
    np.testing.assert_allclose(optimized(images).numpy(), wanted, rtol=1e-3, atol=1e-4)
    converter = TfliteConverter()
    errors = converter.layer_errors(float_model=model_file, quantized_model=better, images=images[:2])
    assert min(error.signal_to_noise_db for error in errors) > 10
