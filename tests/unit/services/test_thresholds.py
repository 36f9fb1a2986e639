"""Thresholds given as a number or as the file of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reidfw_core.errors import DataError
from reidfw_core.files import file_digest
from reidfw_core.services.thresholds import read_threshold


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"weights")
    return path


def written(tmp_path: Path, **facts: object) -> Path:
    path = tmp_path / "m_reid_threshold.json"
    path.write_text(json.dumps(facts), encoding="utf-8")
    return path


def test_numbers_and_none_pass(model: Path) -> None:
    assert read_threshold(None, "cosine", model) is None
    assert read_threshold(0.25, "cosine", model) == 0.25
    assert read_threshold(0, "cosine", model) == 0


def test_a_file_of_the_same_model_and_distance(tmp_path: Path, model: Path) -> None:
    path = written(tmp_path, threshold=0.31, distance="cosine", model_sha256=file_digest(model))
    assert read_threshold(path, "cosine", model) == 0.31


def test_another_distance_is_refused(tmp_path: Path, model: Path) -> None:
    path = written(tmp_path, threshold=0.31, distance="euclidean", model_sha256=file_digest(model))
    with pytest.raises(DataError, match="euclidean distance; this one is cosine"):
        read_threshold(path, "cosine", model)


@pytest.mark.parametrize("how", ["flip", "multi_query"])
def test_a_threshold_of_embeddings_made_otherwise_is_refused(tmp_path: Path, model: Path, how: str) -> None:
    path = written(tmp_path, threshold=0.31, distance="cosine", model_sha256=file_digest(model), **{how: True})
    with pytest.raises(DataError, match="here single images are compared"):
        read_threshold(path, "cosine", model)
    if how == "flip":
        assert read_threshold(path, "cosine", model, flip=True) == 0.31


def test_another_model_is_refused_and_the_number_told(tmp_path: Path, model: Path) -> None:
    path = written(tmp_path, threshold=0.31, distance="cosine", model="other.tflite", model_sha256="ab" * 32)
    with pytest.raises(DataError, match=r"another model: other\.tflite") as error:
        read_threshold(path, "cosine", model)
    assert "0.3100" in (error.value.hint or "")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"threshold": "x"}', '{"threshold": NaN}', "\x00"])
def test_a_file_that_is_none(tmp_path: Path, model: Path, content: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.json"):
        read_threshold(path, "cosine", model)
