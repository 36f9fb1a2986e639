"""``reidfw embed`` and ``reidfw gallery`` on a trained model."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from reidfw_core.files import file_digest

pytestmark = pytest.mark.slow


@pytest.fixture
def model(chain) -> Path:
    return chain[0] / "quantized_models" / "quantized_model.tflite"


def built(reidfw, model: Path, tiny_data: Path, name: str = "known.reidgallery") -> Path:
    outcome = reidfw("gallery", "build", name, tiny_data / "gallery", "-m", model)
    assert outcome.code == 0, outcome.text
    return Path(name)


@pytest.mark.parametrize("name", ["out.npz", "out.parquet", "out.csv"])
def test_embeddings_are_written(reidfw, model, tiny_data, name) -> None:
    outcome = reidfw("embed", tiny_data / "query", "-m", model, "-o", name)
    assert outcome.code == 0, outcome.text
    assert "8 embeddings of length 256" in outcome.text
    if name.endswith("npz"):
        with np.load(name, allow_pickle=False) as content:
            vectors, identities = content["embeddings"], list(content["identities"])
            assert json.loads(str(content["header"]))["model_sha256"] == file_digest(model)
    elif name.endswith("parquet"):
        from pyarrow import parquet

        table = parquet.read_table(name)
        vectors = np.stack(table["embedding"].to_numpy())
        identities = table["identity"].to_pylist()
    else:
        with Path(name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        vectors = np.array([[float(row[f"e{i}"]) for i in range(256)] for row in rows], np.float32)
        identities = [row["identity"] for row in rows]
    assert vectors.shape == (8, 256)
    assert np.isfinite(vectors).all()
    assert sorted(set(identities)) == ["p20", "p21", "p22", "p23"]


def test_mistakes_are_found_before_the_first_image(reidfw, model, tiny_data) -> None:
    for arguments, code, message in (
        (("embed", tiny_data / "query", "-m", model, "-o", "out.nzp"), 2, "did you mean '.npz'"),
        (("embed", tiny_data / "query", "-m", model, "-o", "no/such/out.npz"), 3, "There is no folder"),
        (("embed", tiny_data / "nowhere", "-m", model, "-o", "out.npz"), 2, "There is no folder or image"),
        (("embed", tiny_data / "query", "-m", "none.keras", "-o", "out.npz"), 2, "There is no model file"),
        (("gallery", "build", "no/such/g", tiny_data / "gallery", "-m", model), 3, "There is no folder"),
        (("gallery", "search", "none", tiny_data / "query"), 2, "There is no gallery"),
        (("gallery", "remove", "none", "--identity", "x"), 2, "There is no gallery"),
    ):
        outcome = reidfw(*arguments)
        assert outcome.code == code, outcome.text
        assert message in outcome.text
        assert "Traceback" not in outcome.text


def test_a_model_outside_of_a_run_needs_a_configuration(reidfw, model, tiny_data, tiny_config, tmp_path) -> None:
    alone = tmp_path / "alone" / "deep" / "er" / "m.tflite"
    alone.parent.mkdir(parents=True)
    shutil.copy(model, alone)
    outcome = reidfw("embed", tiny_data / "query", "-m", alone, "-o", "out.npz")
    assert outcome.code == 2, outcome.text
    assert "Give the configuration" in outcome.text
    outcome = reidfw("embed", tiny_data / "query", "-m", alone, "-o", "out.npz", tiny_config)
    assert outcome.code == 0, outcome.text


def test_a_known_identity_is_found(reidfw, model, tiny_data) -> None:
    index = built(reidfw, model, tiny_data)
    image = sorted((tiny_data / "gallery").glob("*.jpg"))[0]
    outcome = reidfw("gallery", "search", index, image, "-k", "3", "--threshold", "0.5", "--json")
    assert outcome.code == 0, outcome.text
    [row] = json.loads(outcome.out)["queries"]
    assert row["same_identity"] is True
    assert row["distance"] == pytest.approx(0, abs=1e-5)
    assert Path(row["neighbours"][0]["image"]).name == image.name
    assert len(row["neighbours"]) == 3
    outcome = reidfw("gallery", "search", index, tiny_data / "query")
    assert outcome.code == 0, outcome.text
    assert "p20" in outcome.out


def test_adding_twice_and_removing(reidfw, model, tiny_data) -> None:
    index = built(reidfw, model, tiny_data)
    outcome = reidfw("gallery", "add", index, tiny_data / "query")
    assert "8 images added, 0 replaced; now 24" in outcome.text
    outcome = reidfw("gallery", "add", index, tiny_data / "query")
    assert "0 images added, 8 replaced; now 24" in outcome.text
    outcome = reidfw("gallery", "remove", index, "--identity", "p20", "--identity", "p21")
    assert "12 images removed, 12 left" in outcome.text
    outcome = reidfw("gallery", "remove", index, "--identity", "p20")
    assert outcome.code == 2, outcome.text
    outcome = reidfw("gallery", "remove", index, "--identity", "p22", "--identity", "p23")
    assert outcome.code == 0
    outcome = reidfw("gallery", "search", index, tiny_data / "query")
    assert outcome.code == 2, outcome.text
    assert "empty" in outcome.text
    facts = json.loads(reidfw("gallery", "show", index, "--json").out)
    assert (facts["images"], facts["embedding_dim"]) == (0, 256)


def test_nothing_is_overwritten_or_relabelled_by_mistake(reidfw, model, tiny_data, tmp_path) -> None:
    index = built(reidfw, model, tiny_data)
    before = index.read_bytes()
    outcome = reidfw("gallery", "build", index, tiny_data / "query", "-m", model)
    assert outcome.code == 3, outcome.text
    assert "exists already" in outcome.text
    (tmp_path / "renamed").mkdir()
    image = sorted((tiny_data / "gallery").glob("*.jpg"))[0]
    shutil.copy(image, tmp_path / "renamed" / "stranger_01.jpg")
    outcome = reidfw("gallery", "add", index, tmp_path / "renamed")
    assert outcome.code == 2, outcome.text
    assert "known as 'p20', now 'stranger'" in outcome.text
    assert index.read_bytes() == before
    outcome = reidfw("gallery", "add", index, tmp_path / "renamed", "--relabel")
    assert outcome.code == 0, outcome.text
    assert "stranger" in reidfw("gallery", "show", index).out
    assert reidfw("gallery", "build", index, tiny_data / "query", "-m", model, "--overwrite").code == 0


def test_a_flipped_gallery_flips_the_queries_of_a_prediction(reidfw, model, tiny_data, tiny_config) -> None:
    outcome = reidfw("gallery", "build", "flipped", tiny_data / "gallery", "-m", model, "--flip")
    assert outcome.code == 0, outcome.text
    image = sorted((tiny_data / "gallery").glob("*.jpg"))[0]
    outcome = reidfw(
        "run",
        tiny_config,
        "operation_mode=prediction",
        "~model.model_name",
        f"model.model_path='{model}'",
        f"dataset.prediction_query_path='{image}'",
        "hydra.run.dir=p",
        "+prediction.gallery_index=flipped",
    )
    assert outcome.code == 0, outcome.text
    [row] = json.loads(Path("p/predictions/predictions.json").read_text("utf-8"))
    assert row["neighbours"][0]["distance"] == pytest.approx(0, abs=1e-5)


def test_another_model_is_refused(reidfw, chain, model, tiny_data) -> None:
    index = built(reidfw, model, tiny_data)
    other = chain[0] / "saved_models" / "best_model.keras"
    outcome = reidfw("gallery", "search", index, tiny_data / "query", "-m", other)
    assert outcome.code == 2, outcome.text
    assert "another model" in outcome.text
    index.write_bytes(index.read_bytes()[:-20])
    outcome = reidfw("gallery", "search", index, tiny_data / "query")
    assert outcome.code == 2, outcome.text
    assert "damaged" in outcome.text


def test_an_index_stands_in_for_the_gallery_of_a_prediction(reidfw, model, tiny_data, tiny_config) -> None:
    index = built(reidfw, model, tiny_data)
    common = [
        "operation_mode=prediction",
        "~model.model_name",
        f"model.model_path='{model}'",
        f"dataset.prediction_query_path='{tiny_data / 'query'}'",
    ]
    by_index = reidfw("run", tiny_config, *common, "hydra.run.dir=i", f"+prediction.gallery_index={index}")
    assert by_index.code == 0, by_index.text
    folder = f"dataset.prediction_gallery_path='{tiny_data / 'gallery'}'"
    assert reidfw("run", tiny_config, *common, "hydra.run.dir=f", folder).code == 0
    results = [json.loads((Path(run) / "predictions/predictions.json").read_text("utf-8")) for run in "if"]
    for one, other in zip(*results, strict=True):
        assert one["identity"] == other["identity"]
        assert one["neighbours"][0]["distance"] == pytest.approx(other["neighbours"][0]["distance"], abs=1e-6)
