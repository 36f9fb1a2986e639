"""Searching a gallery: exactly, or approximately with FAISS where it holds very many images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.errors import DataError, ToolNotFound
from reidfw_core.gallery.index import GalleryIndex
from reidfw_core.metrics import nearest_gallery, unit_length

ENGINES = ("exact", "faiss")

APPROXIMATE_FROM = 10_000
"""Images from which FAISS searches a graph instead of comparing with each of them."""

_GRAPH_LINKS = 32
_GRAPH_EFFORT = 128


def search(
    index: GalleryIndex, query: NDArray[np.float32], k: int, engine: str = "exact"
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest gallery images of each query.

    Args:
        index: the gallery.
        query: (Q, D) embeddings of the same model.
        k: how many; fewer where the gallery holds fewer.
        engine: ``exact`` compares with every image; ``faiss`` does too up to 10,000 images, and beyond searches a
            graph (HNSW), which may miss some.

    Returns:
        (Q, k) indices and distances, nearest first.

    Raises:
        DataError: the gallery is empty, or embeddings of another length or not finite.
        ToolNotFound: ``faiss`` is not installed.
        ValueError: unknown engine.

    Source: Y. Malkov, D. Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
        Navigable Small World graphs", TPAMI 2020.
    """
    if not len(index):
        raise DataError("The gallery is empty", hint="Fill it: reidfw gallery add INDEX FOLDER")
    if engine == "exact":
        return nearest_gallery(query, index.embeddings, index.metric, k)
    if engine != "faiss":
        raise ValueError(f"unknown engine '{engine}'; allowed: {', '.join(ENGINES)}")
    if not np.isfinite(query).all():
        raise DataError("query embeddings hold NaN or infinite values")
    return _search_faiss(index, np.asarray(query, np.float32), min(k, len(index)))


def is_approximate(index: GalleryIndex, engine: str) -> bool:
    """Whether a search may miss some of the nearest images."""
    return engine == "faiss" and len(index) > APPROXIMATE_FROM


def _search_faiss(
    index: GalleryIndex, query: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    try:
        import faiss
    except ImportError as cause:
        raise ToolNotFound(
            f"The engine 'faiss' needs the package faiss-cpu, which cannot be imported: {cause}",
            hint='Run: pip install "reidfw-core[faiss]", or use the engine exact.',
        ) from cause
    vectors = index.embeddings
    cosine = index.metric == "cosine"
    if cosine:
        vectors, query = unit_length(vectors), unit_length(query)
    width = vectors.shape[1]
    measure = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2
    built: Any
    if is_approximate(index, "faiss"):
        built = faiss.IndexHNSWFlat(width, _GRAPH_LINKS, measure)
        built.hnsw.efConstruction = built.hnsw.efSearch = max(_GRAPH_EFFORT, 2 * k)
    else:
        built = faiss.IndexFlat(width, measure)
    built.add(np.ascontiguousarray(vectors))
    values, indices = built.search(np.ascontiguousarray(query), k)
    distances = np.clip(1 - values, 0, 2) if cosine else np.sqrt(np.maximum(values, 0))
    return indices.astype(np.int64), distances.astype(np.float32)
