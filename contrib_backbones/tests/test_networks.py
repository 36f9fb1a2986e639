"""OSNet, ResNet, EfficientNet and the rest: the papers' networks, with the papers' numbers."""

from __future__ import annotations

import logging
import random
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from reidfw_backbones import mobilenet, networks
from reidfw_backbones.custom import Custom
from reidfw_backbones.networks import MEMBERS, Network

from reidfw_core._keras.complexity import complexity
from reidfw_core.api import DataError, ServiceError

COMPONENTS: dict[str, type[Network]] = {
    component.member.name: component
    for component in vars(networks).values()
    if isinstance(component, type) and issubclass(component, Network) and component is not Network
}
QUICK = ("osnet_a025", "resnet8", "fdmobilenet_a025", "squeezenetv11")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MEMBERS]
OWN = Path(__file__).with_name("own_network.py")


def build(name: str, shape=(64, 32, 3), pretrained: bool | Path = False, seed: int = 0) -> keras.Model:
    return COMPONENTS[name]().build_backbone(input_shape=shape, pretrained=pretrained, seed=seed)


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_the_names_of_the_model_zoo_are_there():
    assert {f"osnet_a{width}" for width in ("025", "050", "075", "100")} <= set(COMPONENTS)
    assert {"resnet8", "resnet20", "resnet32", "resnet50v2", "efficientnetv2s", "squeezenetv11"} <= set(COMPONENTS)
    assert {f"efficientnetv2b{number}" for number in range(4)} <= set(COMPONENTS)
    assert {f"fdmobilenet_a{width}" for width in ("025", "050", "075", "100")} <= set(COMPONENTS)
    assert set(COMPONENTS) == set(MEMBERS)


@pytest.mark.parametrize("name", EACH)
def test_shape_and_size(name):
    model = build(name)
    member = MEMBERS[name]
    assert model.name == name
    assert model.output_shape[-1] == member.feature_dim
    assert model.count_params() == member.num_parameters
    assert len({layer.name for layer in model.layers}) == len(model.layers)
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 64, 32, 3)).astype(np.float32)
    features = np.asarray(model(batch, training=True))
    assert np.isfinite(features).all()
    assert features.std() > 0
    assert not any(
        layer.use_bias
        for layer in model.layers
        if member.family in ("osnet", "small_resnet", "fd_mobilenet", "efficientnet_lite")
        and isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
        and "gate" not in layer.name
    )


