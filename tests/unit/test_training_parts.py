"""The pieces of the training loop, each against what it is meant to compute."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from reidfw_core._keras.callbacks import StopOnNan, build_callbacks
from reidfw_core._keras.head import Head
from reidfw_core._keras.network import assemble_network, build_optimizer, freeze_layers, transfer_weights
from reidfw_core._keras.statistics import BatchNormMeter, batch_norm_layers, set_batch_norm_momentum
from reidfw_core._keras.trainer import LossTerm, ReidTrainer, Sharpness
from reidfw_core.artifacts import TrainingData
from reidfw_core.errors import DataError
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.services.validation import Validator
from reidfw_core.types import Samples


def features(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    return keras.Model(image, keras.layers.ReLU(name="relu")(x), name="features")


def cross_entropy(weight: float = 1.0) -> LossTerm:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return LossTerm(name="cross_entropy", weight=weight, consumes="logits", function=loss)


def batch(seed: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(size=(16, 8, 8, 3)).astype(np.float32)), tf.constant(np.arange(16) % 4)


def test_the_embedding_is_the_pooled_feature_map_before_dropout() -> None:
    network = assemble_network(features(), 4, Head(dropout=0.5), seed=1)
    images, _ = batch()
    embedding, logits = network.training(images, training=False)
    pooled = tf.reduce_mean(features()(images, training=False), axis=(1, 2))
    np.testing.assert_allclose(embedding, pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.embedding(images, training=False), embedding, rtol=1e-6)
    np.testing.assert_allclose(network.classification(images, training=False), tf.nn.softmax(logits), rtol=1e-5)
    trained, _ = network.training(images, training=True)
    assert float(tf.reduce_mean(tf.cast(trained == 0, tf.float32))) < 0.2, "dropout must not touch the embedding"


def test_frozen_layers_count_the_dense_layer_as_the_last() -> None:
    network = assemble_network(features(), 4, Head(), seed=1)
    freeze_layers(network, (slice(0, -1),))
    assert {weight.path.split("/")[0] for weight in network.training.trainable_variables} == {"logits"}
    freeze_layers(network, (1,))
    assert not network.classification.get_layer("conv").trainable
    assert network.classification.get_layer("bn").trainable
    freeze_layers(network, ())
    with pytest.raises(DataError, match="no layer 99"):
        freeze_layers(network, (99,))
    with pytest.raises(DataError, match="nothing is left to train"):
        freeze_layers(network, (slice(None),))


def test_weights_go_to_layers_of_the_same_name_and_shape() -> None:
    source, target = features(seed=1), features(seed=2)
    transfer = transfer_weights(source, target)
    assert (transfer.total, transfer.absent, transfer.other_shape, transfer.unused) == (2, (), (), ())
    np.testing.assert_array_equal(source.get_layer("conv").get_weights()[0], target.get_layer("conv").get_weights()[0])
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3, name="conv")])
    transfer = transfer_weights(other, target)
    assert transfer.copied == ()
    assert transfer.other_shape == ("conv",)
    assert len(transfer.absent) == 1


def test_measured_statistics_are_the_mean_over_batches() -> None:
    model = features()
    rng = np.random.default_rng(3)
    images = [rng.normal(2.0, 3.0, (32, 8, 8, 3)).astype(np.float32) for _ in range(3)]
    kernel, bias = (weight.numpy() for weight in model.get_layer("conv").weights)
    BatchNormMeter(model).measure(images)
    convolved = [tf.nn.conv2d(image, kernel, 1, "VALID").numpy() + bias for image in images]
    bn = model.get_layer("bn")
    np.testing.assert_allclose(bn.moving_mean, np.mean([c.mean((0, 1, 2)) for c in convolved], axis=0), rtol=1e-3)
    np.testing.assert_allclose(bn.moving_variance, np.mean([c.var((0, 1, 2)) for c in convolved], axis=0), rtol=1e-3)
    assert bn.momentum == 0.99


def test_momentum_is_set_everywhere() -> None:
    model = features()
    set_batch_norm_momentum(model, 0.9)
    assert [layer.momentum for layer in batch_norm_layers(model)] == [0.9]


def test_the_weight_average_follows_its_formula_and_the_own_weights_come_back() -> None:
    network = assemble_network(features(), 4, Head(), seed=1)
    trainer = ReidTrainer(network, [cross_entropy()], average_momentum=0.98)
    trainer.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    kernel = network.training.get_layer("logits").kernel
    average = kernel.numpy()
    for step in range(1, 4):
        trainer.train_on_batch(*batch(step))
        keep = min(0.98, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * kernel.numpy()
    own = kernel.numpy()
    with trainer.averaged_weights():
        np.testing.assert_allclose(kernel.numpy(), average, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(kernel.numpy(), own)


def test_a_sharpness_aware_step_takes_the_gradient_uphill() -> None:
    def trained(radius: float) -> tuple[np.ndarray, np.ndarray]:
        network = assemble_network(features(), 4, Head(), seed=1)
        trainer = ReidTrainer(network, [cross_entropy()], sharpness=Sharpness(radius, 1.0))
        trainer.compile(optimizer=keras.optimizers.SGD(1.0), jit_compile=False)
        dense = network.training.get_layer("logits").kernel
        before = dense.numpy()
        trainer.train_on_batch(*batch())
        return before, dense.numpy()

    reference = assemble_network(features(), 4, Head(), seed=1).training
    images, identities = batch()

    def gradient() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            _, logits = reference(images, training=True)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(identities, logits)
        return tape.gradient(loss, reference.trainable_variables)

    first = gradient()
    norm = tf.linalg.global_norm(first)
    for variable, slope in zip(reference.trainable_variables, first, strict=True):
        variable.assign_add(0.5 * slope / norm)
    uphill = gradient()[-2].numpy()
    before, after = trained(0.5)
    np.testing.assert_allclose(before - after, uphill, rtol=2e-3, atol=1e-5)
    plain_before, plain_after = trained(0.0)
    np.testing.assert_allclose(plain_before - plain_after, first[-2].numpy(), rtol=2e-3, atol=1e-5)


def test_weights_of_losses_add_up() -> None:
    network = assemble_network(features(), 4, Head(), seed=1)
    pull = LossTerm(name="norm", weight=0.25, consumes="embeddings", function=lambda _, e: tf.reduce_mean(e**2))
    trainer = ReidTrainer(network, [cross_entropy(2.0), pull])
    trainer.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    logs = trainer.train_on_batch(*batch(), return_dict=True)
    assert logs["loss"] == pytest.approx(2.0 * logs["cross_entropy"] + 0.25 * logs["norm"], rel=1e-5)
    assert 0.0 <= logs["accuracy"] <= 1.0


@pytest.mark.parametrize(
    "name", ["Adam", "adam", "SGD", "RMSprop", "AdamW", "Nadam", "Lion", "Adagrad", "Adadelta", "Adamax", "Ftrl"]
)
def test_every_keras_optimizer_is_found_by_name(name: str) -> None:
    optimizer = build_optimizer(name, {"learning_rate": 0.25})
    assert type(optimizer).__name__.lower() == name.lower()
    assert float(optimizer.learning_rate) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Adma", {}, "did you mean 'Adam'"),
        ("Adam", {"learning_rte": 1}, "training.optimizer.Adam"),
        ("Optimizer", {}, "no optimizer"),
    ],
)
def test_a_wrong_optimizer_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_optimizer(name, arguments)


def test_callbacks_of_the_document() -> None:
    built = build_callbacks(
        {
            "LearningRateScheduler": {"schedule": "lambda epoch, lr: 1 if epoch < 20 else lr / 2"},
            "EarlyStopping": {"monitor": "val_accuracy", "patience": 60, "restore_best_weights": True},
            "TerminateOnNaN": None,
        }
    )
    assert list(built) == ["LearningRateScheduler", "EarlyStopping", "TerminateOnNaN"]
    assert [type(callback).__name__ for callback in built.values()] == list(built)
    schedule = built["LearningRateScheduler"].schedule
    assert schedule(0, 0.1) == 1.0
    assert isinstance(schedule(0, 0.1), float)
    assert schedule(30, 0.1) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        ({"ReduceLROnPlateau": {}, "LearningRateScheduler": {"schedule": "lambda epoch: 0.1"}}, "at most one"),
        ({"ReduceLROnPlateau": {}, "LRStepDecay": {}}, "at most one"),
        ({"LRStepDecay": {"initial_lr": 0.1}}, r"LRStepDecay: the argument 'step_size' is required"),
        ({"LRStepDeacy": {}}, "did you mean 'LRStepDecay'"),
        ({"EarlyStoping": {}}, "did you mean 'EarlyStopping'"),
        ({"ModelCheckpoint": {}}, "built in"),
        ({"EarlyStopping": {"patients": 3}}, "training.callbacks.EarlyStopping"),
    ],
)
def test_wrong_callbacks_are_refused(configured: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_callbacks(configured)


def test_a_loss_that_is_no_number_ends_the_training_with_advice() -> None:
    callback = StopOnNan("do this")
    callback.on_train_batch_end(0, {"loss": 1.0})
    for loss in (float("nan"), float("inf")):
        with pytest.raises(DataError, match="in batch 8") as refused:
            callback.on_train_batch_end(7, {"loss": loss})
        assert refused.value.hint == "do this"


def test_embeddings_that_are_no_numbers_end_the_training_with_advice(tmp_path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a_1.png")
    samples = Samples(role="validation", root=tmp_path, paths=(tmp_path / "a_1.png",), identities=("a",))
    validator = Validator(
        data=TrainingData(train=samples, validation=samples),
        image_spec=ImageSpec(height=8, width=8, channels=3, scale=1.0, offset=0.0),
        batch_size=1,
        terms=(),
        pk_plan=np.zeros((1, 1), np.int64),
    )
    network = features(seed=1)
    network.get_layer("conv").set_weights([np.full_like(w, np.nan) for w in network.get_layer("conv").get_weights()])
    with pytest.raises(DataError, match="training diverged"):
        validator(assemble_network(network, 2, Head(), 0))
