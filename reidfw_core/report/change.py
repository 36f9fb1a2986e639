"""What quantization changed: the float model against the quantized one, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reidfw_core.report.formatting import NOTHING, decimal
from reidfw_core.report.summary import EvaluationSummary, FidelitySummary, Score, Summary

SCORES = (
    ("mAP", "mAP %"),
    ("mINP", "mINP %"),
    ("rank1", "Rank-1 %"),
    ("rank5", "Rank-5 %"),
    ("rank10", "Rank-10 %"),
)

AGAINST_FINE_TUNED = "(to the fine-tuned model)"
"""What embeddings were compared with after a quantization-aware training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row of the table, as plain texts.

    Attributes:
        label: what was measured, with its unit.
        before, after: of the float and of the quantized model.
        difference: the second minus the first, or what else tells the change.
    """

    label: str
    before: str
    after: str
    difference: str


def same_conditions(one: EvaluationSummary, other: EvaluationSummary) -> bool:
    """Whether two evaluations asked the same question, so that their scores can be subtracted."""
    names = ("data", "protocol", "distance", "options", "num_queries", "num_gallery")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def quantization_changes(summary: Summary) -> list[Change]:
    """Scores, size and fidelity before and after quantization; empty where a run did not quantize and compare.

    Scores are those of the evaluations of both models, where both were made under the same conditions; else mAP as
    the search for ``quantization.max_map_drop`` has measured it.
    """
    fidelity = next(iter(summary.fidelity[-1:]), None)
    pair = _evaluated_pair(summary.evaluations)
    rows = list(_score_changes(*pair)) if pair else []
    if fidelity is None:
        return [*rows, _size_change(pair[0].model.size_bytes, pair[1].model.size_bytes)] if pair else []
    if not rows and fidelity.search is not None:
        rows = [_change("mAP %", fidelity.search.float_mAP, fidelity.search.chosen.mAP, 2)]
    return [
        *rows,
        _size_change(
            (fidelity.fine_tuned_from or fidelity.float_model).size_bytes, fidelity.quantized_model.size_bytes
        ),
        *_fidelity_changes(fidelity),
    ]


def _evaluated_pair(evaluations: Sequence[EvaluationSummary]) -> tuple[EvaluationSummary, EvaluationSummary] | None:
    """The first float and the last quantized model, where the same was asked of both."""
    before = next((one for one in evaluations if one.kind == "float"), None)
    after = next((one for one in reversed(evaluations) if one.kind == "int"), None)
    if before is None or after is None or not same_conditions(before, after):
        return None
    return before, after


def _score_changes(before: EvaluationSummary, after: EvaluationSummary) -> Iterator[Change]:
    nothing = Score(value=None)
    for name, label in SCORES:
        if name in before.scores or name in after.scores:
            yield _change(label, before.scores.get(name, nothing).value, after.scores.get(name, nothing).value, 2)
    if before.verification and after.verification:
        one, other = before.verification, after.verification
        yield _change("Equal error rate %", one.equal_error_rate, other.equal_error_rate, 2)
        yield _change("Threshold", one.threshold, other.threshold, 4)


def _size_change(before: int, after: int) -> Change:
    difference = size_difference(after / before) if before and after else NOTHING
    return Change(
        label="Size KiB", before=decimal(before / 1024, 1), after=decimal(after / 1024, 1), difference=difference
    )


def size_difference(ratio: float) -> str:
    """How a size differs from one before, in words.

    Args:
        ratio: size after over size before, above 0.
    """
    times, word = (1 / ratio, "smaller") if ratio < 1 else (ratio, "larger")
    figure = decimal(times, 1)
    return "as large" if figure == "1.0" else f"{figure}\N{MULTIPLICATION SIGN} {word}"


def _fidelity_changes(fidelity: FidelitySummary) -> Iterator[Change]:
    """Rows about the pair of embeddings, which have no value before; a fine-tuning is what they are not about."""
    told = (
        ("Embedding cosine, mean", fidelity.mean_cosine, 4),
        ("Embedding cosine, lowest", fidelity.min_cosine, 4),
        ("Embedding SNR dB", fidelity.signal_to_noise_db, 1),
    )
    against = f" {AGAINST_FINE_TUNED}" if fidelity.fine_tuned_from else ""
    for label, value, digits in told:
        if value is not None:
            yield Change(label=label + against, before=NOTHING, after=decimal(value, digits), difference=NOTHING)


def _change(label: str, before: float | None, after: float | None, digits: int) -> Change:
    difference = None if before is None or after is None else after - before
    return Change(
        label=label,
        before=decimal(before, digits),
        after=decimal(after, digits),
        difference=decimal(difference, digits, sign=True),
    )