@pytest.mark.parametrize("name", QUICK)
def test_random_weights_follow_the_seed(name):
    model, again, other = build(name), build(name), build(name, seed=1)
    for one, same in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    kernels, different = (
        [layer.get_weights()[0] for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
        for network in (model, other)
    )
    assert not any(np.array_equal(one, two) for one, two in zip(kernels, different, strict=True))


def test_osnet_has_the_parameters_and_operations_of_the_paper():
    # The authors' code reports 2,193,616 parameters and 978.9 million operations for width 1.0 with its fully connected
    # layer of 512 (weights, offsets, batch normalization); it counts the shared gate at each of its four uses.
    model = build("osnet_a100", (256, 128, 3))
    middle = (64, 64, 96, 96, 128, 128)
    gates = sum(2 * m * (m // 16) + m // 16 + m for m in middle)
    fully_connected = 512 * 512 + 512 + 2 * 512
    assert trainable(model) + 3 * gates + fully_connected == 2_193_616
    assert complexity(model).macs + 512 * 512 == pytest.approx(978.9e6, rel=0.001)


@pytest.mark.parametrize(("name", "macs"), [("osnet_a025", 82.3e6), ("osnet_a050", 272.9e6), ("osnet_a075", 571.8e6)])
def test_narrow_osnets_have_the_operations_of_the_paper(name, macs):
    model = build(name, (256, 128, 3))
    dim = MEMBERS[name].feature_dim
    assert complexity(model).macs + 512 * dim == pytest.approx(macs, rel=0.005)


def test_the_four_streams_of_osnet_share_one_gate():
    model = build("osnet_a025")
    gate = model.get_layer("stage1a_gate_expand")
    assert gate.output.shape == (None, 4, 1, 16)  # a row for each stream, the same weights for all rows
    assert sum(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in model.layers) == 6 * (1 + 2 + 3 + 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [
        # trainable parameters with the classifier of 1000 classes that the papers' networks have
        ("efficientnet_lite0", 4_652_008),
        ("efficientnet_lite1", 5_416_680),
        ("efficientnet_lite2", 6_092_072),
        ("efficientnet_lite3", 8_197_096),
        ("efficientnet_lite4", 13_006_568),
    ],
)
def test_efficientnet_lite_has_the_published_size(name, published):
    assert trainable(build(name)) + 1280 * 1000 + 1000 == published


def test_small_networks_have_the_published_sizes():
    # MLPerf Tiny's ResNet-8: 78,666 with offsets in nine convolutions and ten classes
    assert build("resnet8").count_params() + 3 * (16 + 32 + 64) + 64 * 10 + 10 == 78_666
    assert build("squeezenetv11").count_params() == 1_235_496 - 513_000
    assert trainable(build("fdmobilenet_a100")) + 1_025_000 == pytest.approx(2.9e6, rel=0.01)
    for name, published in (("resnet20", 0.27e6), ("resnet32", 0.46e6)):
        assert build(name).count_params() == pytest.approx(published, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50v2", "efficientnetv2b0", "mobilenetv3_small_a100"])
def test_networks_of_keras_are_those_of_keras(name):
    member = MEMBERS[name]
    keras.utils.set_random_seed(0)
    original = getattr(keras.applications, member.family)(
        input_shape=(64, 64, 3), include_top=False, weights=None, **member.options
    )
    ours = build(name, (64, 64, 3))
    ours.set_weights(original.get_weights())
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(batch), original(batch), atol=1e-6)


@pytest.mark.parametrize("name", ["osnet_a025", "resnet8"])
def test_imagenet_weights_that_nobody_publishes_are_a_warning_where_the_services_ignore_them(name, caplog):
    with caplog.at_level(logging.WARNING):
        build(name, pretrained=True)
    assert f"no ImageNet weights for {name}" in caplog.text


@pytest.mark.parametrize("name", ["squeezenetv11", "fdmobilenet_a025"])
def test_imagenet_weights_that_nobody_publishes_are_refused_elsewhere(name):
    with pytest.raises(DataError, match="no ImageNet weights"):
        build(name, pretrained=True)


def test_published_weights_that_cannot_be_had_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.utils.get_file", lambda *_, **__: (_ for _ in ()).throw(Exception("no network")))
    with pytest.raises(ServiceError, match="no network"):
        build("mobilenetv3_small_a075", pretrained=True)


def test_weights_of_a_file(tmp_path):
    trained = build("osnet_a025", seed=5)
    trained.save_weights(tmp_path / "mine.weights.h5")
    for one, same in zip(
        build("osnet_a025", pretrained=tmp_path / "mine.weights.h5").get_weights(), trained.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, same)
    gray = build("osnet_a025", (64, 32, 1), pretrained=tmp_path / "mine.weights.h5")
    assert gray.input_shape[-1] == 1
    with pytest.raises(DataError, match="holds the weights of osnet_a025"):
        build("osnet_a050", pretrained=tmp_path / "mine.weights.h5")


def test_an_image_below_the_least_size_is_refused():
    with pytest.raises(DataError, match="at least 32 x 32"):
        build("osnet_a025", (31, 64, 3))


@pytest.mark.slow
def test_osnet_survives_int8():
    from ai_edge_litert.interpreter import Interpreter

    model = build("osnet_a025")
    rng = np.random.default_rng(0)
    images = np.cumsum(np.cumsum(rng.normal(size=(48, 64, 32, 3)), 1), 2)
    images = (images / np.abs(images).max((1, 2, 3), keepdims=True)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    for _ in range(3):
        model(images, training=True)
    pooled = keras.Model(model.input, keras.layers.GlobalAveragePooling2D()(model.output))
    converter = tf.lite.TFLiteConverter.from_keras_model(pooled)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()  # with XNNPACK
    given, got = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    embeddings = []
    for image in images:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        embeddings.append(interpreter.get_tensor(got["index"])[0])
    expected = np.asarray(pooled(images))
    cosines = np.sum(np.array(embeddings) * expected, 1) / (
        np.linalg.norm(embeddings, axis=1) * np.linalg.norm(expected, axis=1)
    )
    assert cosines.mean() > 0.9


@pytest.mark.parametrize(
    "name", ["osnet_a025", "mobilenetv3_small_a075", pytest.param("resnet50v2", marks=pytest.mark.slow)]
)
def test_names_do_not_depend_on_what_was_built_before(name):
    first, second = build(name), build(name, (64, 32, 4))
    assert [operation.name for operation in first.operations] == [operation.name for operation in second.operations]
    assert first.inputs[0].name == "image"


@pytest.mark.parametrize("name", ["mobilenetv3_small_a075", "efficientnetv2b0"])
def test_four_channels_are_no_reason_to_warn(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build(name, (64, 32, 4)).input_shape == (None, 64, 32, 4)


def test_dropout_inside_a_network_follows_the_seed():
    batch = np.random.default_rng(0).normal(size=(4, 64, 32, 3)).astype(np.float32)
    first = np.asarray(build("efficientnetv2b0")(batch, training=True))
    random.random()
    np.testing.assert_allclose(np.asarray(build("efficientnetv2b0")(batch, training=True)), first, atol=1e-4)
    assert not np.allclose(np.asarray(build("efficientnetv2b0", seed=1)(batch, training=True)), first, atol=1e-2)


def test_no_gate_of_a_narrow_osnet_starts_dead():
    batch = np.cumsum(np.cumsum(np.random.default_rng(0).normal(size=(8, 64, 32, 3)), 1), 2).astype(np.float32) / 64
    for seed in range(3):
        model = build("osnet_a025", seed=seed)
        hidden = [layer.output for layer in model.layers if layer.name.endswith("gate_reduce")]
        for units in keras.Model(model.input, hidden)(batch, training=True):
            assert (np.asarray(units).max((0, 1, 2)) > 0).all()


def test_weights_of_another_family_are_named(tmp_path):
    build("osnet_a025").save_weights(tmp_path / "mine.weights.h5")
    with pytest.raises(DataError, match="holds the weights of osnet_a025, not of mobilenetv1_a025"):
        mobilenet.MobileNetV1A025().build_backbone(
            input_shape=(32, 32, 3), pretrained=tmp_path / "mine.weights.h5", seed=0
        )


def test_published_efficientnet_weights_take_pixels_in_our_range(tmp_path):
    """Keras publishes B0 to B3 for pixels normalized by ImageNet's mean and deviation."""
    image = keras.Input((64, 64, 3))
    original = keras.applications.EfficientNetV2B0(include_top=False, weights=None, input_tensor=image)
    rng = np.random.default_rng(4)
    original.get_layer("stem_bn").moving_mean.assign(rng.normal(size=32))
    original.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as source, h5py.File(tmp_path / "old.h5", "w") as target:
        for key, value in source["model_weights"].attrs.items():
            target.attrs[key] = value
        for group in source["model_weights"]:
            source.copy(source["model_weights"][group], target, group)
    ours = build("efficientnetv2b0", (64, 64, 3), pretrained=tmp_path / "old.h5")
    pixels = rng.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)

    def stem(model, batch):
        return np.asarray(keras.Model(model.input, model.get_layer("stem_activation").output)(batch))[:, :-1, :-1]

    np.testing.assert_allclose(stem(ours, pixels / 127.5 - 1), stem(original, pixels), atol=1e-3)
    ours.save_weights(tmp_path / "ours.weights.h5")
    again = build("efficientnetv2b0", (64, 64, 3), pretrained=tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(again.get_layer("stem_conv").kernel, ours.get_layer("stem_conv").kernel)


# --- networks of one's own ---


def custom(function: str, shape=(32, 16, 3), pretrained: bool | Path = False) -> keras.Model:
    component = Custom(Custom.Params(function=function))
    return component.build_backbone(input_shape=shape, pretrained=pretrained, seed=3)


def test_a_network_of_ones_own(monkeypatch):
    model = custom(f"{OWN}:three_blocks")
    assert model.output_shape == (None, 4, 2, 64)
    monkeypatch.chdir(OWN.parent)
    assert custom("own_network:three_blocks").count_params() == model.count_params()
    assert custom("own_network.py:three_blocks").count_params() == model.count_params()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("absent.py:three_blocks", "there is no file"),
        (f"{OWN}:three_bloks", "did you mean 'three_blocks'"),
        ("nonsense_module:build", "there is no module 'nonsense_module'"),
        ("three_blocks", "module:function"),
        (f"{OWN}:wrong_size", "takes images of shape"),
        (f"{OWN}:no_model", "returns a str"),
        (f"{OWN}:fails", "RuntimeError: out of ideas"),
        (f"{OWN}:flat", "a feature map or a vector"),
    ],
)
def test_a_wrong_function_is_told(function, message):
    with pytest.raises(DataError, match=message):
        custom(function)


@pytest.mark.parametrize("function", ["no_input", "own_call"])
def test_a_model_without_defined_input_is_told(function):
    with pytest.raises(DataError, match="without defined input") as told:
        custom(f"{OWN}:{function}")
    assert "keras.Input" in str(told.value.hint)


def test_weights_of_a_file_for_a_network_of_ones_own(tmp_path):
    trained = custom(f"{OWN}:three_blocks")
    for variable in trained.trainable_variables:
        variable.assign(variable + 1)
    trained.save_weights(tmp_path / "own.weights.h5")
    loaded = custom(f"{OWN}:three_blocks", pretrained=tmp_path / "own.weights.h5")
    for one, same in zip(trained.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    with pytest.raises(DataError, match="there is no file"):
        custom(f"{OWN}:three_blocks", pretrained=tmp_path / "absent.weights.h5")


def test_a_network_of_ones_own_leaves_the_global_generators_alone():
    random.seed(5)
    np.random.seed(5)
    wanted = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    custom(f"{OWN}:three_blocks")
    assert (random.random(), np.random.random()) == wanted


def test_pretrained_needs_a_function_that_knows_it():
    with pytest.raises(DataError, match="no parameter 'pretrained'"):
        custom(f"{OWN}:three_blocks", pretrained=True)
