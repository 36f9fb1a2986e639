"""Several runs side by side: which model is best, and whether the runs may be compared at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidfw_core.errors import DataError
from reidfw_core.files import write_text
from reidfw_core.report.chart import Curve, rank_chart
from reidfw_core.report.formatting import chosen_options, flattened, number_format, plain
from reidfw_core.report.rendering import render
from reidfw_core.report.summary import (
    BenchmarkSummary,
    EvaluationSummary,
    ModelSummary,
    Score,
    Summary,
    read_summary,
)

COMPARISON_NAME = "comparison.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of numbers.

    Attributes:
        key: its name in a row.
        label: its headline.
        digits: decimals that are shown; None for four significant digits.
        higher_is_better: None where neither is.
        wanted: whether the column stands there even where no model has a value.
    """

    key: str
    label: str
    digits: int | None
    higher_is_better: bool | None
    wanted: bool = False


COLUMNS = (
    Column(key="mAP", label="mAP %", digits=2, higher_is_better=True, wanted=True),
    Column(key="mAP_difference", label="mAP vs first", digits=2, higher_is_better=None, wanted=True),
    Column(key="mINP", label="mINP %", digits=2, higher_is_better=True),
    Column(key="rank1", label="Rank-1 %", digits=2, higher_is_better=True, wanted=True),
    Column(key="rank5", label="Rank-5 %", digits=2, higher_is_better=True),
    Column(key="rank10", label="Rank-10 %", digits=2, higher_is_better=True),
    Column(key="equal_error_rate", label="EER %", digits=2, higher_is_better=False),
    Column(key="true_positive_rate_at_1", label="TPR % at FPR 1 %", digits=2, higher_is_better=True),
    Column(key="threshold", label="Threshold", digits=None, higher_is_better=None),
    Column(key="size_kib", label="Size KiB", digits=1, higher_is_better=False, wanted=True),
    Column(key="mean_cosine", label="Mean cosine", digits=4, higher_is_better=True),
    Column(key="ram_kib", label="RAM KiB", digits=1, higher_is_better=False),
    Column(key="flash_kib", label="Flash KiB", digits=1, higher_is_better=False),
    Column(key="inference_ms", label="Inference ms", digits=2, higher_is_better=False),
    Column(key="training_seconds", label="Training s", digits=1, higher_is_better=False),
)
"""The numbers of a row, in the order of the page."""


def write_comparison(run_dirs: Sequence[Path], output: Path) -> Path:
    """Writes a page that compares runs; the first one is what the others are measured against.

    Args:
        run_dirs: run folders; they may have been moved.
        output: the HTML file to write.

    Returns:
        ``output``.

    Raises:
        DataError: a folder is no run folder, or the same one is given twice.
        StorageError: the page cannot be written.
    """
    write_text(output, comparison_html(read_runs(run_dirs)))
    return output


def read_runs(run_dirs: Sequence[Path]) -> list[Summary]:
    """The summaries of several runs.

    Raises:
        DataError: a folder is no run folder, or the same one is given twice.
    """
    seen: dict[Path, Path] = {}
    for folder in run_dirs:
        place = folder.resolve()
        place = place.parent if place.is_file() else place
        if place in seen:
            raise DataError(
                f"The same run is given twice: {seen[place]} and {folder}",
                hint="Give each run folder once; a run has nothing to be compared with in itself.",
            )
        seen[place] = folder
    return [read_summary(folder) for folder in run_dirs]


def comparison_rows(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """One row for each evaluated model of each run, and for each model that was only measured on a board.

    Scores are in percent, sizes in KiB; a number that does not exist is None. Beside the keys of :data:`COLUMNS` a
    row has ``run``, ``model``, ``kind``, ``data``, ``board``, ``mAP_low``, ``mAP_high`` and ``best``: the columns in
    which no other row is better, where rows differ. ``mAP_difference`` is against the first row that has a mAP.
    """
    rows: list[dict[str, Any]] = []
    for run, summary in zip(run_labels(summaries), summaries, strict=True):
        evaluated = {evaluation.model.sha256 for evaluation in summary.evaluations}
        rows.extend(_row(run, summary, evaluation.model, evaluation) for evaluation in summary.evaluations)
        others = {b.model.sha256: b.model for b in summary.benchmarks if b.model.sha256 not in evaluated}
        rows.extend(_row(run, summary, model, None) for model in others.values())
    first = next((row["mAP"] for row in rows if row["mAP"] is not None), None)
    for place, row in enumerate(rows):
        if place and first is not None and row["mAP"] is not None:
            row["mAP_difference"] = round(row["mAP"] - first, 4)
    for row in rows:
        row["best"] = [column.key for column in COLUMNS if _is_best(row, rows, column)]
    return rows


def run_labels(summaries: Sequence[Summary]) -> list[str]:
    """The name of each run; a number behind it where runs of different folders have the same name."""
    names = [summary.run.name or summary.run.project or "run" for summary in summaries]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _row(run: str, summary: Summary, model: ModelSummary, evaluation: EvaluationSummary | None) -> dict[str, Any]:
    scores: Mapping[str, Score] = evaluation.scores if evaluation else {}
    checked = evaluation.verification if evaluation else None
    nothing = Score(value=None)
    mean = scores.get("mAP", nothing)
    measured = next((b for b in summary.benchmarks if b.model.sha256 == model.sha256), None)
    return {
        "run": run,
        "model": model.name,
        "kind": evaluation.kind if evaluation else None,
        "numbers": number_format(model.format, evaluation.kind if evaluation else None),
        "data": evaluation.data if evaluation else None,
        "mAP": mean.value,
        "mAP_low": mean.low,
        "mAP_high": mean.high,
        "mAP_difference": None,
        **{name: scores.get(name, nothing).value for name in ("mINP", "rank1", "rank5", "rank10")},
        "equal_error_rate": checked.equal_error_rate if checked else None,
        "true_positive_rate_at_1": checked.true_positive_rate_at.get("0.01") if checked else None,
        "threshold": checked.threshold if checked else None,
        "size_kib": round(model.size_bytes / 1024, 3),
        "mean_cosine": next(
            (f.mean_cosine for f in summary.fidelity if f.quantized_model.sha256 == model.sha256), None
        ),
        "board": measured.board if measured else None,
        "ram_kib": _needed(measured, "total_ram_kib", "activations_ram_kib"),
        "flash_kib": _needed(measured, "total_flash_kib", "weights_flash_kib"),
        "inference_ms": measured.inference_ms if measured else None,
        "training_seconds": summary.training.seconds if summary.training else None,
    }


def _needed(benchmark: BenchmarkSummary | None, *names: str) -> float | None:
    """The first of these numbers that is known."""
    known = (getattr(benchmark, name) for name in names) if benchmark else ()
    return next((value for value in known if value is not None), None)


def _is_best(row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], column: Column) -> bool:
    if column.higher_is_better is None or row[column.key] is None:
        return False
    values = {other[column.key] for other in rows if other[column.key] is not None}
    best = max(values) if column.higher_is_better else min(values)
    return len(values) > 1 and bool(row[column.key] == best)


