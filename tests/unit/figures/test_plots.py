"""Plots: real pictures for any result, drawn without touching anything global, written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidfw_core.errors import StorageError, ToolNotFound
from reidfw_core.figures import draw_distance_histogram, draw_rank_curve, draw_training_curves
from reidfw_core.metrics import RetrievalScores, ThresholdScores, best_threshold, evaluate_retrieval

pytest.importorskip("matplotlib")

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)

HISTORY = {
    "loss": [2.0, 1.5, 1.0],
    "val_loss": [2.2, 1.6, 1.7],
    "accuracy": [0.1, 0.5, 0.7],
    "val_mAP": [0.2, 0.4, 0.3],
    "learning_rate": [1e-3, 5e-4, 1e-4],
}


def people(noise: float, num_query: int = 20, num_gallery: int = 150) -> tuple:
    rng = np.random.default_rng(0)
    ids = np.arange(num_query + num_gallery) % max(1, num_query // 2)
    vectors = rng.normal(size=(max(ids) + 1, 16))[ids] + noise * rng.normal(size=(len(ids), 16))
    names = [str(identity) for identity in ids]
    return vectors[:num_query], vectors[num_query:], names[:num_query], names[num_query:]


def pixels_of(path: Path, color: tuple[int, int, int]) -> int:
    """How many pixels have exactly this colour; also checks that the file is a picture that decodes."""
    with Image.open(path) as image:
        return int((np.asarray(image.convert("RGB")) == color).all(axis=2).sum())


@pytest.mark.parametrize("noise", [0.1, 1.5, 50])
def test_the_rank_curve_is_drawn_for_good_and_bad_models(noise: float, tmp_path: Path) -> None:
    path = draw_rank_curve(evaluate_retrieval(*people(noise)), "a model", tmp_path / "deep" / "folder" / "curve.png")
    assert pixels_of(path, BLUE) > 300
    assert [file.name for file in path.parent.iterdir()] == ["curve.png"]


def test_a_gallery_of_one_and_a_query_without_match_are_drawn_too(tmp_path: Path) -> None:
    one = np.ones((1, 2))
    found = draw_rank_curve(evaluate_retrieval(one, one, ["a"], ["a"]), "one", tmp_path / "found.png")
    missing = draw_rank_curve(evaluate_retrieval(one, one, ["a"], ["b"]), "one", tmp_path / "missing.png")
    assert pixels_of(found, BLUE) > 30
    assert pixels_of(missing, BLUE) == 0


@pytest.mark.parametrize("title", ["cost_$5$_and_$", "Müller ½, naïve", "x" * 300, "", "\\frac{broken"])
def test_any_title_is_drawn_as_it_is(title: str, tmp_path: Path) -> None:
    path = draw_rank_curve(evaluate_retrieval(*people(1.0)), title, tmp_path / "curve.png")
    with Image.open(path) as image:
        assert image.size == (1080, 690)


def test_the_histogram_shows_both_sorts_of_pairs(tmp_path: Path) -> None:
    path = draw_distance_histogram(best_threshold(*people(1.0)), "a model", tmp_path / "histogram.png")
    assert pixels_of(path, ORANGE) > 300
    assert pixels_of(path, BLUE) > 200


@pytest.mark.parametrize(("gallery_identity", "shown", "absent"), [("a", BLUE, ORANGE), ("b", ORANGE, BLUE)])
def test_pairs_of_one_sort_give_a_histogram_without_threshold(
    gallery_identity: str, shown: tuple, absent: tuple, tmp_path: Path
) -> None:
    scores = best_threshold(np.eye(2), np.eye(2), ["a", "a"], [gallery_identity] * 2)
    path = draw_distance_histogram(scores, "one sort", tmp_path / "histogram.png")
    assert pixels_of(path, shown) > 100
    assert pixels_of(path, absent) == 0


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        (["loss"], (750, 585)),
        (["loss", "accuracy"], (1440, 585)),
        (["loss", "val_loss", "accuracy", "val_mAP"], (2130, 585)),
        (list(HISTORY), (1440, 1095)),
    ],
)
def test_there_is_a_panel_for_what_the_history_holds(keys: list[str], size: tuple, tmp_path: Path) -> None:
    path = draw_training_curves({key: HISTORY[key] for key in keys}, tmp_path / "training_curves.png")
    with Image.open(path) as image:
        assert image.size == size
    assert pixels_of(path, BLUE) > 300
    assert (pixels_of(path, ORANGE) > 300) == any(key.startswith("val") for key in keys)


def test_a_constant_learning_rate_and_unknown_metrics_get_no_panel(tmp_path: Path) -> None:
    history = {"loss": [1.0, 0.5], "learning_rate": [1e-3, 1e-3], "triplet_hard": [0.3, 0.2]}
    with Image.open(draw_training_curves(history, tmp_path / "curves.png")) as image:
        assert image.size == (750, 585)


@pytest.mark.parametrize("epochs", [1, 2, 500])
def test_trainings_of_any_length_and_with_gaps_are_drawn(epochs: int, tmp_path: Path) -> None:
    history = {key: np.resize(values, epochs) for key, values in HISTORY.items()}
    history["val_loss"] = history["val_loss"].astype(float)
    history["val_loss"][: epochs // 2] = np.nan
    history["val_mAP"] = history["val_mAP"][: max(1, epochs - 1)]
    assert pixels_of(draw_training_curves(history, tmp_path / "curves.png"), BLUE) > 30


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"triplet_hard": [1.0]}, {"val_mAP": [float("nan")]}])
def test_a_history_without_values_is_refused(history: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no metric to draw"):
        draw_training_curves(history, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def scores() -> RetrievalScores:
    return evaluate_retrieval(*people(1.0))


@pytest.fixture
def threshold() -> ThresholdScores:
    return best_threshold(*people(1.0))


@pytest.fixture
def drawings(scores: RetrievalScores, threshold: ThresholdScores) -> list[Callable[[Path], Path]]:
    return [
        lambda path: draw_rank_curve(scores, "a", path),
        lambda path: draw_distance_histogram(threshold, "a", path),
        lambda path: draw_training_curves(HISTORY, path),
    ]


def test_a_folder_that_cannot_be_made_is_reported_as_storage(drawings: list, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for draw in drawings:
        with pytest.raises(StorageError, match="Cannot write"):
            draw(tmp_path / "file" / "picture.png")


def test_a_missing_matplotlib_is_named_with_its_cure(
    drawings: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in drawings:
        with pytest.raises(ToolNotFound, match="need the package matplotlib") as caught:
            draw(tmp_path / "picture.png")
        assert "reidfw-core[train]" in str(caught.value.hint)


def test_pyplot_settings_and_backend_are_left_alone_and_the_import_is_light(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import reidfw_core.figures, reidfw_core.metrics
assert "matplotlib" not in sys.modules, "imported too early"
import matplotlib
def settings():  # reading "backend" would itself choose one and import pyplot
    return {{name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}}
before = settings()
reidfw_core.figures.draw_training_curves({{"loss": [1.0, 0.5]}}, Path({str(tmp_path / "a.png")!r}))
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
