"""``report.html``: self-contained, safe, complete, and right in its numbers."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from reidfw_core.errors import DataError
from reidfw_core.report.change import quantization_changes, size_difference
from reidfw_core.report.formatting import chosen_options, decimal, duration, flattened, moment, number_format
from reidfw_core.report.page import key_figures, memory_bars, reading_notes, report_html, sorted_details, write_report
from reidfw_core.report.summary import FigureSummary, Summary
from reidfw_core.types import BenchmarkReport, BoardQuantity

EVIL = "<script>alert(1)</script>"


def changed(summary: Summary, path: str, value: object) -> Summary:
    """The same summary with one value replaced; ``path`` is dotted, numbers are places in lists."""
    content = summary.model_dump()
    at = content
    *above, last = path.split(".")
    for part in above:
        at = at[int(part)] if isinstance(at, list) else at[part]
    at[int(last) if isinstance(at, list) else last] = value
    return Summary.model_validate(content)


@pytest.fixture
def run_dir(made: ModuleType, tmp_path: Path) -> Path:
    return made.write_run(tmp_path / "run", made.full_summary())


def test_a_page_needs_nothing_but_itself(run_dir: Path, parse: type) -> None:
    page = write_report(run_dir)

    assert page == run_dir / "report.html"
    facts = parse(page.read_text(encoding="utf-8"))
    assert facts.faults == []
    assert all(reference.startswith("data:image/") for reference in facts.references), facts.references
    assert "default-src 'none'" in facts.policy
    assert facts.handlers == []
    assert [path.name for path in run_dir.iterdir() if path.name.startswith(".")] == [], "nothing half-written"


def test_ids_are_unique_links_lead_somewhere_and_headings_say_something(run_dir: Path, parse: type) -> None:
    facts = parse(write_report(run_dir).read_text(encoding="utf-8"))

    assert len(facts.ids) == len(set(facts.ids))
    assert set(facts.anchors) <= set(facts.ids)
    assert len(facts.anchors) > 6
    assert all(heading.strip() for heading in facts.headings)


def test_all_rows_of_a_table_have_as_many_cells(run_dir: Path, parse: type) -> None:
    for rows in parse(write_report(run_dir).read_text(encoding="utf-8")).tables:
        assert len({len(row) for row in rows}) == 1


def test_numbers_are_on_the_page_with_two_decimals(run_dir: Path, parse: type) -> None:
    text = parse(write_report(run_dir).read_text(encoding="utf-8")).text

    for shown in ("61.37", "60.95", "−0.42", "58.97 to 63.77", "0.9912", "31.8", "0.4123", "40.25", "1 h 10 min"):
        assert shown in text
    assert "2025-03-14 10:20 UTC" in text
    assert "learning_rate: 0.001" in text
    assert "tensorflow" in text


@pytest.mark.parametrize(
    "place",
    [
        "run.project",
        "run.name",
        "run.dataset",
        "evaluations.0.per_identity.239.name",
        "evaluations.0.queries_without_match.0",
        "evaluations.0.worst_queries.0.identity",
        "evaluations.0.model.name",
        "evaluations.0.kernels",
        "fidelity.0.layers.0.name",
        "benchmarks.0.board",
        "benchmarks.0.quantities.0.name",
        "benchmarks.0.origins.published",
        "benchmarks.0.layers.24.name",
        "config.general.project_name",
        "environment.python",
        "figures.0.title",
        "figures.0.step",
        "figures.2.file",
        "steps.0.title",
    ],
)
def test_names_cannot_become_html(made: ModuleType, run_dir: Path, parse: type, place: str) -> None:
    evil = changed(made.full_summary(), place, EVIL + "\" onload='x")

    facts = parse(report_html(evil, run_dir))

    assert len(facts.scripts) == 1, "our own"
    assert "alert(1)" not in facts.scripts[0]
    assert facts.handlers == []
    assert facts.faults == []
    assert EVIL in facts.text, "shown as it is written"


def test_a_summary_without_anything_has_a_page_without_empty_sections(
    made: ModuleType, tmp_path: Path, parse: type
) -> None:
    facts = parse(report_html(made.empty_summary(), tmp_path))

    assert facts.faults == []
    assert all(heading.strip() for heading in facts.headings)
    assert facts.tables == []
    assert "None" not in facts.text


def test_scores_that_do_not_exist_are_dashes(made: ModuleType, tmp_path: Path, parse: type) -> None:
    summary = made.full_summary()
    nothing = summary.evaluations[0].model_copy(
        update={
            "scores": {},
            "cmc": [],
            "confidence": None,
            "percent_per_query": None,
            "verification": summary.evaluations[0].verification.model_copy(
                update={
                    "threshold": None,
                    "balanced_accuracy": None,
                    "equal_error_rate": None,
                    "true_positive_rate_at": {},
                    "roc": None,
                }
            ),
            "per_camera": [],
        }
    )
    facts = parse(report_html(summary.model_copy(update={"evaluations": [nothing]}), tmp_path))

    models = facts.tables[0]
    assert models[1][1:6] == ["–"] * 5
    assert "None" not in facts.text
    assert "nan" not in facts.text.lower().split()


def test_the_svg_is_pasted_else_the_raster_else_a_note(run_dir: Path, parse: type) -> None:
    page = write_report(run_dir).read_text(encoding="utf-8")
    facts = parse(page)

    assert 'd="M0 90 L60 30 L200 10"' in page
    assert len(facts.references) == 1
    assert facts.references[0].startswith("data:image/jpeg;base64,/9j/")
    assert "no longer there: gone.png" in facts.text


def test_pictures_shown_twice_keep_their_own_ids(made: ModuleType, run_dir: Path, parse: type) -> None:
    figure = made.full_summary().figures[0]
    twice = made.full_summary().model_copy(update={"figures": [figure, figure.model_copy(update={"step": "train"})]})

    page = report_html(twice, run_dir)

    assert 'id="p1-clip"' in page
    assert 'clip-path="url(#p1-clip)"' in page
    assert 'clip-path="url(#p2-clip)"' in page
    facts = parse(page)
    assert len(facts.ids) == len(set(facts.ids))


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<path onclick="alert(1)"/>',
        '<image href="data:image/png;base64,AAAA"/>',
        '<use href="http://example.invalid/a.svg#b"/>',
        '<a href="javascript:alert(1)"><path/></a>',
        "<style>@import 'http://example.invalid/a.css';</style>",
        '<path style="fill: url(http://example.invalid/a)"/>',
        "<foreignObject><p>x</p></foreignObject>",
        "<!--><script>alert(1)</script>-->",
        "<path>",
    ],
)
def test_an_svg_that_does_more_than_draw_is_not_pasted(
    made: ModuleType, run_dir: Path, parse: type, inside: str
) -> None:
    svg = made.SVG.replace("<text", inside + "<text")
    (run_dir / "figures" / "curve.svg").write_text(svg, encoding="utf-8")

    page = write_report(run_dir).read_text(encoding="utf-8")

    assert "alert(1)" not in page
    assert "example.invalid" not in page
    assert len(parse(page).scripts) == 1
    if not inside.startswith("<!--"):  # a comment is dropped, the picture stays
        assert "no longer there: curve.png" in page


def test_only_files_of_the_run_are_embedded(made: ModuleType, run_dir: Path) -> None:
    shutil.copy(run_dir / "sheet.jpg", run_dir.parent / "private.jpg")
    figures = [FigureSummary(file="../private.jpg", title="outside", svg="../private.svg")]

    page = report_html(made.full_summary().model_copy(update={"figures": figures}), run_dir)

    assert "data:image" not in page.replace("img-src data:", "")


def test_a_real_plot_is_pasted(made: ModuleType, run_dir: Path) -> None:
    pytest.importorskip("matplotlib")
    from reidfw_core.figures.style import new_figure, save_figure, style_axes

    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], label="a & b")
    axes.legend()
    style_axes(axes, "x", "y")
    save_figure(figure, run_dir / "curve.png", run_dir / "figures" / "curve.svg")

    page = write_report(run_dir).read_text(encoding="utf-8")

    assert "a &amp; b" in page
    assert "data:image/png" not in page


def test_a_moved_run_keeps_its_pictures(run_dir: Path, tmp_path: Path) -> None:
    before = write_report(run_dir).read_text(encoding="utf-8")
    moved = run_dir.rename(tmp_path / "elsewhere")

    assert write_report(moved).read_text(encoding="utf-8") == before
    assert write_report(moved / "summary.json") == moved / "report.html"


def test_a_folder_without_a_summary_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run folder"):
        write_report(tmp_path)


def test_long_tables_are_cut_with_a_note_and_begin_with_the_worst(run_dir: Path, parse: type) -> None:
    facts = parse(write_report(run_dir).read_text(encoding="utf-8"))

    assert "The 200 worst of 240" in facts.text
    identities = next(rows for rows in facts.tables if rows[0][0] == "Name" and rows[1][0].startswith("id "))
    assert len(identities) == 201
    assert identities[1][0] == "id 0239"
    assert identities[1][3] == "40.25"


def test_key_figures_say_what_quantization_changed(made: ModuleType) -> None:
    tiles = {tile.label: tile for tile in key_figures(made.full_summary())}

    assert tiles["mAP, float32"].value == "61.37"
    assert tiles["mAP, int8"].value == "60.95"
    assert tiles["Difference of mAP"].value == "−0.42"
    assert tiles["Size, quantized / float"].note == "281.0 KiB, 3.1× smaller"
    assert tiles["Flash, stm32n6570_dk"].note.endswith("does not fit")


def test_scores_of_different_questions_are_not_subtracted(made: ModuleType) -> None:
    summary = changed(made.full_summary(), "evaluations.1.distance", "euclidean")

    assert "Difference of mAP" not in {tile.label for tile in key_figures(summary)}
    assert not any("overlap" in note for note in reading_notes(summary.evaluations))


def test_notes_say_what_a_query_weighs_and_when_a_difference_means_nothing(made: ModuleType) -> None:
    weight, overlap = reading_notes(made.full_summary().evaluations)

    assert weight.startswith("One query of the test set is 0.50 points of rank-k: 199 queries")
    assert "differ by 0.42 points" in overlap
    assert "within the uncertainty" in overlap
    apart = made.full_summary(half=0.1)
    assert len(reading_notes(apart.evaluations)) == 1


def test_memory_of_a_board(made: ModuleType) -> None:
    ram, flash = memory_bars(made.full_summary().benchmarks[0])

    assert (ram.needed, ram.there, ram.fits) == (640.25, 4300.0, True)
    assert flash.share == pytest.approx(100 * 2300 / 2048)
    assert not flash.fits
    unknown = made.full_summary().benchmarks[0].model_copy(update={"total_ram_kib": None, "board_ram_kib": None})
    assert memory_bars(unknown)[0].needed == 512.0
    assert memory_bars(unknown)[0].share is None


def test_memory_outside_of_the_chip_has_a_bar_of_its_own(made: ModuleType) -> None:
    benchmark = made.full_summary().benchmarks[0]
    told = {"total_ram_kib": 700.0, "board_ram_kib": 1000.0, "external_ram_kib": 300.0, "board_external_ram_kib": 600.0}
    inside, outside, _ = memory_bars(benchmark.model_copy(update=told))
    assert (inside.label, inside.needed, inside.share) == ("Internal RAM", 400.0, 40.0)
    assert (outside.label, outside.needed, outside.share) == ("External RAM", 300.0, 50.0)
    nothing_outside = memory_bars(benchmark.model_copy(update={**told, "external_ram_kib": 0.0}))
    assert [bar.label for bar in nothing_outside] == ["RAM", "Flash"]
    no_flash = memory_bars(benchmark.model_copy(update={"board_flash_kib": None, "board_external_flash_kib": 23000.0}))
    assert (no_flash[1].label, no_flash[1].needed, no_flash[1].share) == ("External flash", 2300.0, 10.0)


def test_details_of_a_benchmark_read_as_facts_tables_and_groups(made: ModuleType, run_dir: Path) -> None:
    details = {
        "command": ["stedgeai", "generate"],
        "report_schemas": {"info": "2.0"},
        "empty": {},
        "layers": [{"name": "conv<1>", "macs": 1_000_000}, {"name": "dense", "weights_bytes": 12288, "macs": None}],
    }
    facts, (layers,), groups = sorted_details(details)
    assert facts == {"command": "stedgeai; generate"}
    assert groups == {"report schemas": {"info": "2.0"}}
    assert layers.columns == (("name", False), ("macs", True), ("weights bytes", True))
    assert layers.rows == (("conv<1>", "1\u202f000\u202f000", "–"), ("dense", "–", "12\u202f288"))
    summary = made.full_summary()
    summary.benchmarks[0].details.update(details)
    text = report_html(summary, run_dir)
    assert '<td class="word">conv&lt;1&gt;</td>' in text
    assert "{name:" not in text


def test_quantities_of_a_board_keep_their_columns(made: ModuleType, tmp_path: Path, parse: type) -> None:
    facts = parse(report_html(made.full_summary(), tmp_path))
    rows = [[cell.strip() for cell in row] for table in facts.tables for row in table]

    assert ["Working memory", "KiB", "512.25", "–", "461.32"] in rows
    assert ["Inference", "ms", "–", "230.30 to 354.40", "–"] in rows
    assert "Modelled: a guess." in facts.text
    layers = [row for row in rows if row[0].startswith("block_")]
    assert [row[0] for row in layers] == [f"block_{n}" for n in range(24, 4, -1)]
    assert layers[0] == ["block_24", "CONV_2D", "24\u202f000", "72\u202f000", "8.0", "3.00"]
    assert "one; two" in facts.text
    assert "hidden" not in facts.text


def test_a_modelled_time_is_a_key_figure_that_says_so(made: ModuleType) -> None:
    summary = made.full_summary()
    timed = summary.benchmarks[0].model_copy(update={"inference_ms": None})
    tiles = key_figures(summary.model_copy(update={"benchmarks": [timed]}))
    (tile,) = [tile for tile in tiles if tile.label.startswith("Inference")]
    assert (tile.value, tile.unit, tile.note) == ("230.30 to 354.40", "ms", "modelled, a guess")


def test_what_a_tool_measured_is_its_table() -> None:
    assert BenchmarkReport().table == ()
    plain = BenchmarkReport(macs=2_000_000, inference_ms=3.5)
    assert [(row.name, row.unit, row.measured) for row in plain.table] == [
        ("MACs", "million", 2.0),
        ("Inference", "ms", 3.5),
    ]
    own = BoardQuantity(name="Stack", unit="KiB", measured=1.0)
    assert BenchmarkReport(macs=1, quantities=(own,)).table == (own,)


def test_how_numbers_read() -> None:
    assert decimal(None) == "–"
    assert decimal(float("nan")) == "–"
    assert decimal(-0.001) == "0.00"
    assert decimal(2.0, sign=True) == "+2.00"
    assert decimal(1234.5, 1) == "1234.5"
    assert decimal(1234567, 0) == "1\u202f234\u202f567"
    assert [duration(value) for value in (None, 4.21, 59.96, 61, 3600, 7322)] == [
        "–",
        "4.2 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 02 min",
    ]
    assert number_format("tflite/int8", "int") == "int8"
    assert number_format("keras/*", "float") == "float"
    assert number_format("keras", None) == "any numbers"
    assert moment("2025-01-31T23:30:00+02:00") == "2025-01-31 21:30 UTC"
    assert moment("yesterday") == "yesterday"
    assert chosen_options({"flip": True, "rerank": None, "multi_query": False}) == "flip"
    assert chosen_options({"flip": False}) == "none"
    assert flattened({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


def test_before_and_after_quantization(made: ModuleType, tmp_path: Path, parse: type) -> None:
    summary = made.full_summary()
    rows = {row.label: (row.before, row.after, row.difference) for row in quantization_changes(summary)}
    assert rows["mAP %"] == ("61.37", "60.95", "\N{MINUS SIGN}0.42")
    assert rows["Size KiB"] == ("884.0", "281.0", "3.1\N{MULTIPLICATION SIGN} smaller")
    assert rows["Embedding SNR dB"][1] == "17.6"
    tables = parse(report_html(summary, tmp_path)).tables
    assert any(["mAP %", "61.37", "60.95", "\N{MINUS SIGN}0.42"] in table for table in tables)
    other_data = changed(summary, "evaluations.1.num_gallery", 7)
    assert "mAP %" not in {row.label for row in quantization_changes(other_data)}, "scores that cannot be subtracted"
    assert quantization_changes(summary.model_copy(update={"evaluations": [], "fidelity": []})) == []


def test_after_a_fine_tuning_the_page_says_what_is_compared_with_what(made: ModuleType, tmp_path: Path) -> None:
    before = made.full_summary().fidelity[0].float_model.model_dump() | {"size_bytes": 281 * 4 * 1024}
    summary = changed(made.full_summary(), "fidelity.0.fine_tuned_from", before)
    rows = {row.label: row for row in quantization_changes(summary)}
    assert (rows["Size KiB"].before, rows["Size KiB"].difference) == ("1124.0", "4.0\N{MULTIPLICATION SIGN} smaller")
    assert "Embedding SNR dB (to the fine-tuned model)" in rows
    tiles = {tile.label: tile for tile in key_figures(summary)}
    assert tiles["Embedding cosine"].note.endswith("(to the fine-tuned model)")
    page = " ".join(report_html(summary, tmp_path).split())
    assert "compared with those of the fine-tuned model, which rounds already" in page
    assert "compared with the fine-tuned network without its rounding" in page
    assert "fine-tuned" not in report_html(made.full_summary(), tmp_path)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.25, "4.0× smaller"), (0.98, "as large"), (1.0, "as large"), (1.04, "as large"), (2, "2.0× larger")],
)
def test_a_size_is_called_smaller_only_where_it_is(ratio: float, text: str) -> None:
    assert size_difference(ratio) == text


def test_a_search_stands_in_for_missing_evaluations(made: ModuleType, tmp_path: Path) -> None:
    trials = [
        {"num_kept": 0, "precision": None, "mAP": 50.0, "drop": 11.0},
        {"num_kept": 2, "precision": "float", "mAP": 60.5, "drop": 0.5},
    ]
    search = {
        "max_map_drop": 1.0,
        "reached": True,
        "data": "validation_set",
        "float_mAP": 61.0,
        "chosen": trials[1],
        "trials": trials,
    }
    summary = changed(made.full_summary(), "fidelity.0.search", search).model_copy(update={"evaluations": []})
    rows = {row.label: (row.before, row.after, row.difference) for row in quantization_changes(summary)}
    assert rows["mAP %"] == ("61.00", "60.50", "\N{MINUS SIGN}0.50")
    page = " ".join(report_html(summary, tmp_path).split())
    assert "0.50 points of mAP are lost on the validation set, within the limit" in page
