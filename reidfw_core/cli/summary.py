"""The closing table of a run, as plain texts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from reidfw_core.artifacts import PredictionReport, RetrievalReport, TrainedModel
from reidfw_core.report.change import quantization_changes
from reidfw_core.report.formatting import decimal, spread
from reidfw_core.report.summary import read_summary
from reidfw_core.types import BenchmarkReport, DeploymentReport

if TYPE_CHECKING:
    from reidfw_core.run.runner import RunResult


class BoardTable(NamedTuple):
    """What a model costs on a board.

    Attributes:
        title: headline.
        rows: quantity, unit, measured, modelled, published.
        origins: where each column comes from, one line a column.
        notes: what the tool found odd or missing.
    """

    title: str
    rows: Sequence[Sequence[str]]
    origins: Sequence[str]
    notes: Sequence[str]


def score_rows(result: RunResult) -> Sequence[Sequence[str]]:
    """One row for each evaluation; the last column is the file's size in KiB (1024 bytes)."""
    rows = []
    for step in result.steps:
        report = step.result
        if not isinstance(report, RetrievalReport):
            continue
        ranks = [f"{100 * report.rank_accuracy[rank]:.1f}" for rank in (1, 5, 10)]
        rows.append(
            (
                report.model.name,
                f"{report.model.format.numeric.removesuffix('_qdq')} ({report.kernels})",
                f"{100 * report.mean_average_precision:.2f}",
                *ranks,
                _number(report.verification.equal_error_rate, 100, ".2f"),
                _number(report.threshold, 1, ".4f"),
                f"{report.num_queries - report.queries_without_match} of {report.num_queries}"
                if report.queries_without_match
                else str(report.num_queries),
                str(report.num_gallery),
                f"{report.model.size_bytes / 1024:.0f}",
            )
        )
    return rows


def change_rows(result: RunResult) -> Sequence[Sequence[str]]:
    """What quantization changed: what was measured, float, quantized, difference."""
    summary = read_summary(result.run_dir)
    return [(row.label, row.before, row.after, row.difference) for row in quantization_changes(summary)]


def board_tables(result: RunResult) -> Sequence[BoardTable]:
    """A table for each benchmark."""
    tables = []
    for step in result.steps:
        report = step.result
        if isinstance(report, BenchmarkReport) and step.planned.component is not None and step.model is not None:
            rows = [
                (
                    one.name,
                    one.unit,
                    decimal(one.measured),
                    spread(*(one.modelled or (None, None))),
                    decimal(one.published),
                )
                for one in report.table
            ]
            tool = f" ({report.tool})" if report.tool else ""
            title = f"{step.model.name} on {step.planned.component.name}{tool}"
            origins = tuple(f"{name}: {text}" for name, text in report.origins.items())
            tables.append(BoardTable(title, rows, origins, tuple(map(str, report.details.get("notes", ())))))
    return tables


def prediction_rows(result: RunResult) -> Sequence[Sequence[str]]:
    """One row for each predicted query."""
    verdicts = {None: "-", True: "yes", False: "no"}
    return [
        (
            one.image.name,
            one.identity,
            f"{one.neighbours[0].distance:.4f}",
            verdicts[one.accepted],
            one.neighbours[0].image.name,
        )
        for step in result.steps
        if isinstance(step.result, PredictionReport)
        for one in step.result.predictions
    ]


def _number(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else format(factor * value, form)


_FILES = (
    ("report.html", "everything on one page, for a browser"),
    ("saved_models/best_model.keras", "the model: image to embedding, float32"),
    ("saved_models/best_model_classification.keras", "the same with its classifier"),
    ("saved_models/best_qat_model.keras", "the fine-tuned model; it rounds as the quantized one does"),
    ("quantized_models/optimized_model.keras", "the float model that was quantized, equalised across layers"),
    ("quantized_models/*", "the quantized model"),
    ("*_reid_rank_curve.png", "CMC curve"),
    ("*_reid_distance_histogram.png", "distances of same and different identities"),
    ("*_reid_roc.png", "true over false positive rate"),
    ("*_reid_embedding_map.png", "the embeddings on a plane"),
    ("*_reid_retrieval_sheet.jpg", "worst and best queries with their nearest images"),
    ("*_reid_queries.csv", "every query: average precision, rank, nearest image"),
    ("*_reid_threshold.json", "the threshold for the firmware (.h: the same for C)"),
    ("*_fidelity.png", "float against quantized embeddings"),
    ("*_layer_errors.png", "quantization error layer by layer"),
    ("*_layers.csv", "every layer: quantization error, what it costs alone, size"),
    ("training_curves.png", "training curves"),
    ("predictions", "a sheet for each query, and tables"),
    ("stm32ai_files/*_report.txt", "what the model costs on the board, layer by layer"),
    ("generated/C_header/*.h", "the application's header"),
    ("stm32ai_files/*.log", "what the board's tools printed"),
    ("stm32ai_files/*.json", "reports of the board's tools"),
    ("generated/logs", "the output of each program of the deployment"),
    ("stm32ai_main.log", "the log"),
    ("summary.json", "all numbers for programs"),
)


def file_rows(result: RunResult) -> Sequence[tuple[str, str]]:
    """The files of the run that a user looks for first, each once: the first pattern that it fits tells what it is."""
    found: dict[str, str] = {}
    for pattern, meaning in _FILES:
        for path in sorted(result.run_dir.glob(pattern)):
            found.setdefault(str(path.relative_to(result.run_dir)), meaning)
    return list(found.items())


def next_steps(result: RunResult, command: str) -> Sequence[tuple[str, str]]:
    """What to try next, each with a command line; what to do with a board comes without."""
    steps: list[tuple[str, str]] = []
    results = [step.result for step in result.steps]
    for one in results:
        if isinstance(one, TrainedModel):
            longer = 2 * max(len(values) for values in one.history.values())
            steps.append(("Train longer", f"reidfw run {command} training.epochs={longer}".replace("  ", " ")))
        if isinstance(one, DeploymentReport):
            steps += [("On the board", text) for text in one.next_steps]
    if any(isinstance(one, RetrievalReport) for one in results):
        steps.append(("Compare this run with others", f"reidfw report {shlex.quote(str(result.run_dir))} OTHER_RUN"))
    steps.append(("See other components", "reidfw list backbones"))
    steps.append(("Begin with a configuration of your own", "reidfw init && reidfw run"))
    return steps
