"""Pictures of an evaluation: drawn for any result, and as SVG that lives in a page, light or dark."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reidfw_core.artifacts import Neighbour, Prediction
from reidfw_core.errors import DataError
from reidfw_core.figures import (
    RankCurve,
    RocCurve,
    SheetNeighbour,
    SheetRow,
    SheetSection,
    draw_embedding_map,
    draw_fidelity,
    draw_layer_errors,
    draw_rank_curve,
    draw_rank_curves,
    draw_retrieval_sheet,
    draw_roc_curve,
    draw_training_curves,
)
from reidfw_core.figures.sheet import draw_prediction_sheet, sheet_font
from reidfw_core.figures.style import MARKERS, PALETTE, _wrapped, figure_svg, new_figure, shorten
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


def rank_curve(label: str, *, cmc: tuple[float, ...] = (0.5, 0.75, 1.0)) -> RankCurve:
    return RankCurve(label=label, cmc=cmc, mean_average_precision=0.4321)


def texts_of(path: Path) -> list[str]:
    """What is written in an SVG, in the order of the file."""
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    return [element.text.strip() for element in root.iter() if element.tag.endswith("text") and element.text]


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
    assert "<style" not in text  # it would count for the whole page
    assert "#000000" not in text
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
        "cmcs": lambda p, s: draw_rank_curves([rank_curve("a"), rank_curve("b")], "t", p, svg_path=s),
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


def test_pictures_without_a_name_stand_in_one_page_too() -> None:
    texts = []
    for value in (1, 2):
        figure = new_figure(2, 2)
        figure.add_subplot().plot([0, value], [0, 1], clip_on=True)
        texts += [figure_svg(figure), figure_svg(figure)]
    assert texts[0] == texts[1]
    first, second = (set(re.findall(r'\bid="([^"]+)"', text)) for text in texts[::2])
    assert first
    assert not first & second


def test_a_title_is_kept_even_if_it_looks_like_markup_or_colour(tmp_path) -> None:
    title = '#262626 id="x" <b> url(#y) & $z$ größe'
    draw_rank_curves([rank_curve("a")], title, tmp_path / "a.png", svg_path=tmp_path / "a.svg")
    checked = ElementTree.fromstring((tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert checked.get("aria-label") == title
    assert title in texts_of(tmp_path / "a.svg")


@given(st.text(alphabet="ab_-/ ü$", max_size=200), st.integers(1, 40))
def test_a_wrapped_title_loses_nothing_but_blanks_and_keeps_its_width(title: str, letters: int) -> None:
    wrapped = _wrapped(title, letters)
    assert all(len(line) <= letters for line in wrapped.split("\n"))
    assert "".join(wrapped.split()) == "".join(title.split())


@given(st.text(max_size=60), st.integers(2, 40))
def test_a_shortened_name_has_the_ends_of_the_name(name: str, letters: int) -> None:
    short = shorten(name, letters)
    if len(name) <= letters:
        assert short == name
    else:
        assert len(short) == letters
        beginning, end = short.rsplit("…", 1) if "…" not in name else (short[: -((letters - 1) // 2) - 1], "")
        assert name.startswith(beginning)
        assert name.endswith(end)


def test_the_legend_of_several_models_names_rank_1_and_map_of_each(tmp_path) -> None:
    curves = [rank_curve("$osnet$_größe"), rank_curve("_hidden", cmc=(0.25,)), rank_curve("x", cmc=(np.nan, np.nan))]
    draw_rank_curves(curves, "t", tmp_path / "a.png", svg_path=tmp_path / "a.svg")
    written = texts_of(tmp_path / "a.svg")
    assert "$osnet$_größe: rank-1 50.00 %, mAP 43.21 %" in written
    assert "_hidden: rank-1 25.00 %, mAP 43.21 %" in written
    assert "x: no query has a match" in written


@pytest.mark.parametrize("count", [0, 9])
def test_curves_that_cannot_be_told_apart_are_refused(tmp_path, count) -> None:
    with pytest.raises(DataError, match="curve"):
        draw_rank_curves([rank_curve("a")] * count, "t", tmp_path / "a.png")
    with pytest.raises(DataError, match="curve"):
        draw_roc_curve([roc()] * count, "t", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pairs", "first"), [(None, "0.01"), (3, "10"), (200, "0.1"), (100, "1"), (10**7, "0.01"), (0, "10")]
)
def test_the_roc_axis_begins_where_the_pairs_can_tell(tmp_path, pairs, first) -> None:
    draw_roc_curve([roc(num_impostor=pairs)], "t", tmp_path / "a.png", svg_path=tmp_path / "a.svg")
    assert texts_of(tmp_path / "a.svg")[0] == first


def test_the_roc_names_its_rates_and_marks(tmp_path) -> None:
    curve = roc(threshold_point=(0.0625, 0.25))
    draw_roc_curve([curve], "t", tmp_path / "a.png", svg_path=tmp_path / "a.svg")
    written = texts_of(tmp_path / "a.svg")
    assert {"0.0 % at FPR 0.1 %", "0.0 % at FPR 1 %", "equal error rate (EER)"} <= set(written)
    assert "best threshold: TPR 25.0 % at FPR 6.25 %" in written
    assert "m: EER 38.00 %, AUC 0.6700" in written


def test_the_twenty_identities_with_most_images_are_named_each_with_a_look_of_its_own(tmp_path) -> None:
    identities = [f"id{i}" for i in range(30) for _ in range(30 - i)]
    points = np.random.default_rng(0).normal(size=(len(identities), 2))
    queries = np.arange(len(identities)) % 2 == 0
    draw_embedding_map(points, identities, queries, "umap", "t", tmp_path / "a.png", svg_path=tmp_path / "a.svg")
    written = texts_of(tmp_path / "a.svg")
    assert {text for text in written if text.startswith("id")} == {f"id{i}" for i in range(20)} | {"identity"}
    assert "10 others" in written
    looks = {(PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]) for number in range(20)}
    assert len(looks) == 20


def test_images_whose_cosine_is_rounded_up_are_counted(tmp_path) -> None:
    draw_fidelity(np.full(5, 1 + 1e-7), "equal", tmp_path / "a.png")
    assert count_of(tmp_path / "a.png", (0, 114, 178)) > 500


def test_the_worst_layer_stands_at_the_top_and_those_left_out_are_told(tmp_path) -> None:
    layers = [("good", "ADD", 40.0), ("bad", "CONV_2D", -2.5), ("fair", "MUL", 12.0), ("equal", "ADD", float("inf"))]
    draw_layer_errors(layers, "t", tmp_path / "a.png", svg_path=tmp_path / "a.svg")
    root = ElementTree.fromstring((tmp_path / "a.svg").read_text(encoding="utf-8"))
    heights = {e.text: float(e.get("y", 0)) for e in root.iter() if e.tag.endswith("text")}
    assert heights["bad (CONV_2D)"] < heights["fair (MUL)"] < heights["good (ADD)"]
    assert "3 of 4 layers; 1 without a finite ratio left out" in heights


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


def test_a_sheet_of_ten_rows_is_small_and_fits_a_screen(tmp_path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for number in range(11):
        noise = Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8))
        files.append(tmp_path / f"n{number}.png")
        noise.resize((128, 256), Image.Resampling.BICUBIC).save(files[-1])
    near = tuple(SheetNeighbour(image=file, identity="b", distance=0.5, is_match=False) for file in files)
    row = SheetRow(query=files[0], identity="größe", note="AP 3 %", neighbours=near)
    empty = SheetRow(query=files[0], identity="a", note="", neighbours=())
    sheet = draw_retrieval_sheet(
        [SheetSection("best queries", (row,) * 5), SheetSection("worst queries", (row,) * 4 + (empty,))],
        "t" * 300,
        tmp_path / "sheet.jpg",
    )
    with Image.open(sheet) as image:
        assert 1200 < image.width <= 1600
    assert sheet.stat().st_size < 1_000_000


def test_the_sheets_have_letters_beyond_english() -> None:
    shapes = {bytes(sheet_font(20).getmask(letter)) for letter in "öäüßéžλЖ"}
    assert len(shapes) == 8  # a missing letter would be drawn as the same box


def test_without_matplotlib_the_sheets_have_a_font_all_the_same(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("reidfw_core.figures.sheet.find_spec", lambda _: None)
    query, near = pictures(tmp_path, 2)
    one = Prediction(image=query, neighbours=(Neighbour(image=near, identity="a", distance=0.2),))
    assert draw_prediction_sheet(one, tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize(("accepted", "shown", "absent"), [(True, GREEN, RED), (False, RED, GREEN)])
def test_the_verdict_on_the_prediction_sheet_is_green_or_red(tmp_path, accepted, shown, absent) -> None:
    query, near = pictures(tmp_path, 2)
    one = Prediction(image=query, neighbours=(Neighbour(image=near, identity="a", distance=0.2),), accepted=accepted)
    told = draw_prediction_sheet(one, tmp_path / "told.png", verdict="same identity")
    assert count_of(told, shown) > 30
    assert count_of(told, absent) == 0


def test_a_verdict_stands_on_the_prediction_sheet(tmp_path) -> None:
    query, near = pictures(tmp_path, 2)
    one = Prediction(image=query, neighbours=(Neighbour(image=near, identity="a", distance=0.2),), accepted=True)
    plain = draw_prediction_sheet(one, tmp_path / "plain.png").read_bytes()
    assert draw_prediction_sheet(one, tmp_path / "told.png", verdict="same identity").read_bytes() != plain
