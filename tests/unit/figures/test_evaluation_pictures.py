"""Pictures of an evaluation: drawn for any result, and as SVG that lives in a page, light or dark."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from reidfw_core.artifacts import Neighbour, Prediction
from reidfw_core.figures import (
    RocCurve,
    SheetNeighbour,
    SheetRow,
    SheetSection,
    draw_embedding_map,
    draw_fidelity,
    draw_layer_errors,
    draw_rank_curve,
    draw_retrieval_sheet,
    draw_roc_curve,
    draw_training_curves,
)
from reidfw_core.figures.sheet import draw_prediction_sheet
from reidfw_core.metrics import evaluate_retrieval

pytest.importorskip("matplotlib")

GREEN, RED = (0, 128, 76), (200, 40, 40)


def roc(label: str = "m", **more: object) -> RocCurve:
    rates = np.linspace(0, 1, 50)
    return RocCurve(
        label=label,
        false_positive_rates=rates,
        true_positive_rates=np.sqrt(rates),
        equal_error_rate=0.38,
        area_under_roc=0.67,
        **more,  # type: ignore[arg-type]
    )


def checked_svg(path: Path) -> str:
    """The text of an SVG that is sound XML, has no id twice, and leaves ink and paper to the page."""
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert "width" not in root.attrib
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "var(--ink" in text
    assert not re.search(r"(?<!, )#262626", text)
    assert "<?xml" not in text
    for name in re.findall(r'(?:url\(#|href="#)([^)"]+)', text):
        assert name in ids
    return text


def test_the_svg_of_every_plot(tmp_path) -> None:
    rng = np.random.default_rng(0)
    names = [str(i % 5) for i in range(20)]
    embeddings = rng.normal(size=(20, 4))
    scores = evaluate_retrieval(embeddings, embeddings + rng.normal(size=(20, 4)), names, names)
    drawn = {
        "roc": lambda p, s: draw_roc_curve([roc(threshold_point=(0.1, 0.4))], "title", p, svg_path=s),
        "map": lambda p, s: draw_embedding_map(
            rng.normal(size=(20, 2)), names, np.arange(20) < 5, "pca", "t", p, svg_path=s
        ),
        "fid": lambda p, s: draw_fidelity(rng.uniform(0.9, 1, 30), "t", p, svg_path=s),
        "lay": lambda p, s: draw_layer_errors([("a", "CONV_2D", 20.0)], "t", p, svg_path=s),
        "cmc": lambda p, s: draw_rank_curve(scores, "model <b> & $x$", p, svg_path=s),
        "tra": lambda p, s: draw_training_curves({"loss": [2.0, 1.0]}, p, svg_path=s),
    }
    texts = {}
    for name, draw in drawn.items():
        draw(tmp_path / f"{name}.png", tmp_path / "figures" / f"{name}.svg")
        texts[name] = checked_svg(tmp_path / "figures" / f"{name}.svg")
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 300
    ids = [found for text in texts.values() for found in re.findall(r'\bid="([^"]+)"', text)]
    assert len(ids) == len(set(ids))  # all of them stand in one page
    assert "model &lt;b&gt; &amp; $x$" in texts["cmc"]


def test_the_same_picture_is_the_same_svg(tmp_path) -> None:
    for name in ("a", "b"):
        draw_roc_curve([roc()], "t", tmp_path / f"{name}.png", svg_path=tmp_path / name / "roc.svg")
    assert (tmp_path / "a" / "roc.svg").read_bytes() == (tmp_path / "b" / "roc.svg").read_bytes()


@pytest.mark.parametrize("count", [1, 3, 120])
def test_a_map_of_one_or_of_many_identities(tmp_path, count) -> None:
    identities = [f"_$id{i % count}" for i in range(150)]
    points = np.random.default_rng(0).normal(size=(150, 2))
    path = draw_embedding_map(points, identities, np.zeros(150, bool), "tsne", "many", tmp_path / "map.png")
    with Image.open(path) as image:
        assert min(image.size) > 300


def test_odd_values_are_drawn(tmp_path) -> None:
    draw_roc_curve([roc(f"model {i} with a long $name$") for i in range(8)], "t", tmp_path / "roc.png")
    draw_fidelity(np.ones(5), "equal", tmp_path / "equal.png")
    draw_layer_errors([], "none", tmp_path / "none.png")
    layers = [(f"block_{i}/" + "x" * 90, "CONV_2D", snr) for i, snr in enumerate([float("inf"), -3.0, *range(40)])]
    draw_layer_errors(layers, "long", tmp_path / "long.png")
    assert len(list(tmp_path.glob("*.png"))) == 4


def pictures(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        paths.append(folder / f"p{number}.png")
        Image.new("RGB", (20 + number, 50), (10 * number, 100, 200)).save(paths[-1])
    return paths


def count_of(path: Path, color: tuple[int, int, int]) -> int:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return int((pixels == color).all(axis=2).sum())


def test_matches_are_green_and_others_red(tmp_path) -> None:
    files = pictures(tmp_path, 12)
    neighbours = tuple(
        SheetNeighbour(image=file, identity="a", distance=0.1, is_match=True, camera="2") for file in files[1:]
    )
    row = SheetRow(query=files[0], identity="a" * 60, note="AP 100 %", neighbours=neighbours)
    right = draw_retrieval_sheet([SheetSection("best", (row,))], "t", tmp_path / "right.png")
    assert count_of(right, GREEN) > 1000
    assert count_of(right, RED) == 0
    wrong = SheetNeighbour(image=files[1], identity="b", distance=0.1, is_match=False)
    row = SheetRow(query=files[0], identity="a", note="", neighbours=(wrong,))
    found = draw_retrieval_sheet([SheetSection("worst", (row,))], "t", tmp_path / "wrong.png")
    assert count_of(found, RED) > 100
    assert count_of(found, GREEN) == 0


def test_a_verdict_stands_on_the_prediction_sheet(tmp_path) -> None:
    query, near = pictures(tmp_path, 2)
    one = Prediction(image=query, neighbours=(Neighbour(image=near, identity="a", distance=0.2),), accepted=True)
    plain = draw_prediction_sheet(one, tmp_path / "plain.png").read_bytes()
    assert draw_prediction_sheet(one, tmp_path / "told.png", verdict="same identity").read_bytes() != plain
