"""The comparison of runs: rows, warnings, page and command."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from reidfw_core.cli.report import report
from reidfw_core.errors import DataError, StorageError
from reidfw_core.report.chart import Curve, rank_chart
from reidfw_core.report.comparison import (
    comparison_html,
    comparison_rows,
    comparison_warnings,
    config_differences,
    write_comparison,
)


def test_rows_of_all_models_with_the_best_marked(made: ModuleType) -> None:
    rows = comparison_rows([made.full_summary("one", 61.37), made.full_summary("two", 66.1)])

    assert [(row["run"], row["kind"]) for row in rows] == [
        ("one", "float"),
        ("one", "int"),
        ("two", "float"),
        ("two", "int"),
    ]
    assert [row["mAP_difference"] for row in rows] == [None, -0.42, 4.73, 4.31]
    assert [row["mean_cosine"] for row in rows] == [None, 0.99123, None, 0.99123]
    assert [row["flash_kib"] for row in rows] == [None, 2300.0, None, 2300.0]
    assert [("mAP" in row["best"], "size_kib" in row["best"]) for row in rows] == [
        (False, False),
        (False, True),
        (True, False),
        (False, True),
    ]
    assert not any("equal_error_rate" in row["best"] for row in rows), "all are the same: none is better"
    assert rows[1]["size_kib"] == 281.0
    assert (rows[0]["mAP_low"], rows[0]["mAP_high"]) == pytest.approx((58.97, 63.77))


def test_runs_of_the_same_name_are_told_apart(made: ModuleType) -> None:
    rows = comparison_rows([made.full_summary("one"), made.full_summary("one"), made.full_summary("two")])

    assert sorted({row["run"] for row in rows}) == ["one (1)", "one (2)", "two"]


def test_a_run_that_only_measured_a_board_has_a_row(made: ModuleType) -> None:
    summary = made.full_summary().model_copy(update={"evaluations": [], "fidelity": []})

    (row,) = comparison_rows([summary])

    assert (row["model"], row["inference_ms"], row["mAP"]) == ("osnet_a025_quantized", 4.37, None)


def test_like_runs_are_compared_without_warnings(made: ModuleType) -> None:
    assert comparison_warnings([made.full_summary("one"), made.full_summary("two", 70.0)]) == []


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("data", "validation_set", "The data differs: test set in one, two; validation set in two."),
        ("protocol", "all", "The protocol differs: market1501 in one, two; all in two."),
        ("distance", "euclidean", "The distance differs: cosine in one, two; euclidean in two."),
        ("options", {"flip": True}, "The options differ: none in one, two; flip in two."),
        ("num_queries", 12, "The number of queries differs: 200 in one, two; 12 in two."),
        ("num_gallery", 13, "The number of gallery images differs: 1400 in one, two; 13 in two."),
    ],
)
def test_what_makes_runs_incomparable_is_said(made: ModuleType, field: str, value: object, told: str) -> None:
    other = made.full_summary("two")
    first, second = other.evaluations
    other = other.model_copy(update={"evaluations": [first, second.model_copy(update={field: value})]})

    assert comparison_warnings([made.full_summary("one"), other]) == [told]


def test_another_data_set_is_said_on_the_page(made: ModuleType, parse: type) -> None:
    facts = parse(comparison_html([made.full_summary("one"), made.full_summary("two", dataset="CUHK03")]))

    assert "The data set differs: DeepSportradar in one; CUHK03 in two." in facts.text


def test_only_values_that_differ_are_listed(made: ModuleType) -> None:
    one = made.full_summary("one")
    two = one.model_copy(
        update={"config": {"general": {"project_name": "Shop entrance"}, "training": {"epochs": 90, "optimizer": None}}}
    )

    assert config_differences([one, two]) == [
        ("general.global_seed", ["127", "not set"]),
        ("training.epochs", ["60", "90"]),
        ("training.optimizer", ["not set", "null"]),
        ("training.optimizer.Adam.learning_rate", ["0.001", "not set"]),
    ]


def test_the_page_is_self_contained_and_whole(made: ModuleType, tmp_path: Path, parse: type) -> None:
    runs = [made.write_run(tmp_path / name, made.full_summary(name)) for name in ("one", "two")]

    page = write_comparison(runs, tmp_path / "comparison.html")

    text = page.read_text(encoding="utf-8")
    facts = parse(text)
    assert facts.faults == []
    assert facts.references == []
    assert len(facts.ids) == len(set(facts.ids))
    assert set(facts.anchors) <= set(facts.ids)
    assert all(heading.strip() for heading in facts.headings)
    assert text.count("<polyline") == 4
    assert "best: " in facts.text, "the mark is not only a colour"
    for rows in facts.tables:
        assert len({len(row) for row in rows}) == 1


def test_names_cannot_become_html(made: ModuleType, parse: type) -> None:
    evil = "<script>alert(1)</script>"

    facts = parse(comparison_html([made.full_summary(evil), made.full_summary("two", dataset=evil)]))

    assert len(facts.scripts) == 1
    assert facts.faults == []
    assert evil in facts.text


def test_runs_without_anything_have_a_page(made: ModuleType, parse: type) -> None:
    facts = parse(comparison_html([made.empty_summary(), made.empty_summary()]))

    assert facts.faults == []
    assert "run (1) has no evaluation." in facts.text


def test_the_chart_spans_its_axes() -> None:
    chart = rank_chart([Curve(label="a", percent=[72.0, 100.0]), Curve(label="b", percent=[88.0])])

    first, second = chart.lines[0].points.split(" ")
    assert first == f"{chart.left},{chart.bottom - (chart.bottom - chart.top) * 2 / 30:.2f}"
    assert second == f"{chart.right},{chart.top}"
    assert len(chart.lines[1].points.split(" ")) == 2, "one rank alone is still seen"
    assert [tick.text for tick in chart.y_ticks] == ["70", "80", "90", "100"]
    many = rank_chart([Curve(label=str(n), percent=[50.0, 60.0]) for n in range(30)])
    assert len({(line.color, line.dash) for line in many.lines}) == 30


def test_curves_at_the_ceiling_are_drawn() -> None:
    chart = rank_chart([Curve(label="a", percent=[100.0] * 80)])

    assert [tick.text for tick in chart.x_ticks] == ["1", "5", "10", "20", "30", "40", "50"]
    assert chart.lines[0].points.count(" ") == 49


def test_the_command_writes_the_page_of_one_run_again(
    made: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made.write_run(tmp_path / "one", made.full_summary("one"))

    report([run], None, as_json=False)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "report.html" in captured.err
    assert (run / "report.html").is_file()
    report([run], tmp_path / "page.html", as_json=False)
    assert (tmp_path / "page.html").read_bytes() == (run / "report.html").read_bytes()


def test_the_command_compares_in_the_current_folder(
    made: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [made.write_run(tmp_path / name, made.full_summary(name)) for name in ("one", "two")]
    monkeypatch.chdir(tmp_path)

    report(runs, None, as_json=False)

    captured = capsys.readouterr()
    assert (tmp_path / "comparison.html").is_file()
    assert "comparison.html" in captured.err
    assert "61.37" in captured.out


def test_the_command_prints_rows_for_programs(
    made: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summaries = [made.full_summary(name) for name in ("one", "two")]
    runs = [made.write_run(tmp_path / summary.run.name, summary) for summary in summaries]

    report(runs, tmp_path / "page.html", as_json=True)

    assert json.loads(capsys.readouterr().out) == comparison_rows(summaries)


def test_bad_input_is_told(made: ModuleType, tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "one", made.full_summary("one"))

    with pytest.raises(DataError, match="given twice"):
        report([run, tmp_path / "one" / "." / "summary.json"], None, as_json=False)
    with pytest.raises(DataError, match="no run folder"):
        report([tmp_path / "nowhere"], None, as_json=False)
    with pytest.raises(StorageError, match="there is no folder"):
        report([run], tmp_path / "missing" / "page.html", as_json=False)
    with pytest.raises(StorageError, match="is a folder"):
        report([run], tmp_path, as_json=False)
    assert not (tmp_path / "missing").exists()
