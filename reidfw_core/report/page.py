"""``report.html``: one run as a page that a person reads, on a phone or on paper, without any network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidfw_core.files import write_text
from reidfw_core.report.change import AGAINST_FINE_TUNED, quantization_changes, same_conditions, size_difference
from reidfw_core.report.formatting import (
    NOTHING,
    compact,
    decimal,
    flattened,
    interval,
    kibibytes,
    number_format,
    plain,
    spread,
    whole,
)
from reidfw_core.report.pictures import Picture, load_pictures
from reidfw_core.report.rendering import render
from reidfw_core.report.summary import (
    BenchmarkSummary,
    EvaluationSummary,
    FigureSummary,
    GroupSummary,
    Score,
    Summary,
    TrainingSummary,
    read_summary,
)

REPORT_NAME = "report.html"

MOST_ROWS = 200
"""Rows of a table of identities, cameras or images; the summary holds all of them."""

MOST_LAYERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A key figure at the head of the page.

    Attributes:
        label: what it is.
        value: the number as it is shown.
        unit: behind the number, smaller.
        note: below it.
    """

    label: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How much of a board's memory a model takes.

    Attributes:
        label: which memory.
        needed, there: KiB; ``there`` is None where the board does not tell.
        share: percent of what is there.
    """

    label: str
    needed: float
    there: float | None
    share: float | None

    @property
    def fits(self) -> bool:
        """Whether the model needs no more than there is."""
        return self.share is None or self.share <= 100


def write_report(run_dir: Path, output: Path | None = None) -> Path:
    """Writes the page of a run from its ``summary.json`` and its pictures.

    Args:
        run_dir: the run folder, which may have been moved, or the ``summary.json`` in it.
        output: the file to write; ``report.html`` in the run folder by default.

    Returns:
        The file that was written: it loads nothing, neither from the network nor from beside it.

    Raises:
        DataError: there is no summary, or it cannot be read.
        StorageError: the page cannot be written.
    """
    summary = read_summary(run_dir)
    run_dir = run_dir.parent if run_dir.is_file() else run_dir
    page = output or run_dir / REPORT_NAME
    write_text(page, report_html(summary, run_dir))
    return page


def report_html(summary: Summary, run_dir: Path) -> str:
    """The page as text. Pictures are read from ``run_dir``."""
    import yaml

    models = evaluation_labels(summary.evaluations)
    titles = {step.key: step.title for step in summary.steps}
    for label, evaluation in zip(models, summary.evaluations, strict=True):
        titles[evaluation.step] = f"Evaluation of {label}"
    return render(
        "report.html",
        {
            "title": f"{summary.run.name} – reidfw report",
            "summary": summary,
            "tiles": key_figures(summary),
            "evaluations": list(zip(models, summary.evaluations, strict=True)),
            "confidence": next((f"{e.confidence:.0%}" for e in summary.evaluations if e.confidence is not None), None),
            "notes": reading_notes(summary.evaluations),
            "pictures": grouped_pictures(summary.figures, titles, run_dir),
            "rates": sorted(
                {rate for e in summary.evaluations if e.verification for rate in e.verification.true_positive_rate_at},
                key=_rate_order,
                reverse=True,
            ),
            "groups": [
                (label, evaluation, _worst_first(evaluation.per_identity), _worst_first(evaluation.per_camera))
                for label, evaluation in zip(models, summary.evaluations, strict=True)
            ],
            "changes": quantization_changes(summary),
            "overlaps": sorted({k for f in summary.fidelity for k in f.neighbour_overlap}, key=_rate_order),
            "benchmarks": [
                (benchmark, memory_bars(benchmark), *sorted_details(benchmark.details))
                for benchmark in summary.benchmarks
            ],
            "history": training_rows(summary.training),
            "environment": {name: plain(value) for name, value in flattened(summary.environment).items()},
            "config": yaml.safe_dump(summary.config, sort_keys=False, allow_unicode=True) if summary.config else "",
            "most_rows": MOST_ROWS,
            "most_layers": MOST_LAYERS,
        },
    )


def evaluation_labels(evaluations: Sequence[EvaluationSummary]) -> list[str]:
    """A name for each evaluated model: that of the model, with what sets it apart where names repeat."""
    labels = [f"{e.model.name} ({_numbers(e)})" for e in evaluations]
    if len(set(labels)) < len(labels):
        labels = [f"{label}, {e.data.replace('_', ' ')}" for label, e in zip(labels, evaluations, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [f"{label}, {e.step}" for label, e in zip(labels, evaluations, strict=True)]
    return labels


def _numbers(evaluation: EvaluationSummary) -> str:
    return number_format(evaluation.model.format, evaluation.kind)


def key_figures(summary: Summary) -> list[Tile]:
    """The tiles at the head of the page; what the run did not measure has none."""
    floats = [e for e in summary.evaluations if e.kind == "float"]
    quantized = [e for e in summary.evaluations if e.kind == "int"]
    tiles = [_map_tile(e) for e in [*floats[:1], *quantized[-1:]]]
    if floats and quantized:
        tiles += _change_tile(floats[0], quantized[-1])
    last = next(iter(quantized[-1:] or floats[:1]), None)
    if last is not None:
        rank1 = last.scores.get("rank1")
        if rank1 is not None and rank1.value is not None:
            tiles.append(_score_tile(f"Rank-1, {_numbers(last)}", rank1))
    for fidelity in summary.fidelity[-1:]:
        if fidelity.size_ratio:
            size = f"{kibibytes(fidelity.quantized_model.size_bytes)} KiB, {size_difference(fidelity.size_ratio)}"
            tiles.append(
                Tile(label="Size, quantized / float", value=decimal(100 * fidelity.size_ratio, 1), unit="%", note=size)
            )
        if fidelity.mean_cosine is not None:
            note = "" if fidelity.min_cosine is None else f"lowest {decimal(fidelity.min_cosine, 4)}"
            note += f" {AGAINST_FINE_TUNED}" if fidelity.fine_tuned_from else ""
            tiles.append(Tile(label="Embedding cosine", value=decimal(fidelity.mean_cosine, 4), note=note))
    if last is not None and last.verification is not None and last.verification.threshold is not None:
        threshold = compact(last.verification.threshold)
        tiles.append(Tile(label=f"Threshold, {_numbers(last)}", value=threshold, note=f"{last.distance} distance"))
    for benchmark in summary.benchmarks[-1:]:
        tiles += _board_tiles(benchmark)
    return tiles


def _map_tile(evaluation: EvaluationSummary) -> Tile:
    return _score_tile(f"mAP, {_numbers(evaluation)}", evaluation.scores.get("mAP", Score(value=None)))


def _score_tile(label: str, score: Score) -> Tile:
    unit = "" if score.value is None else "%"
    return Tile(label=label, value=decimal(score.value), unit=unit, note=interval(score.low, score.high))


def _change_tile(before: EvaluationSummary, after: EvaluationSummary) -> list[Tile]:
    first, second = _map(before).value, _map(after).value
    if first is None or second is None or not same_conditions(before, after):
        return []
    note = "within the uncertainty" if _overlap(before, after) else ""
    return [Tile(label="Difference of mAP", value=decimal(second - first, sign=True), unit="points", note=note)]


def _board_tiles(benchmark: BenchmarkSummary) -> list[Tile]:
    tiles = []
    for bar in memory_bars(benchmark):
        note = "" if bar.there is None else f"of {decimal(bar.there, 0)} KiB, {decimal(bar.share, 0)} %"
        note += "" if bar.fits else ": does not fit"
        tiles.append(Tile(label=f"{bar.label}, {benchmark.board}", value=decimal(bar.needed, 1), unit="KiB", note=note))
    if benchmark.inference_ms is not None:
        tiles.append(
            Tile(label=f"Inference, {benchmark.board}", value=decimal(benchmark.inference_ms), unit="ms", note="")
        )
    else:
        tiles += [
            Tile(
                label=f"{quantity.name}, {benchmark.board}",
                value=spread(quantity.modelled_low, quantity.modelled_high),
                unit="ms",
                note=", ".join(["modelled", *([origin] if (origin := benchmark.origins.get("modelled")) else [])]),
            )
            for quantity in benchmark.quantities
            if quantity.unit == "ms" and quantity.modelled_low is not None
        ]
    return tiles


def memory_bars(benchmark: BenchmarkSummary) -> list[Bar]:
    """RAM and flash of a model on a board: in total where that is known, else what the model alone takes.

    What lies outside of the chip has a bar of its own. A board without internal flash is compared by its external one.
    """
    ram = benchmark.activations_ram_kib if benchmark.total_ram_kib is None else benchmark.total_ram_kib
    flash = benchmark.weights_flash_kib if benchmark.total_flash_kib is None else benchmark.total_flash_kib
    return [
        *_bars("RAM", ram, benchmark.external_ram_kib, benchmark.board_ram_kib, benchmark.board_external_ram_kib),
        *_bars(
            "flash", flash, benchmark.external_flash_kib, benchmark.board_flash_kib, benchmark.board_external_flash_kib
        ),
    ]


def _bars(
    memory: str, needed: float | None, outside: float | None, there: float | None, there_outside: float | None
) -> list[Bar]:
    if needed is None:
        return []
    if outside is None and there is None and there_outside is not None:
        outside = needed  # nothing inside that it could lie in
    parts = [(f"External {memory}", outside, there_outside)] if outside else []
    if (inside := needed - (outside or 0)) > 0 or not parts:
        label = f"Internal {memory}" if parts else memory[0].upper() + memory[1:]
        parts.insert(0, (label, inside, there))
    return [
        Bar(label=label, needed=size, there=room, share=100 * size / room if room else None)
        for label, size, room in parts
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailTable:
    """A list of rows among the details of a benchmark, such as its layers.

    Attributes:
        title: its name, in words.
        columns: heads of the columns, each with whether it holds numbers.
        rows: cells as they are shown.
    """

    title: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]


def sorted_details(details: Mapping[str, Any]) -> tuple[dict[str, str], list[DetailTable], dict[str, dict[str, str]]]:
    """Details by how they read best: facts in one line, tables, and groups of facts."""
    facts: dict[str, str] = {}
    tables: list[DetailTable] = []
    groups: dict[str, dict[str, str]] = {}
    for name, value in details.items():
        title = name.replace("_", " ")
        if isinstance(value, Mapping):
            groups[title] = {key.replace("_", " "): _cell(part) for key, part in value.items()}
        elif isinstance(value, Sequence) and value and all(isinstance(row, Mapping) for row in value):
            tables.append(_detail_table(title, value))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            facts[title] = "; ".join(_cell(part) for part in value) or NOTHING
        else:
            facts[title] = _cell(value)
    return facts, tables, {title: group for title, group in groups.items() if group}


def _detail_table(title: str, rows: Sequence[Mapping[str, Any]]) -> DetailTable:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return DetailTable(
        title=title,
        columns=tuple(
            (name.replace("_", " "), all(_is_number(row.get(name)) or row.get(name) is None for row in rows))
            for name in names
        ),
        rows=tuple(tuple(_cell(row.get(name)) for name in names) for row in rows),
    )


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(value)
    return decimal(value) if isinstance(value, float) else plain(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _map(evaluation: EvaluationSummary) -> Score:
    return evaluation.scores.get("mAP", Score(value=None))


def _overlap(one: EvaluationSummary, other: EvaluationSummary) -> bool:
    first, second = _map(one), _map(other)
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return False
    return first.low <= second.high and second.low <= first.high


def reading_notes(evaluations: Sequence[EvaluationSummary]) -> list[str]:
    """What to know before reading the scores, in sentences."""
    notes = []
    for data in dict.fromkeys(evaluation.data for evaluation in evaluations):
        own = [e for e in evaluations if e.data == data]
        weights = {e.percent_per_query for e in own if e.percent_per_query is not None}
        if len(weights) == 1:
            queries = own[0].num_queries - len(own[0].queries_without_match)
            notes.append(
                f"One query of the {data.replace('_', ' ')} is {decimal(weights.pop())} points of rank-k: "
                f"{whole(queries)} queries have a match in the gallery. Smaller differences of rank-k do not exist."
            )
    labels = evaluation_labels(evaluations)
    for second, other in list(zip(labels, evaluations, strict=True))[1:]:
        first, one = labels[0], evaluations[0]
        before, after = _map(one).value, _map(other).value
        if before is None or after is None or not same_conditions(one, other):
            continue
        if _overlap(one, other):
            notes.append(
                f"The mAP of {first} and of {second} differ by {decimal(abs(after - before))} points, and their "
                "confidence intervals overlap: the difference is within the uncertainty of this set of queries."
            )
    return notes


def grouped_pictures(
    figures: Sequence[FigureSummary], titles: dict[str, str], run_dir: Path
) -> list[tuple[str, list[Picture]]]:
    """Pictures by the step that drew them, in the order of the run: title of the step, its pictures."""
    groups: dict[str, list[Picture]] = {}
    for figure, picture in zip(figures, load_pictures(run_dir, figures), strict=True):
        key = figure.step or ""
        groups.setdefault(key, []).append(picture)
    shown = {key: titles.get(key, key.replace("_", " ")) or "Other pictures" for key in groups}
    repeated = {title for title in shown.values() if list(shown.values()).count(title) > 1}
    return [
        (f"{shown[key]} ({key})" if shown[key] in repeated else shown[key], pictures)
        for key, pictures in groups.items()
    ]


def _worst_first(groups: Sequence[GroupSummary]) -> list[GroupSummary]:
    return sorted(groups, key=lambda group: (group.mAP is None, group.mAP or 0.0, group.name))


def training_rows(training: TrainingSummary | None) -> list[tuple[str, str, str, str]]:
    """Name of each metric with its value after the first epoch, after the best one and after the last one."""
    if training is None:
        return []
    rows: list[tuple[str, str, str, str]] = []
    for name, values in training.history.items():
        best = values[training.best_epoch - 1] if 1 <= training.best_epoch <= len(values) else None
        first, last = (values[0], values[-1]) if values else (None, None)
        rows.append((name, compact(first), compact(best), compact(last)))
    return rows


def _rate_order(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
