"""Naming the identity on each query image by its nearest gallery images."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.artifacts import Neighbour, Prediction, PredictionData, PredictionReport
from reidfw_core.context import RunContext
from reidfw_core.figures.sheet import draw_prediction_sheet
from reidfw_core.files import atomic_path, write_text
from reidfw_core.imaging.spec import image_spec
from reidfw_core.metrics import chunked_distances
from reidfw_core.services.evaluation import embed_samples
from reidfw_core.types import EmbeddingRunner, ModelFile

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import GeneralSection, PredictionSection, PreprocessingSection

logger = logging.getLogger(__name__)

NEIGHBOURS = 5
"""Nearest gallery images that are reported and drawn for each query."""

_BATCH = 32
_CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictInput:
    """What a prediction needs: a model, what runs it, query and gallery images, and how they are preprocessed."""

    model: ModelFile
    data: PredictionData
    preprocessing: PreprocessingSection
    prediction: PredictionSection
    general: GeneralSection
    target: BoundComponent


def predict(inp: PredictInput, ctx: RunContext) -> PredictionReport:
    """Finds the nearest gallery images of each query; writes ``predictions/`` with a sheet each, a CSV and a JSON.

    Raises:
        DataError: the model file is unusable or takes other images than the preprocessing gives; unusable images.
        StorageError: a file cannot be written.
    """
    runner: EmbeddingRunner = ctx.bus.ask(
        inp.target.component, "open_runner", model=inp.model, num_threads=inp.general.num_threads_tflite
    )
    try:
        spec = image_spec(inp.preprocessing, runner.input_shape)
        query = embed_samples(runner, inp.data.query, spec, _BATCH, ctx)
        gallery = embed_samples(runner, inp.data.gallery, spec, _BATCH, ctx)
    finally:
        runner.close()
    predictions: list[Prediction] = []
    distances = chunked_distances(query, gallery, inp.prediction.reid_distance_metric, _CHUNK_ROWS)
    for _, rows in distances:
        for row in rows:
            nearest = np.argsort(row, kind="stable")[:NEIGHBOURS]
            predictions.append(
                Prediction(
                    image=inp.data.query.paths[len(predictions)],
                    neighbours=tuple(
                        Neighbour(
                            image=inp.data.gallery.paths[index],
                            identity=inp.data.gallery.identities[index],
                            distance=float(row[index]),
                        )
                        for index in nearest
                    ),
                )
            )
    folder = ctx.run_dir / "predictions"
    with ctx.progress("Prediction sheets", len(predictions), "images") as advance:
        for done, prediction in enumerate(predictions, start=1):
            draw_prediction_sheet(prediction, folder / f"{prediction.image.stem}.png")
            advance(done)
    _write_table(predictions, folder / "predictions.csv")
    _write_json(predictions, folder / "predictions.json")
    for prediction in predictions:
        logger.info("%s: %s", prediction.image.name, prediction.identity)
    return PredictionReport(predictions=tuple(predictions), folder=folder, metric=inp.prediction.reid_distance_metric)


def _write_table(predictions: Sequence[Prediction], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["query", "identity", "distance", "nearest"])
        for prediction in predictions:
            first = prediction.neighbours[0]
            table.writerow([prediction.image, first.identity, f"{first.distance:.6f}", first.image])


def _write_json(predictions: Sequence[Prediction], path: Path) -> None:
    rows = [
        {
            "query": str(prediction.image),
            "identity": prediction.identity,
            "neighbours": [
                {"image": str(n.image), "identity": n.identity, "distance": n.distance} for n in prediction.neighbours
            ],
        }
        for prediction in predictions
    ]
    write_text(path, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
