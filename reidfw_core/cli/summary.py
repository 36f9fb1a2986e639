"""The closing table of a run, as plain texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reidfw_core.artifacts import PredictionReport, RetrievalReport, TrainedModel

if TYPE_CHECKING:
    from reidfw_core.run.runner import RunResult


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
                f"{'int8' if report.kind == 'int' else 'float32'} ({report.kernels})",
                f"{100 * report.mean_average_precision:.2f}",
                *ranks,
                str(report.num_queries),
                str(report.num_gallery),
                f"{report.model.size_bytes / 1024:.0f}",
            )
        )
    return rows


_FILES = (
    ("saved_models/best_model.keras", "the model: image to embedding, float32"),
    ("saved_models/best_model_classification.keras", "the same with its classifier"),
    ("quantized_models/*", "the quantized model"),
    ("*_reid_rank_curve.png", "CMC curve"),
    ("*_reid_distance_histogram.png", "distances of same and different identities"),
    ("training_curves.png", "training curves"),
    ("predictions", "a sheet for each query, and tables"),
    ("stm32ai_main.log", "the log"),
    ("reidfw/report.json", "all numbers for machines"),
)


def file_rows(result: RunResult) -> Sequence[tuple[str, str]]:
    """The files of the run that a user looks for first."""
    return [
        (str(path.relative_to(result.run_dir)), meaning)
        for pattern, meaning in _FILES
        for path in sorted(result.run_dir.glob(pattern))
    ]


def next_steps(result: RunResult, command: str) -> Sequence[tuple[str, str]]:
    """What to try next, each with a command line."""
    steps: list[tuple[str, str]] = []
    results = [step.result for step in result.steps]
    if any(isinstance(one, PredictionReport) for one in results):
        return [("Score the model on a test set", f"reidfw run {command} operation_mode=evaluation".replace("  ", " "))]
    for one in results:
        if isinstance(one, TrainedModel):
            longer = 2 * max(len(values) for values in one.history.values())
            steps.append(("Train longer", f"reidfw run {command} training.epochs={longer}".replace("  ", " ")))
    steps.append(("See other components", "reidfw list backbones"))
    steps.append(("Begin with a configuration of your own", "reidfw init && reidfw run"))
    return steps
