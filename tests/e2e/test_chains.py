"""Whole runs on tiny real images, and the files that they promise."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from reidfw_core.catalog import Catalog
from reidfw_core.types import ModelFile, ModelFormat

pytestmark = pytest.mark.slow

PROMISED = (
    "saved_models/best_augmented_model.keras",
    "saved_models/last_augmented_model.keras",
    "saved_models/best_model_classification.keras",
    "saved_models/best_model.keras",
    "quantized_models/quantized_model.tflite",
    "training_curves.png",
    "mobilenetv1_a025_reid_rank_curve.png",
    "stm32ai_main.log",
    "logs/metrics/train_metrics.csv",
    ".hydra/config.yaml",
    ".hydra/hydra.yaml",
    ".hydra/overrides.yaml",
    "reidfw/config.resolved.yaml",
    "reidfw/plan.json",
    "reidfw/environment.json",
    "reidfw/events.jsonl",
    "summary.json",
    "report.html",
    "mobilenetv1_a025_reid_distance_histogram.png",
    "mobilenetv1_a025_reid_roc.png",
    "mobilenetv1_a025_reid_embedding_map.png",
    "mobilenetv1_a025_reid_retrieval_sheet.jpg",
    "mobilenetv1_a025_reid_queries.csv",
    "mobilenetv1_a025_reid_threshold.json",
    "mobilenetv1_a025_reid_threshold.h",
    "mobilenetv1_a025_fidelity.png",
    "reidfw/status.json",
)


def state(run: Path, name: str) -> Any:
    return json.loads((run / "reidfw" / name).read_text(encoding="utf-8"))


def summary_of(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))


def test_every_promised_file_is_there_and_nothing_is_left_over(chain) -> None:
    run, _ = chain
    assert not [name for name in PROMISED if not (run / name).is_file()]
    assert not list(run.rglob("*.part*"))
    assert list(run.glob("logs/**/events.out.tfevents.*"))


def test_the_log_holds_what_the_screen_showed(chain) -> None:
    run, outcome = chain
    log = " ".join((run / "stm32ai_main.log").read_text(encoding="utf-8").split())
    for line in (
        "operation_mode: chain_tqe",
        "Epoch 2/2",
        "Float model test_set",
        "Quantized model test_set",
        "Rank-1 accuracy",
        "Rank-10 accuracy",
        "mAP:",
        "operation finished: chain_tqe",
    ):
        assert line in log
        if line != "operation finished: chain_tqe":
            assert line in outcome.text


def test_results_table_and_report_agree(chain) -> None:
    run, outcome = chain
    metrics = summary_of(run)["metrics"]
    for kind in ("float", "int"):
        assert f"{metrics[f'{kind}_mAP_test_set']:.2f}" in outcome.out
        for name in ("acc_rank1", "acc_rank5", "acc_rank10", "mAP", "mINP"):
            assert 0 <= metrics[f"{kind}_{name}_test_set"] <= 100
    assert state(run, "status.json")["status"] == "finished"
    assert [step["step"] for step in state(run, "plan.json")["steps"]] == [
        "train",
        "evaluate",
        "quantize",
        "compare",
        "evaluate_2",
    ]


def test_the_models_are_what_their_names_say(chain) -> None:
    run, _ = chain
    embedding = keras.saving.load_model(run / "saved_models/best_model.keras", compile=False)
    classifier = keras.saving.load_model(run / "saved_models/best_model_classification.keras", compile=False)
    augmented = keras.saving.load_model(run / "saved_models/best_augmented_model.keras", compile=False)
    assert embedding.input_shape == (None, 64, 32, 3)
    assert embedding.output_shape == (None, 256)
    assert classifier.output_shape == (None, 8)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3)).astype(np.float32)
    probabilities, features = augmented(pixels, training=False)
    rescaled = pixels / 127.5 - 1
    np.testing.assert_allclose(features, embedding(rescaled, training=False), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(probabilities, classifier(rescaled, training=False), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1.0, rtol=1e-5)


def test_int8_embeddings_follow_the_float_ones(chain) -> None:
    run, _ = chain
    target = Catalog().load("targets", "host")()
    images = np.random.default_rng(1).uniform(-1, 1, (4, 64, 32, 3)).astype(np.float32)
    found = []
    for path in (run / "saved_models/best_model.keras", run / "quantized_models/quantized_model.tflite"):
        runner = target.open_runner(ModelFile(path=path, format=ModelFormat.of_file(path), name=path.stem), 1)
        found.append(runner.embed(images))
        runner.close()
    cosine = np.sum(found[0] * found[1], axis=1) / np.prod([np.linalg.norm(f, axis=1) for f in found], axis=0)
    assert cosine.min() > 0.9


def test_training_metrics_are_a_table_with_a_row_an_epoch(chain) -> None:
    run, _ = chain
    with (run / "logs/metrics/train_metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "val_mAP", "learning_rate"} <= set(rows[0])


def test_mlflow_holds_params_metrics_and_artifacts(chain) -> None:
    from mlflow.tracking import MlflowClient
    from reidfw_tracker_mlflow.location import store_location

    run, _ = chain
    client = MlflowClient(store_location(str(run.parent / "mlruns"), run).tracking_uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    [record] = client.search_runs([experiment.experiment_id])
    assert record.info.status == "FINISHED"
    assert record.info.run_name == run.name
    assert record.data.params["operation_mode"] == "chain_tqe"
    metrics = summary_of(run)["metrics"]
    assert record.data.metrics["int_mAP_test_set"] == pytest.approx(metrics["int_mAP_test_set"])
    assert len(client.get_metric_history(record.info.run_id, "val_mAP")) == 2
    assert any("stm32ai_main.log" in artifact.path for artifact in _artifacts(client, record.info.run_id))


def _artifacts(client: Any, run_id: str) -> list[Any]:
    found, folders = [], [None]
    while folders:
        for artifact in client.list_artifacts(run_id, folders.pop()):
            found.append(artifact)
            if artifact.is_dir:
                folders.append(artifact.path)
    return found


@pytest.mark.parametrize("name", ["saved_models/best_model.keras", "quantized_models/quantized_model.tflite"])
def test_evaluation_of_a_saved_model_repeats_the_chains_score(chain, reidfw, tiny_config, name) -> None:
    run, _ = chain
    outcome = reidfw(
        "run", tiny_config, "operation_mode=evaluation", f"model.model_path='{run / name}'", "~model.model_name"
    )
    assert outcome.code == 0, outcome.text
    kind = "int" if name.endswith("tflite") else "float"
    again = summary_of(_only_run(Path.cwd()))["metrics"]
    first = summary_of(run)["metrics"]
    assert again[f"{kind}_mAP_test_set"] == pytest.approx(first[f"{kind}_mAP_test_set"], abs=0.01)


def test_chain_eqe_with_int8_output(chain, reidfw, tiny_config) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=chain_eqe",
        f"model.model_path='{run / 'saved_models/best_model.keras'}'",
        "~model.model_name",
        "quantization.quantization_output_type=int8",
        "quantization.granularity=per_tensor",
        "general.num_threads_tflite=2",
    )
    assert outcome.code == 0, outcome.text
    metrics = summary_of(_only_run(Path.cwd()))["metrics"]
    assert abs(metrics["int_mAP_test_set"] - metrics["float_mAP_test_set"]) < 15


def test_quantization_alone_and_training_without_test_sets(chain, reidfw, tiny_config) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=quantization",
        "~model.model_name",
        "hydra.run.dir=q",
        f"model.model_path='{run / 'saved_models/best_model.keras'}'",
        "dataset.quantization_split=0.25",
    )
    assert outcome.code == 0, outcome.text
    assert "Calibrating with 12 images" in outcome.text
    assert Path("q/quantized_models/quantized_model.tflite").is_file()
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=training",
        "~dataset.test_query_path",
        "~dataset.test_gallery_path",
        "hydra.run.dir=t",
        "training.epochs=1",
        "training.triplet_loss.strategy=hard",
        "training.dropout=0.3",
        "training.optimizer=SGD",
        "+training.callbacks.ReduceLROnPlateau.patience=1",
    )
    assert outcome.code == 0, outcome.text
    assert [step["step"] for step in state(Path("t"), "plan.json")["steps"]] == ["train"]


def test_prediction_names_identities(chain, reidfw, tiny_config, tiny_data) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=prediction",
        "~model.model_name",
        "hydra.run.dir=p",
        f"model.model_path='{run / 'quantized_models/quantized_model.tflite'}'",
        f"dataset.prediction_query_path='{tiny_data / 'query'}'",
        f"dataset.prediction_gallery_path='{tiny_data / 'gallery'}'",
    )
    assert outcome.code == 0, outcome.text
    rows = json.loads(Path("p/predictions/predictions.json").read_text(encoding="utf-8"))
    assert len(rows) == 8
    assert all(re.fullmatch(r"p2[0-3]", row["identity"]) for row in rows)
    assert all(len(row["neighbours"]) == 5 for row in rows)
    assert len(list(Path("p/predictions").glob("*.png"))) == 8


def test_fine_tuning_from_a_saved_model(chain, reidfw, tiny_config) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=training",
        "~model.model_name",
        "~model.input_shape",
        "hydra.run.dir=f",
        f"model.model_path='{run / 'saved_models/best_model_classification.keras'}'",
        "training.epochs=1",
        "training.frozen_layers='(0:-1)'",
    )
    assert outcome.code == 0, outcome.text
    tuned = keras.saving.load_model("f/saved_models/best_model.keras", compile=False)
    before = keras.saving.load_model(run / "saved_models/best_model.keras", compile=False)
    for new, old in zip(tuned.weights, before.weights, strict=True):
        np.testing.assert_array_equal(new, old)


def test_training_goes_on_from_an_interrupted_runs_last_model(chain, reidfw, tiny_config) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=training",
        "~model.model_name",
        "~model.input_shape",
        "hydra.run.dir=g",
        f"model.model_path='{run / 'saved_models/last_augmented_model.keras'}'",
        "training.epochs=1",
    )
    assert outcome.code == 0, outcome.text
    model = keras.saving.load_model("g/saved_models/best_model.keras", compile=False)
    assert model.output_shape == (None, 256)


@pytest.mark.parametrize("seed", [7])
def test_the_same_seed_gives_the_same_model(reidfw, tiny_config, seed) -> None:
    maps = []
    for name in ("a", "b"):
        outcome = reidfw(
            "run",
            tiny_config,
            "operation_mode=training",
            f"hydra.run.dir={name}",
            f"general.global_seed={seed}",
            "general.deterministic_ops=True",
        )
        assert outcome.code == 0, outcome.text
        model = keras.saving.load_model(f"{name}/saved_models/best_model.keras", compile=False)
        maps.append([np.asarray(weight) for weight in model.weights])
    for first, second in zip(*maps, strict=True):
        np.testing.assert_array_equal(first, second)


def _only_run(folder: Path) -> Path:
    runs = [path.parent for path in (folder / "experiments_outputs").glob("*/reidfw")]
    assert len(runs) == 1, runs
    return runs[0]


def test_a_training_in_three_steps(reidfw, tiny_config) -> None:
    """The classifier alone, then all layers at a smaller rate, then with another loss: each a run of its own."""
    steps = {
        "s1": ["training.frozen_layers='(0:-1)'", "training.dropout=0.2"],
        "s2": ["training.optimizer={Adam: {learning_rate: 1e-4}}"],
        "s3": ["~training.triplet_loss", "+training.losses=[{name: arcface}]", "training.dropout=0.1"],
    }
    before = None
    for name, changes in steps.items():
        start = (
            []
            if before is None
            else ["~model.model_name", "~model.input_shape", f"model.model_path={before}/saved_models/best_model.keras"]
        )
        outcome = reidfw(
            "run",
            tiny_config,
            "operation_mode=training",
            f"hydra.run.dir={name}",
            "training.epochs=1",
            *start,
            *changes,
        )
        assert outcome.code == 0, outcome.text
        before = name
    models = [keras.saving.load_model(f"{name}/saved_models/best_model.keras", compile=False) for name in steps]
    assert {model.output_shape for model in models} == {(None, 256)}
    kernels = [model.get_layer("conv1").get_weights()[0] for model in models]
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])