def comparison_warnings(summaries: Sequence[Summary]) -> list[str]:
    """Why the scores of these runs do not measure the same thing, one sentence each; empty where they do."""
    runs = list(zip(run_labels(summaries), summaries, strict=True))
    asked: tuple[tuple[str, Callable[[Summary, EvaluationSummary], str]], ...] = (
        ("data set", lambda summary, _: summary.run.dataset),
        ("data", lambda _, evaluation: evaluation.data.replace("_", " ")),
        ("protocol", lambda _, evaluation: evaluation.protocol),
        ("distance", lambda _, evaluation: evaluation.distance),
        ("options", lambda _, evaluation: chosen_options(evaluation.options)),
        ("number of queries", lambda _, evaluation: str(evaluation.num_queries)),
        ("number of gallery images", lambda _, evaluation: str(evaluation.num_gallery)),
    )
    warnings = []
    for what, value_of in asked:
        found: dict[str, list[str]] = {}
        for label, summary in runs:
            for evaluation in summary.evaluations:
                users = found.setdefault(value_of(summary, evaluation), [])
                if label not in users:
                    users.append(label)
        if len(found) > 1:
            told = "; ".join(f"{value or 'without a name'} in {', '.join(users)}" for value, users in found.items())
            warnings.append(f"The {what} {'differ' if what == 'options' else 'differs'}: {told}.")
    for label, summary in runs:
        if not summary.evaluations:
            warnings.append(f"{label} has no evaluation.")
        boards: dict[str, list[str]] = {}
        for benchmark in summary.benchmarks:
            boards.setdefault(benchmark.model.sha256, []).append(benchmark.board)
        warnings.extend(
            f"{label} measured one model on several boards ({', '.join(names)}); the table shows {names[0]}."
            for names in boards.values()
            if len(names) > 1
        )
    boards_used = sorted({benchmark.board for summary in summaries for benchmark in summary.benchmarks})
    if len(boards_used) > 1:
        warnings.append(f"RAM, flash and time are of different boards: {', '.join(boards_used)}.")
    return warnings


def config_differences(summaries: Sequence[Summary]) -> list[tuple[str, list[str]]]:
    """Dotted name of each configuration value that is not the same in all runs, with its value in each."""
    flat = [flattened(summary.config) for summary in summaries]
    names = sorted({name for config in flat for name in config})
    rows = [(name, [plain(config[name]) if name in config else "not set" for config in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def comparison_html(summaries: Sequence[Summary]) -> str:
    """The page as text."""
    rows = comparison_rows(summaries)
    labels = run_labels(summaries)
    curves = [
        Curve(label=row_label(row), percent=evaluation.cmc)
        for row, evaluation in zip(
            [row for row in rows if row["kind"] is not None],
            [evaluation for summary in summaries for evaluation in summary.evaluations],
            strict=True,
        )
        if evaluation.cmc
    ]
    return render(
        "comparison.html",
        {
            "title": f"Comparison of {len(summaries)} runs – reidfw",
            "summaries": list(zip(labels, summaries, strict=True)),
            "rows": rows,
            "columns": shown_columns(rows),
            "several_data": len({row["data"] for row in rows}) > 1,
            "warnings": comparison_warnings(summaries),
            "differences": config_differences(summaries),
            "chart": rank_chart(curves) if curves else None,
            "version": summaries[0].reidfw if summaries else "",
        },
    )


def shown_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns in which some row has a number, and those that always stand there."""
    return [column for column in COLUMNS if column.wanted or any(row[column.key] is not None for row in rows)]


def row_label(row: Mapping[str, Any]) -> str:
    """Model and run of a row in one line."""
    return f"{row['model']} ({row['numbers']}), {row['run']}"
