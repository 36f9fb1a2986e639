"""What an evaluation, a comparison and a prediction leave, seen from the command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from reidfw_core.files import file_digest

pytestmark = pytest.mark.slow


def summary_of(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))


def evaluation(run: Path, folder: str, *more: str) -> list[str]:
    """Arguments of an evaluation of the chain's int8 model."""
    return [
        "operation_mode=evaluation",
        "~model.model_name",
        f"model.model_path='{run / 'quantized_models/quantized_model.tflite'}'",
        f"hydra.run.dir={folder}",
        *more,
    ]


def test_the_summary_keeps_its_published_schema(chain, reidfw) -> None:
    run, _ = chain
    schema = json.loads(reidfw("schema", "--summary").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(summary_of(run), schema)


def test_the_summary_tells_of_every_step(chain) -> None:
    run, _ = chain
    summary = summary_of(run)
    assert [step["key"] for step in summary["steps"]] == ["train", "evaluate", "quantize", "compare", "evaluate_2"]
    assert [one["kind"] for one in summary["evaluations"]] == ["float", "int"]
    assert summary["run"]["status"] == "finished"
    assert summary["training"]["epochs"] == 2
    for one in summary["evaluations"]:
        assert one["scores"]["mAP"]["low"] <= one["scores"]["mAP"]["value"] <= one["scores"]["mAP"]["high"]
        assert one["cmc"] == sorted(one["cmc"])
        assert sum(group["num_queries"] for group in one["per_identity"]) == one["num_queries"] == 8
        assert one["percent_per_query"] == pytest.approx(100 / 8)
        assert one["model"]["sha256"] == file_digest(run / one["model"]["file"])
    for figure in summary["figures"]:
        assert (run / figure["file"]).is_file()
        assert figure["svg"] is None or (run / figure["svg"]).is_file()
    assert "mlflow" not in summary["config"]


def test_float_and_int8_are_compared(chain) -> None:
    run, _ = chain
    [fidelity] = summary_of(run)["fidelity"]
    assert fidelity["num_images"] == 24  # all images of query and gallery
    assert -1 <= fidelity["min_cosine"] <= fidelity["mean_cosine"] <= 1
    assert fidelity["mean_cosine"] > 0.7  # two epochs: such a network is not quantized well
    assert fidelity["size_ratio"] < 0.6
    noise = [layer["signal_to_noise_db"] for layer in fidelity["layers"]]
    assert len(noise) > 10
    assert noise == sorted(noise)


def test_the_page_opens_without_a_network(chain) -> None:
    run, _ = chain
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert f"{summary_of(run)['metrics']['int_mAP_test_set']:.2f}" in page


def test_every_query_is_in_the_table(chain) -> None:
    run, _ = chain
    with (run / "mobilenetv1_a025_reid_queries.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    mean = np.mean([float(row["average_precision"]) for row in rows])
    assert 100 * mean == pytest.approx(summary_of(run)["metrics"]["float_mAP_test_set"], abs=0.01)


def test_the_threshold_file_decides_a_prediction(chain, reidfw, tiny_config, tiny_data) -> None:
    run, _ = chain
    threshold = run / "mobilenetv1_a025_quantized_reid_threshold.json"
    value = json.loads(threshold.read_text(encoding="utf-8"))["threshold"]
    assert value == pytest.approx(summary_of(run)["metrics"]["int_threshold_test_set"], abs=1e-6)
    query = next((tiny_data / "query").glob("*.jpg"))
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=prediction",
        "~model.model_name",
        "hydra.run.dir=p",
        f"model.model_path='{run / 'quantized_models/quantized_model.tflite'}'",
        f"dataset.prediction_query_path='{query}'",
        f"dataset.prediction_gallery_path='{tiny_data / 'gallery'}'",
        f"+prediction.threshold='{threshold}'",
        "+prediction.neighbours=3",
    )
    assert outcome.code == 0, outcome.text
    [row] = json.loads(Path("p/predictions/predictions.json").read_text(encoding="utf-8"))
    assert row["same_identity"] == (row["neighbours"][0]["distance"] <= value)
    assert len(row["neighbours"]) == 3
    assert "Predictions" in outcome.out
    assert summary_of(Path("p"))["prediction"]["num_queries"] == 1


def test_a_threshold_of_another_model_is_refused(chain, reidfw, tiny_config, tiny_data) -> None:
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
        f"+prediction.threshold='{run / 'mobilenetv1_a025_reid_threshold.json'}'",
    )
    assert outcome.code == 2, outcome.text
    assert "belongs to another model" in outcome.text


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory, draw_one: Callable[[int, int], Image.Image]) -> Path:
    """The tiny people under Market-1501's names: two cameras, junk and distractors in the gallery."""
    root = tmp_path_factory.mktemp("market")
    for folder, frames in (("query", range(2)), ("gallery", range(2, 6))):
        (root / folder).mkdir()
        for identity in range(20, 24):
            for frame in frames:
                name = f"{identity:04d}_c{frame % 2 + 1}s1_{frame:06d}_00.jpg"
                draw_one(identity, frame).save(root / folder / name, quality=92)
    draw_one(99, 0).save(root / "gallery" / "-1_c1s1_000000_00.jpg")
    draw_one(98, 0).save(root / "gallery" / "0000_c2s1_000000_00.jpg")
    return root


