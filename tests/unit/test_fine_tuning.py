"""What a quantization-aware training takes from the configuration, and the classifier that it begins with."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from reidfw_core.config.modes import services
from reidfw_core.config.sections import QatSettings, TrainingSection
from reidfw_core.services.fine_tuning import fine_tuning_settings


def training(**changes: object) -> TrainingSection:
    values = {"batch_size": 16, "epochs": 80, "optimizer": {"Adam": {"learning_rate": 1e-3, "beta_1": 0.8}}, **changes}
    return TypeAdapter(TrainingSection).validate_python(values)


def test_the_training_section_gives_all_but_epochs_rate_and_schedule() -> None:
    section = training(
        frozen_layers="(0:-1)",
        gradient_clip_norm=1.0,
        warmup_epochs=5,
        callbacks={"EarlyStopping": {"patience": 3}, "ReduceLROnPlateau": {"patience": 2}},
    )
    settings = fine_tuning_settings(section, QatSettings(epochs=4))
    assert settings.epochs == 4
    assert settings.optimizer.arguments == {"learning_rate": pytest.approx(1e-4), "beta_1": 0.8}
    assert list(settings.callbacks) == ["EarlyStopping", "LRCosineDecay"]
    assert settings.callbacks["LRCosineDecay"]["decay_steps"] == 4
    assert (settings.frozen_layers, settings.warmup_epochs) == ((), 0.0)
    assert (settings.gradient_clip_norm, settings.batch_size) == (1.0, 16)
    assert section.epochs == 80


def test_a_rate_of_its_own() -> None:
    settings = fine_tuning_settings(training(optimizer="SGD"), QatSettings(learning_rate=3e-5))
    assert settings.optimizer.arguments == {"learning_rate": 3e-5}
    assert fine_tuning_settings(training(optimizer="SGD"), QatSettings()).optimizer.arguments == {
        "learning_rate": pytest.approx(1e-3)  # Keras's own is 0.01
    }


@pytest.mark.parametrize("kind", ["QAT", "qat"])
def test_only_modes_that_quantize_fine_tune(kind: str) -> None:
    values = {"quantization": {"quantization_type": kind}}
    assert "fine_tuning" in services("chain_qb", values)
    assert "fine_tuning" not in services("training", values)
    assert "fine_tuning" not in services("chain_qb", {"quantization": {"quantization_type": "PTQ"}})
    assert "fine_tuning" not in services("chain_qb", {"quantization": None})


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
@pytest.mark.parametrize("length", [0.01, 1.0, 300.0])
def test_the_classifier_names_the_identity_with_the_nearest_mean(classifier: str, length: float) -> None:
    """Embeddings of any length; probabilities are neither flat nor all-or-nothing."""
    import keras

    from reidfw_core._keras.head import Head
    from reidfw_core._keras.imprinting import imprint_classifier
    from reidfw_core._keras.network import assemble_network

    rng = np.random.default_rng(8)
    image = keras.Input((4, 4, 3))
    features = keras.Model(image, keras.layers.Flatten()(image))
    network = assemble_network(features, 5, Head(classifier=classifier), seed=1)  # type: ignore[arg-type]
    labels = np.repeat(np.arange(5), 6)
    centres = rng.normal(size=(5, 48))
    images = (length * (centres[labels] + 0.3 * rng.normal(size=(30, 48)))).astype(np.float32)
    imprint_classifier(network, images, labels)
    probabilities = network.classification.predict(images.reshape(-1, 4, 4, 3), verbose=0)
    assert (probabilities.argmax(1) == labels).all()
    if classifier == "linear":
        assert 0.7 < probabilities.max(1).mean() < 0.999
