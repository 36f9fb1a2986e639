"""Naming the identity on each query image by its nearest gallery images."""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import Neighbour, Prediction, PredictionData, PredictionReport
from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.figures.sheet import draw_prediction_sheet
from reidfw_core.files import atomic_path, file_digest, write_text
from reidfw_core.gallery.index import GalleryIndex, check_model, load_index
from reidfw_core.imaging.spec import ImageSpec, image_spec
from reidfw_core.metrics import nearest_gallery
from reidfw_core.services.embedding import embed_samples, runner_threads
from reidfw_core.services.thresholds import read_threshold
from reidfw_core.types import EmbeddingRunner, ModelFile

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import GeneralSection, PredictionSection, PreprocessingSection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictInput:
    """What a prediction needs: a model, what runs it, query and gallery images, and how they are preprocessed."""

    model: ModelFile
    data: PredictionData
    preprocessing: PreprocessingSection
    prediction: PredictionSection
    general: GeneralSection
    target: BoundComponent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gallery:
    embeddings: NDArray[np.float32]
    paths: tuple[Path, ...]
    identities: tuple[str, ...]


def predict(inp: PredictInput, ctx: RunContext) -> PredictionReport:
    """Finds the nearest gallery images of each query; writes ``predictions/`` with a sheet each, a CSV and a JSON.

    Raises:
        DataError: the model file is unusable or takes other images than the preprocessing gives; unusable images; a
            gallery index or a threshold file of another model.
        StorageError: a file cannot be written.
    """
    section = inp.prediction
    index = None if section.gallery_index is None else load_index(section.gallery_index)
    flip = index is not None and index.flip
    if index is not None and index.metric != section.reid_distance_metric:
        raise DataError(
            f"prediction.reid_distance_metric is {section.reid_distance_metric}, but the gallery index "
            f"{section.gallery_index} was built for {index.metric}",
            hint=f"Set prediction.reid_distance_metric to {index.metric}.",
        )
    threshold = read_threshold(section.threshold, section.reid_distance_metric, inp.model.path, flip=flip)
    runner: EmbeddingRunner = ctx.bus.ask(
        inp.target.component,
        "open_runner",
        model=inp.model,
        num_threads=runner_threads(inp.general.num_threads_tflite),
        workdir=ctx.board_files_dir,
        progress=ctx.progress,
    )
    try:
        spec = image_spec(inp.preprocessing, runner.input_shape)
        gallery = _gallery(inp, index, runner, spec, ctx)
        query = embed_samples(runner, inp.data.query, spec, ctx.progress, flip=flip)
    finally:
        runner.close()
    nearest, distances = nearest_gallery(query, gallery.embeddings, section.reid_distance_metric, section.neighbours)
    predictions = [
        Prediction(
            image=image,
            neighbours=tuple(
                Neighbour(image=gallery.paths[index], identity=gallery.identities[index], distance=float(distance))
                for index, distance in zip(indices, row, strict=True)
            ),
            accepted=None if threshold is None else bool(row[0] <= threshold),
        )
        for image, indices, row in zip(inp.data.query.paths, nearest, distances, strict=True)
    ]
    folder = ctx.run_dir / "predictions"
    _write_sheets(predictions, folder, ctx)
    _write_table(predictions, folder / "predictions.csv")
    _write_json(predictions, folder / "predictions.json")
    for prediction in predictions:
        logger.info("%s: %s%s", prediction.image.name, prediction.identity, _verdict(prediction, threshold))
    return PredictionReport(
        model=inp.model,
        predictions=tuple(predictions),
        folder=folder,
        metric=section.reid_distance_metric,
        num_gallery=len(gallery.paths),
        threshold=threshold,
    )


def _gallery(
    inp: PredictInput, index: GalleryIndex | None, runner: EmbeddingRunner, spec: ImageSpec, ctx: RunContext
) -> _Gallery:
    path = inp.prediction.gallery_index
    if index is None:
        assert inp.data.gallery is not None
        samples = inp.data.gallery
        embeddings = embed_samples(runner, samples, spec, ctx.progress)
        return _Gallery(embeddings=embeddings, paths=samples.paths, identities=samples.identities)
    check_model(index, file_digest(inp.model.path), spec)
    if not index.paths:
        raise DataError(f"The gallery index {path} is empty", hint=f"Fill it: reidfw gallery add {path} FOLDER")
    logger.info("Gallery: %d images of the index %s", len(index), path)
    return _Gallery(embeddings=index.embeddings, paths=index.paths, identities=index.identities)


def _verdict(prediction: Prediction, threshold: float | None) -> str:
    if prediction.accepted is None or threshold is None:
        return ""
    distance = prediction.neighbours[0].distance
    sign, word = ("<=", "same identity") if prediction.accepted else (">", "unknown")
    return f" ({word}: distance {distance:.4f} {sign} {threshold:.4f})"


def _write_sheets(predictions: Sequence[Prediction], folder: Path, ctx: RunContext) -> None:
    stems = Counter(prediction.image.stem for prediction in predictions)
    taken: Counter[str] = Counter()
    with ctx.progress("Prediction sheets", len(predictions), "images") as advance:
        for done, prediction in enumerate(predictions, start=1):
            # Queries a.jpg and a.png, or of two folders, must not overwrite each other's sheet.
            name = prediction.image.stem if stems[prediction.image.stem] == 1 else prediction.image.name
            taken[name] += 1
            name = name if taken[name] == 1 else f"{name}_{taken[name]}"
            verdict = None if prediction.accepted is None else ("same identity" if prediction.accepted else "unknown")
            draw_prediction_sheet(prediction, folder / f"{name}.png", verdict=verdict)
            advance(done)


def _write_table(predictions: Sequence[Prediction], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["query", "identity", "distance", "same_identity", "nearest"])
        for prediction in predictions:
            first = prediction.neighbours[0]
            accepted = "" if prediction.accepted is None else ("yes" if prediction.accepted else "no")
            table.writerow([prediction.image, first.identity, f"{first.distance:.6f}", accepted, first.image])


def _write_json(predictions: Sequence[Prediction], path: Path) -> None:
    rows = [
        {
            "query": str(prediction.image),
            "identity": prediction.identity,
            "same_identity": prediction.accepted,
            "neighbours": [
                {"image": str(n.image), "identity": n.identity, "distance": n.distance} for n in prediction.neighbours
            ],
        }
        for prediction in predictions
    ]
    write_text(path, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