@pytest.mark.parametrize("protocol", ["auto", "all", "veri", "cuhk03"])
def test_protocols_with_cameras(chain, reidfw, tiny_config, market, protocol) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        *evaluation(run, "e"),
        "+dataset.reader=market1501",
        f"dataset.test_query_path={market / 'query'}",
        f"dataset.test_gallery_path={market / 'gallery'}",
        f"+evaluation.protocol={protocol}",
        "+evaluation.embedding_map=pca",
    )
    assert outcome.code == 0, outcome.text
    [found] = summary_of(Path("e"))["evaluations"]
    assert found["protocol"] == ("market1501" if protocol == "auto" else protocol)
    assert {group["name"] for group in found["per_camera"]} == {"1", "2"}


def test_every_option_at_once(chain, reidfw, tiny_config, market) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        *evaluation(run, "e"),
        "+dataset.reader=market1501",
        f"dataset.test_query_path={market / 'query'}",
        f"dataset.test_gallery_path={market / 'gallery'}",
        "+evaluation.flip=True",
        "+evaluation.rerank={k1: 4, k2: 2}",
        "+evaluation.multi_query=True",
        "+evaluation.reid_distance_metric=euclidean",
        "+evaluation.bootstrap_samples=0",
        "+evaluation.embedding_map=none",
    )
    assert outcome.code == 0, outcome.text
    [found] = summary_of(Path("e"))["evaluations"]
    assert found["options"] == {
        "flip": True,
        "multi_query": True,
        "rerank": {"k1": 4, "k2": 2, "lambda_value": 0.3},
    }
    assert found["confidence"] is None
    assert found["scores"]["mAP"]["low"] is None
    assert not list(Path("e").glob("*embedding_map*"))


def test_queries_without_a_match_are_named(chain, reidfw, tiny_config, tiny_data, tmp_path, draw_one) -> None:
    run, _ = chain
    shutil.copytree(tiny_data / "query", tmp_path / "query")
    draw_one(77, 0).save(tmp_path / "query" / "stranger_01.jpg")
    outcome = reidfw("run", tiny_config, *evaluation(run, "e"), f"dataset.test_query_path={tmp_path / 'query'}")
    assert outcome.code == 0, outcome.text
    assert "1 of 9 queries have no image" in outcome.text
    [found] = summary_of(Path("e"))["evaluations"]
    assert [Path(name).name for name in found["queries_without_match"]] == ["stranger_01.jpg"]


def test_a_gallery_smaller_than_ten_and_images_of_mixed_sizes(chain, reidfw, tiny_config, tiny_data, tmp_path) -> None:
    run, _ = chain
    (tmp_path / "gallery").mkdir()
    for number, path in enumerate(sorted((tiny_data / "gallery").glob("*.jpg"))[:3]):
        with Image.open(path) as image:
            image.resize((30 + 7 * number, 90 - 11 * number)).save(tmp_path / "gallery" / path.name)
    outcome = reidfw(
        "run",
        tiny_config,
        *evaluation(run, "e"),
        f"dataset.test_gallery_path={tmp_path / 'gallery'}",
    )
    assert outcome.code == 0, outcome.text
    [found] = summary_of(Path("e"))["evaluations"]
    assert found["num_gallery"] == 3
    assert len(found["cmc"]) == 3


def test_query_images_that_lie_in_the_gallery_are_warned_of(chain, reidfw, tiny_config, tiny_data, tmp_path) -> None:
    run, _ = chain
    shutil.copytree(tiny_data / "gallery", tmp_path / "gallery")
    copied = sorted((tiny_data / "query").glob("*.jpg"))[0]
    shutil.copy(copied, tmp_path / "gallery" / f"{copied.stem}_again.jpg")
    outcome = reidfw("run", tiny_config, *evaluation(run, "e"), f"dataset.test_gallery_path={tmp_path / 'gallery'}")
    assert outcome.code == 0, outcome.text
    assert f"1 of 8 query images are in the gallery too, for example {copied.name}" in outcome.text
    assert "too good" not in chain[1].text


def test_query_and_gallery_swapped_still_tells_the_truth(chain, reidfw, tiny_config, tiny_data) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        *evaluation(run, "e"),
        f"dataset.test_query_path='{tiny_data / 'gallery'}'",
        f"dataset.test_gallery_path='{tiny_data / 'query'}'",
    )
    assert outcome.code == 0, outcome.text
    [found] = summary_of(Path("e"))["evaluations"]
    assert (found["num_queries"], found["num_gallery"]) == (16, 8)


def test_reports_of_runs_are_compared(chain, reidfw, tiny_config) -> None:
    run, _ = chain
    assert reidfw("run", tiny_config, *evaluation(run, "e")).code == 0
    outcome = reidfw("report", run, "e", "-o", "both.html")
    assert outcome.code == 0, outcome.text
    page = Path("both.html").read_text(encoding="utf-8")
    assert run.name in page
    moved = Path("moved")
    shutil.move("e", moved)
    (moved / "report.html").unlink()
    assert reidfw("report", moved).code == 0
    assert (moved / "report.html").is_file()


def test_a_folder_that_is_no_run(reidfw, tmp_path) -> None:
    (tmp_path / "x").mkdir()
    outcome = reidfw("report", "x")
    assert outcome.code == 2, outcome.text
    assert "summary.json" in outcome.text


def test_an_interrupted_chain_keeps_the_summary_of_what_was_done(chain, reidfw, tiny_config, tmp_path) -> None:
    run, _ = chain
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=chain_eqe",
        "~model.model_name",
        f"model.model_path='{run / 'saved_models/best_model.keras'}'",
        "hydra.run.dir=e",
        "quantization.quantizer=onnx_quantizer",
        "+quantization.onnx_quant_parameters.nodes_to_quantize=[no_such_node]",
    )
    assert outcome.code != 0
    found = summary_of(Path("e"))
    assert found["run"]["status"] == "failed"
    assert [step["key"] for step in found["steps"]] == ["evaluate"]
    assert (Path("e") / "report.html").is_file()
