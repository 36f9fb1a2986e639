"""``quantization.max_map_drop``: layers are kept where int8 loses too much, and mistakes are told before any work."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory) -> Path:
    """A model that tells colours apart, and in it a useless channel that stretches the only scale of a layer."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    image = keras.Input((64, 32, 3))
    x = layers.AveragePooling2D(8)(image)
    x = layers.Conv2D(24, 1, activation="relu", name="colours")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="spoilt")(x)
    x = layers.Conv2D(24, 1, activation="relu", name="mixing")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x), name="spoilt")
    for name, factor in (("spoilt", 1000), ("mixing", 0)):  # nothing reads the channel: float does without it
        kernel = model.get_layer(name).kernel
        changed = kernel.numpy()
        changed[:, :, 0] *= factor
        kernel.assign(changed)
    path = tmp_path_factory.mktemp("spoilt") / "spoilt.keras"
    model.save(path)
    return path


def test_layers_are_kept_and_everything_tells_the_same(reidfw, tiny_config, spoilt) -> None:
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=chain_eqe",
        "~model.model_name",
        f"+model.model_path='{spoilt}'",
        "+quantization.granularity=per_tensor",
        "+quantization.max_map_drop=3",
        "+quantization.keep_layers_at=float",
        "hydra.run.dir=run",
    )
    assert outcome.code == 0, outcome.text
    assert "more than the 3 of max_map_drop" in outcome.text
    assert "layers stay at float" in outcome.text
    run = Path("run")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    [fidelity] = summary["fidelity"]
    search = fidelity["search"]
    assert search["reached"]
    assert search["data"] == "test_set"
    assert search["trials"][0]["num_kept"] == 0
    assert search["trials"][0]["drop"] > 3
    assert 0 < search["chosen"]["num_kept"] < len(fidelity["layers"])
    assert fidelity["layers"][0]["name"].startswith("spoilt")
    assert fidelity["layers"][0]["kept_at"] == "float"
    # what the search promised is what the evaluations before and behind it measured
    assert summary["metrics"]["float_mAP_test_set"] == pytest.approx(search["float_mAP"], abs=1e-3)
    assert summary["metrics"]["int_mAP_test_set"] == pytest.approx(search["chosen"]["mAP"], abs=1e-3)
    assert fidelity["quantized_model"]["format"] == "tflite/int8_float"
    with (run / "spoilt_layers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == [layer["name"] for layer in fidelity["layers"]]
    assert [row["kept_at"] for row in rows].count("float") == search["chosen"]["num_kept"]
    costs = [float(row["embedding_error_percent"]) for row in rows]
    assert costs == sorted(costs, reverse=True)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Layers kept from int8 for max_map_drop 3" in page
    assert "Before and after" in page
    assert [path.name for path in run.iterdir() if path.name.startswith(".variants")] == []


def test_costs_of_layers_without_a_limit(reidfw, chain, tiny_config) -> None:
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=quantization",
        "~model.model_name",
        f"+model.model_path='{chain[0] / 'saved_models' / 'best_model.keras'}'",
        "+quantization.layer_costs=True",
        "hydra.run.dir=run",
    )
    assert outcome.code == 0, outcome.text
    assert "where it alone is quantized" in outcome.text
    with Path("run/best_model_layers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 28  # MobileNetV1: 27 convolutions and the pooling
    assert all(row["embedding_error_percent"] and row["snr_db"] and not row["kept_at"] for row in rows)
    assert sum(int(row["quantized_bytes"]) for row in rows) < 0.5 * sum(int(row["float_bytes"]) for row in rows)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+quantization.max_map_drop=-1"], "greater than or equal to 0"),
        (["+quantization.max_map_drop=1", "+quantization.keep_layers_at=flaot"], "did you mean 'float'"),
        (
            [
                "+quantization.max_map_drop=1",
                "+quantization.keep_layers_at=int16",
                "quantization.quantizer=onnx_quantizer",
            ],
            "quantization.keep_layers_at: onnx_quantizer cannot keep layers at int16, only at float",
        ),
        (["+quantization.max_map_drop=1", "+quantization.compare_on=null"], "needs quantization.compare_on"),
        (["+quantization.max_map_drop=1", "~dataset.test_gallery_path"], "test_gallery_path: is required beside"),
        (
            [
                "+quantization.max_map_drop=1",
                "~dataset.test_gallery_path",
                "~dataset.test_query_path",
                "~dataset.training_path",
                "+dataset.quantization_path='{data}/query'",
            ],
            "max_map_drop: needs images to measure mAP with",
        ),
        (["+quantization.max_map_drop=1", "dataset.test_query_path=nowhere"], "there is no folder"),
        (
            ["+quantization.max_map_drop=1", "~dataset.training_path", "+dataset.quantization_allow_random=True"],
            "says nothing of a model calibrated with random noise",
        ),
    ],
)
def test_what_is_wrong_is_said_before_any_work(reidfw, chain, tiny_config, tiny_data, overrides, message) -> None:
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=quantization",
        "~model.model_name",
        f"+model.model_path='{chain[0] / 'saved_models' / 'best_model.keras'}'",
        *[text.format(data=tiny_data) for text in overrides],
        "hydra.run.dir=run",
    )
    assert outcome.code == 2, outcome.text
    assert message in outcome.text
    assert not Path("run").exists()
