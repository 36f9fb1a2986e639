"""The options of evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reidfw_core.config import Configuration
from reidfw_core.errors import ConfigError

Read = Callable[..., Configuration]

TEXT = """\
operation_mode: evaluation
model: { model_path: model.keras }
dataset: { test_query_path: q, test_gallery_path: g }
preprocessing:
  rescaling: { scale: 1/255, offset: 0 }
  resizing: { interpolation: nearest, aspect_ratio: fit }
  color_mode: rgb
"""

PREDICTION = TEXT.replace("evaluation", "prediction").replace("test_query_path: q, test_gallery_path: g", "seed: 1")


def test_defaults(read: Read) -> None:
    section = read(TEXT).config.evaluation
    assert (section.protocol, section.flip, section.rerank, section.multi_query) == ("auto", False, None, False)
    assert (section.bootstrap_samples, section.confidence, section.embedding_map) == (1000, 0.95, "tsne")


def test_rerank_is_a_switch_or_its_settings(read: Read) -> None:
    assert read(TEXT, "+evaluation.rerank=True").config.evaluation.rerank.k1 == 20
    assert read(TEXT, "+evaluation.rerank=False").config.evaluation.rerank is None
    settings = read(TEXT + "evaluation: { rerank: { k1: 5, lambda_value: 0 } }").config.evaluation.rerank
    assert (settings.k1, settings.k2, settings.lambda_value) == (5, 6, 0.0)


@pytest.mark.parametrize(
    ("block", "where", "message"),
    [
        ("evaluation: { protocol: market }", "evaluation.protocol", "market1501"),
        ("evaluation: { rerank: { k1: 0 } }", "evaluation.rerank.k1", "greater than or equal to 1"),
        ("evaluation: { rerank: { lambda: 0.3 } }", "evaluation.rerank.lambda", "lambda_value"),
        ("evaluation: { confidence: 1 }", "evaluation.confidence", "less than 1"),
        ("evaluation: { bootstrap_samples: -1 }", "evaluation.bootstrap_samples", "greater than or equal to 0"),
        ("evaluation: { embedding_map: tnse }", "evaluation.embedding_map", "tsne"),
        ("evaluation: { flip_test: True }", "evaluation.flip_test", "flip"),
    ],
)
def test_mistakes_are_named(read: Read, block: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(TEXT + block)
    [problem] = error.value.problems
    assert problem.where == where
    assert message in str(problem)


def test_a_threshold_is_a_number_or_a_file(read: Read, tmp_path: Path) -> None:
    paths = ("dataset.prediction_query_path=q", "dataset.prediction_gallery_path=g")
    assert read(PREDICTION, *paths, "+prediction.threshold=0.25").config.prediction.threshold == 0.25
    assert read(PREDICTION, *paths, "+prediction.threshold=t.json").config.prediction.threshold == Path("t.json")
    assert read(PREDICTION, *paths).config.prediction.threshold is None
    with pytest.raises(ConfigError, match="greater than or equal to 0"):
        read(PREDICTION, *paths, "+prediction.threshold=-1")


def test_an_index_stands_in_for_the_gallery_folder(read: Read, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="prediction_gallery_path"):
        read(PREDICTION, "dataset.prediction_query_path=q")
    read(PREDICTION, "dataset.prediction_query_path=q", "+prediction.gallery_index=known.reidgallery")


def test_the_index_and_the_threshold_file_must_exist_and_a_query_may_be_one_file(read: Read, tmp_path: Path) -> None:
    for name in ("model.keras", "one.jpg"):
        (tmp_path / name).write_bytes(b"x")
    files = ("dataset.prediction_query_path=one.jpg", "+prediction.gallery_index=i.reidgallery")
    with pytest.raises(ConfigError) as error:
        read(PREDICTION, *files, "+prediction.threshold=t.json", check_paths=True)
    assert {problem.where for problem in error.value.problems} == {"prediction.gallery_index", "prediction.threshold"}
