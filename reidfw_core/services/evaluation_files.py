"""What an evaluation leaves on disk: pictures, the table of queries, and the threshold for the firmware."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import Figure, RetrievalData
from reidfw_core.context import RunContext
from reidfw_core.files import atomic_path, file_digest, write_text
from reidfw_core.metrics import ThresholdScores, project_embeddings
from reidfw_core.services.scoring import Scored
from reidfw_core.types import ModelFile

if TYPE_CHECKING:
    from reidfw_core.config.sections import EvaluationSection
    from reidfw_core.figures import SheetRow

MAP_IMAGES = 1000
"""Images on the embedding map; of larger sets an even share of each identity's."""

SHEET_QUERIES = 5
"""Best and worst queries on the retrieval sheet, so many of each."""

THRESHOLD_RATES = (0.001, 0.01, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is known of a model once it has run.

    Attributes:
        model: its file.
        kind: ``float`` or ``int``.
        kernels: what computed the embeddings.
        images_per_second: embedding rate, decoding included.
    """

    model: ModelFile
    kind: str
    kernels: str
    images_per_second: float

    @property
    def stem(self) -> str:
        """How the files of its evaluation begin."""
        name = self.model.name
        return name if self.kind == "float" or "quant" in name else f"{name}_quantized"


def write_evaluation_files(
    opened: Opened,
    data: RetrievalData,
    scored: Scored,
    gallery: NDArray[np.float32],
    section: EvaluationSection,
    ctx: RunContext,
) -> tuple[Figure, ...]:
    """Draws the pictures, writes ``..._reid_queries.csv``, ``..._reid_threshold.json`` and ``.h``.

    Returns:
        The pictures.

    Raises:
        StorageError: a file cannot be written.
        ToolNotFound: a package for pictures or for the embedding map is missing.
    """
    stem = f"{opened.stem}_reid"
    figures = _draw(opened, data, scored, gallery, section, ctx)
    for figure in figures:
        ctx.bus.tell("artifact_saved", path=figure.path, description=figure.title)
    table = ctx.run_dir / f"{stem}_queries.csv"
    _write_queries(table, scored, data)
    ctx.bus.tell("artifact_saved", path=table, description="table of queries")
    if scored.verification.threshold is not None:
        facts = threshold_facts(opened, scored.verification, flip=section.flip, multi_query=section.multi_query)
        path = ctx.run_dir / f"{stem}_threshold.json"
        write_text(path, json.dumps(facts, indent=2) + "\n")
        write_text(path.with_suffix(".h"), threshold_header(facts))
        ctx.bus.tell("artifact_saved", path=path, description="threshold")
    return figures


def threshold_facts(
    opened: Opened, scores: ThresholdScores, *, flip: bool = False, multi_query: bool = False
) -> dict[str, Any]:
    """The content of ``..._reid_threshold.json``: the threshold, what it achieves, and what it belongs to."""
    return {
        "schema_version": 1,
        "threshold": scores.threshold,
        "distance": scores.metric,
        "flip": flip,
        "multi_query": multi_query,
        "rule": "same identity if distance <= threshold",
        "balanced_accuracy": scores.balanced_accuracy,
        "equal_error_rate": scores.equal_error_rate,
        "thresholds_at_false_positive_rate": {f"{rate:g}": threshold_at(scores, rate) for rate in THRESHOLD_RATES},
        "true_positive_rate_at_false_positive_rate": {
            f"{rate:g}": scores.true_positive_rate_at_fpr.get(rate) for rate in THRESHOLD_RATES
        },
        "num_genuine": scores.num_genuine,
        "num_impostor": scores.num_impostor,
        "model": opened.model.path.name,
        "model_sha256": file_digest(opened.model.path),
        "kernels": opened.kernels,
    }


def threshold_at(scores: ThresholdScores, rate: float) -> float | None:
    """The largest distance at which at most ``rate`` of the impostor pairs are called the same.

    None where no distance is, or where there are too few pairs to tell such a rate from none.
    """
    if rate * scores.num_impostor < 1:
        return None
    allowed = (scores.roc_false_positive_rates <= rate) & np.isfinite(scores.roc_thresholds)
    return float(scores.roc_thresholds[allowed].max()) if allowed.any() else None


def threshold_header(facts: dict[str, Any]) -> str:
    """The same for C: two macros, with what they belong to in a comment."""
    model = re.sub(r"[^\x20-\x7e]|\*/", "_", facts["model"])
    distance = facts["distance"].upper()
    lines = [
        "/* Distance at or below which two embeddings show the same identity.",
        f" * Model: {model}",
        f" * SHA-256: {facts['model_sha256']}",
        f" * Flip: {facts['flip']}, pooled queries: {facts['multi_query']}",
        " */",
        "#ifndef REID_THRESHOLD_H",
        "#define REID_THRESHOLD_H",
        "",
        f"#define REID_DISTANCE_{distance} 1",
        f"#define REID_DISTANCE_THRESHOLD {facts['threshold']:.8e}f",
    ]
    if facts["distance"] == "cosine":
        lines.append(f"#define REID_COSINE_SIMILARITY_THRESHOLD {1 - facts['threshold']:.8e}f")
    for rate, value in facts["thresholds_at_false_positive_rate"].items():
        if value is not None:
            macro = f"REID_DISTANCE_THRESHOLD_FPR_{rate.replace('.', '_')}"
            lines.append(f"#define {macro} {value:.8e}f")
    return "\n".join([*lines, "", "#endif", ""])


def _draw(
    opened: Opened,
    data: RetrievalData,
    scored: Scored,
    gallery: NDArray[np.float32],
    section: EvaluationSection,
    ctx: RunContext,
) -> tuple[Figure, ...]:
    from reidfw_core.figures import (
        RocCurve,
        SheetSection,
        draw_distance_histogram,
        draw_embedding_map,
        draw_rank_curve,
        draw_retrieval_sheet,
        draw_roc_curve,
    )

    numbers = "quantized" if opened.kind == "int" else "float"
    title = f"{opened.model.name}, {numbers} model, {data.name.replace('_', ' ')}"
    stem = f"{opened.stem}_reid"
    checked = scored.verification
    curve = ctx.figure(f"{stem}_rank_curve.png", "CMC curve")
    draw_rank_curve(scored.scores, title, curve.path, svg_path=curve.svg)
    histogram = ctx.figure(f"{stem}_distance_histogram.png", "distance histogram")
    draw_distance_histogram(checked, title, histogram.path, svg_path=histogram.svg)
    figures = [curve, histogram]
    if checked.equal_error_rate is not None and checked.area_under_roc is not None:
        roc = ctx.figure(f"{stem}_roc.png", "ROC curve")
        draw_roc_curve(
            [
                RocCurve(
                    label=opened.model.name,
                    false_positive_rates=checked.roc_false_positive_rates,
                    true_positive_rates=checked.roc_true_positive_rates,
                    equal_error_rate=checked.equal_error_rate,
                    area_under_roc=checked.area_under_roc,
                    threshold_point=_rates_at_threshold(checked),
                )
            ],
            title,
            roc.path,
            svg_path=roc.svg,
        )
        figures.append(roc)
    if section.embedding_map != "none":
        chosen, points = _map_points(data, scored, gallery, section.embedding_map, ctx.seed_for("embedding map"))
        if len(chosen):
            picture = ctx.figure(f"{stem}_embedding_map.png", "embedding map")
            identities = scored.queries.identities + (() if data.leave_one_out else data.gallery.identities)
            draw_embedding_map(
                points,
                [identities[index] for index in chosen],
                chosen < len(scored.queries.identities),
                section.embedding_map,
                title,
                picture.path,
                svg_path=picture.svg,
            )
            figures.append(picture)
    ranked = scored.ranked_queries()
    worst = ranked[:SHEET_QUERIES]
    best = [query for query in ranked[::-1][:SHEET_QUERIES] if query not in worst]
    sheet = Figure(path=ctx.run_dir / f"{stem}_retrieval_sheet.jpg", title="best and worst queries")
    sections = [
        SheetSection(headline, tuple(_sheet_row(scored, data, query) for query in queries))
        for headline, queries in (("worst queries", worst), ("best queries", best))
        if queries
    ]
    draw_retrieval_sheet(sections, title, sheet.path)
    figures.append(sheet)
    return tuple(figures)


def _rates_at_threshold(scores: ThresholdScores) -> tuple[float, float] | None:
    if scores.threshold is None:
        return None
    reached = np.nan_to_num(scores.roc_thresholds, nan=np.inf) <= scores.threshold
    last = int(np.flatnonzero(reached)[-1]) if reached.any() else 0
    return float(scores.roc_false_positive_rates[last]), float(scores.roc_true_positive_rates[last])


def _map_points(
    data: RetrievalData, scored: Scored, gallery: NDArray[np.float32], method: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices of the mapped images (queries first, then gallery), and their places on the plane."""
    queries = scored.queries.embeddings
    everything = queries if data.leave_one_out else np.concatenate([queries, gallery])
    chosen = np.arange(len(everything))
    if len(chosen) > MAP_IMAGES:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAP_IMAGES, replace=False))
    if len(chosen) < 4:  # too few for a map
        return np.empty(0, np.int64), np.empty((0, 2), np.float32)
    return chosen, project_embeddings(everything[chosen], method, seed)


