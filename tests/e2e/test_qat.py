"""``quantization_type: QAT`` from the command line: whole runs on tiny images, and what is refused before any work."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

TRAINED = "saved_models/best_model.keras"


@pytest.mark.slow
def test_a_model_is_fine_tuned_quantized_and_scored(chain, reidfw, tiny_config) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=chain_eqe",
        "~model.model_name",
        f"model.model_path='{run / TRAINED}'",
        "quantization.quantization_type=QAT",
        "quantization.granularity=per_tensor",
        "quantization.qat.epochs=2",
        "quantization.max_map_drop=50",
        "hydra.run.dir=q",
    )
    assert outcome.code == 0, outcome.text
    assert "Epoch 2/2: loss" in outcome.text
    steps = [step["step"] for step in json.loads(Path("q/reidfw/plan.json").read_text(encoding="utf-8"))["steps"]]
    assert steps == ["evaluate", "fine_tune", "quantize", "compare", "evaluate_2"]
    for name in (
        "quantized_models/quantized_model.tflite",
        "saved_models/best_qat_model.keras",
        "qat_curves.png",
        "report.html",
    ):
        assert (Path("q") / name).is_file(), name
    with Path("q/logs/qat/metrics/train_metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([5.05e-5, 1e-6])
    assert not list(Path("q").rglob(".qat.*"))
    assert not list(Path("q").rglob("last_augmented_model.keras"))
    summary = json.loads(Path("q/summary.json").read_text(encoding="utf-8"))
    metrics = summary["metrics"]
    [fidelity] = summary["fidelity"]
    # mAP, its limit and the size are compared with the model that was given, embeddings with the fine-tuned one
    assert fidelity["search"]["float_mAP"] == pytest.approx(metrics["float_mAP_test_set"], abs=1e-3)
    assert Path(fidelity["float_model"]["file"]).name == "best_qat_model.keras"
    assert Path(fidelity["fine_tuned_from"]["file"]).name == "best_model.keras"
    sizes = [fidelity[name]["size_bytes"] for name in ("quantized_model", "fine_tuned_from")]
    assert fidelity["size_ratio"] == pytest.approx(sizes[0] / sizes[1], abs=1e-4)
    page = Path("q/report.html").read_text(encoding="utf-8")
    assert "Embedding SNR dB (to the fine-tuned model)" in page
    assert "without its rounding" in page
    # After two epochs from random weights each layer still doubles rounding noise: 0.79 without QAT.
    assert metrics["fidelity_mean_cosine"] > 0.85
    assert abs(metrics["int_mAP_test_set"] - metrics["float_mAP_test_set"]) < 15


@pytest.mark.parametrize("mode", ["quantization", "chain_qb", "chain_eqe"])
def test_it_needs_training_images_and_a_training_section(reidfw, tiny_config, tmp_path, mode: str) -> None:
    (tmp_path / "model.keras").write_bytes(b"")
    common = [
        "run",
        tiny_config,
        f"operation_mode={mode}",
        "~model.model_name",
        f"model.model_path='{tmp_path / 'model.keras'}'",
        "quantization.quantization_type=QAT",
        "benchmarking.board=STM32H747I-DISCO",
    ]
    outcome = reidfw(*common, "~dataset.training_path")
    assert outcome.code == 2
    assert "dataset.training_path: is required in quantization_type QAT" in outcome.text
    outcome = reidfw(*common, "~training")
    assert outcome.code == 2
    assert "training: this section is missing; quantization_type QAT needs it" in outcome.text
    assert not Path("experiments_outputs").exists()


def test_only_keras_models_are_trained(reidfw, tiny_config, tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=quantization",
        "~model.model_name",
        f"model.model_path='{tmp_path / 'model.onnx'}'",
        "quantization.quantizer=onnx_quantizer",
        "quantization.quantization_type=QAT",
    )
    assert outcome.code == 2
    assert "quantization_type QAT trains a Keras model, got onnx" in outcome.text


def test_a_quantizer_that_cannot_is_refused_by_name(reidfw, tiny_config, tmp_path, monkeypatch) -> None:
    from reidfw_quantizers.tflite import TfliteConverter

    monkeypatch.delattr(TfliteConverter, "prepare_training")
    (tmp_path / "model.keras").write_bytes(b"")
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=quantization",
        "~model.model_name",
        f"model.model_path='{tmp_path / 'model.keras'}'",
        "quantization.quantization_type=QAT",
    )
    assert outcome.code == 2
    assert "'TFlite_converter' of reidfw-quantizers" in outcome.text
    assert "does not implement prepare_training" in outcome.text
