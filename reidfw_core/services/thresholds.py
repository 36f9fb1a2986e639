"""The threshold between same and unknown: a number, or the file that an evaluation wrote."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from reidfw_core.errors import DataError
from reidfw_core.files import file_digest

logger = logging.getLogger(__name__)


THRESHOLD_FILES = "*_reid_threshold.json"
"""The files in which evaluations leave their thresholds, in the run folder."""


def find_threshold(model: Path) -> tuple[float, Path] | None:
    """The threshold that an evaluation measured for this very model file, for the cosine distance of single images.

    Looks into the folder of the model and the run folder above it; a file counts if it names the model's digest.

    Returns:
        The threshold and its file; None where there is none.
    """
    for folder in (model.parent, model.parent.parent):
        for path in sorted(folder.glob(THRESHOLD_FILES)):
            try:
                facts = json.loads(path.read_text(encoding="utf-8"))
                if facts.get("model_sha256") != file_digest(model):
                    continue
                found = read_threshold(path, "cosine", model)
            except (AttributeError, DataError, OSError, ValueError) as unusable:
                logger.debug("%s is passed over: %s", path, unusable)
                continue
            if found is not None:
                return found, path
    return None


def read_threshold(value: float | Path | None, metric: str, model: Path, *, flip: bool = False) -> float | None:
    """The largest distance that counts as the same identity.

    Args:
        value: the distance itself, the path of a ``..._reid_threshold.json``, or None.
        metric: the distance that it will be compared with.
        model: the model whose embeddings are compared.
        flip: whether they are sums over an image and its mirror image.

    Raises:
        DataError: an unusable file, or one of another distance, another model, or embeddings made otherwise.
    """
    if value is None or isinstance(value, float | int):
        return value
    path = Path(value).expanduser()
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise DataError(
            f"{path} cannot be read as a threshold file: {cause}",
            hint="Give a distance, or the ..._reid_threshold.json of an evaluation.",
        ) from cause
    threshold = facts.get("threshold") if isinstance(facts, dict) else None
    if not isinstance(threshold, float | int) or not math.isfinite(threshold):
        raise DataError(f"{path} holds no threshold", hint="Give the ..._reid_threshold.json of an evaluation.")
    if facts.get("distance") != metric:
        raise DataError(
            f"{path} holds a threshold for the {facts.get('distance')} distance; this one is {metric}",
            hint=f"Set reid_distance_metric to {facts.get('distance')}, or evaluate with {metric}.",
        )
    if bool(facts.get("flip")) != flip or facts.get("multi_query"):
        made = "pooled queries" if facts.get("multi_query") else "flip" if facts.get("flip") else "no flip"
        raise DataError(
            f"{path} comes from an evaluation with {made}; here single images are compared, "
            f"{'with' if flip else 'without'} flip",
            hint="Evaluate in the same way, or give the number itself to use it all the same.",
        )
    digest = facts.get("model_sha256")
    if digest is not None and digest != file_digest(model):
        raise DataError(
            f"{path} belongs to another model: {facts.get('model')} (SHA-256 {str(digest)[:12]}...), not "
            f"{model.name} ({file_digest(model)[:12]}...)",
            hint=f"Evaluate {model.name}, or give the number itself ({threshold:.4f}) to use it all the same.",
        )
    return float(threshold)