def _sheet_row(scored: Scored, data: RetrievalData, query: int) -> SheetRow:
    from reidfw_core.figures import SheetNeighbour, SheetRow

    result = scored.query_result(query)
    cameras = data.gallery.cameras
    neighbours = tuple(
        SheetNeighbour(
            image=data.gallery.paths[index],
            identity=data.gallery.identities[index],
            distance=float(distance),
            is_match=data.gallery.identities[index] == result.identity,
            camera=None if cameras is None else cameras[index],
        )
        for index, distance in zip(scored.nearest[query], scored.nearest_distances[query], strict=True)
        if index >= 0
    )
    note = f"AP {100 * result.average_precision:.1f} %"
    return SheetRow(query=result.image, identity=result.identity, note=note, neighbours=neighbours)


def _write_queries(path: Path, scored: Scored, data: RetrievalData) -> None:
    """One row a query, in the order of the query set."""
    header: Sequence[str] = (
        "query",
        "identity",
        "camera",
        "average_precision",
        "first_match_rank",
        "nearest",
        "nearest_identity",
        "nearest_distance",
    )
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        for query in range(len(scored.queries.paths)):
            result = scored.query_result(query)
            matched = result.first_match_rank > 0
            index = int(scored.nearest[query, 0])
            nearest: Sequence[object] = ("", "", "")
            if index >= 0:
                distance = f"{float(scored.nearest_distances[query, 0]):.6f}"
                nearest = (data.gallery.paths[index], data.gallery.identities[index], distance)
            table.writerow(
                [
                    result.image,
                    result.identity,
                    result.camera or "",
                    f"{result.average_precision:.6f}" if matched else "",
                    result.first_match_rank if matched else "",
                    *nearest,
                ]
            )
