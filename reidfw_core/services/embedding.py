"""From image files to embeddings: what evaluation, prediction, galleries and ``reidfw embed`` share."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.metrics import unit_length
from reidfw_core.types import EmbeddingRunner, ModelFile, ModelFormat, Progress, Samples

BATCH_SIZE = 32


def embed_samples(
    runner: EmbeddingRunner,
    samples: Samples,
    spec: ImageSpec,
    progress: Progress,
    *,
    batch_size: int = BATCH_SIZE,
    flip: bool = False,
) -> NDArray[np.float32]:
    """Embeddings of all images of a set; each image is decoded once, while those before it are computed.

    Args:
        runner: the opened model.
        samples: the images.
        spec: resizing and rescaling.
        progress: told how far the work is.
        batch_size: images handed over at once; no effect on the result.
        flip: embed the mirrored image too and add both embeddings, each scaled to length 1 (test-time augmentation).

    Returns:
        (N, D) float32, de-quantized; not normalised without ``flip``.

    Raises:
        DataError: images that cannot be decoded.
    """
    embeddings = np.empty((len(samples), runner.embedding_dim), dtype=np.float32)
    done = 0
    with progress(f"Embedding {samples.role}", len(samples), "images") as advance:
        for images in image_batches(samples.paths, spec, batch_size):
            found = runner.embed(images)
            if flip:
                found = unit_length(found) + unit_length(runner.embed(np.ascontiguousarray(images[:, :, ::-1])))
            embeddings[done : done + len(images)] = found
            done += len(images)
            advance(done)
    return embeddings


def opened_format(model: ModelFile, runner: EmbeddingRunner) -> ModelFormat:
    """The number format that a model's maker told, or else the one that was found in the file."""
    return runner.format if model.format.numeric == "*" else model.format


def runner_threads(wanted: int | None) -> int:
    """``general.num_threads_tflite``, or a thread for each processor that this process may use."""
    if wanted is not None:
        return wanted
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
