"""Embeddings as points of a plane, for a picture.

``pca`` keeps the two directions of largest variance and is always there. ``tsne`` (L. van der Maaten and G. Hinton,
"Visualizing Data using t-SNE", JMLR 2008) needs scikit-learn, ``umap`` (L. McInnes et al., "UMAP", arXiv 1802.03426)
needs umap-learn; both show which images are neighbours, and distances between far groups mean little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reidfw_core.errors import DataError
from reidfw_core.metrics.distances import FloatArray, check_choice, checked_embeddings
from reidfw_core.metrics.optional import import_package

PROJECTIONS = ("pca", "tsne", "umap")

_LEAST_IMAGES = 4
_PERPLEXITY = 30
_UMAP_NEIGHBOURS = 15


def project_embeddings(embeddings: ArrayLike, method: str, seed: int = 0) -> NDArray[np.float32]:
    """Places each embedding in the plane, as it is: normalise before where only directions count.

    Args:
        embeddings: (N, D); ``tsne`` and ``umap`` need at least 4.
        method: one of :data:`PROJECTIONS`.
        seed: of ``tsne`` and ``umap``; ``pca`` needs none.

    Returns:
        (N, 2) float32. ``pca``: centred; the sign of each axis makes its largest weight positive; an axis without
        variance is zero.

    Raises:
        DataError: embeddings of unusable shape or with values that are not finite, or too few.
        ToolNotFound: the package is not installed.
        ValueError: unknown method.
    """
    check_choice("projection", method, PROJECTIONS)
    vectors = checked_embeddings("the", embeddings)
    if method == "pca":
        return _pca(vectors).astype(np.float32)
    if len(vectors) < _LEAST_IMAGES:
        raise DataError(
            f"The projection '{method}' needs at least {_LEAST_IMAGES} embeddings, got {len(vectors)}",
            hint="Take the projection 'pca', or more images.",
        )
    return _tsne(vectors, seed) if method == "tsne" else _umap(vectors, seed)


def _pca(vectors: FloatArray) -> NDArray[np.float64]:
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    # The D x D matrix is small however many images there are.
    values, directions = np.linalg.eigh(centred.T @ centred)
    points = np.zeros((len(vectors), 2))
    for axis in range(min(2, len(values))):
        direction = directions[:, -1 - axis]
        if values[-1 - axis] > values[-1] * 1e-12:
            direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
            points[:, axis] = centred @ direction
    return points


def _tsne(vectors: FloatArray, seed: int) -> NDArray[np.float32]:
    manifold: Any = import_package("sklearn.manifold", purpose="The projection 'tsne'", pip="scikit-learn")
    # scikit-learn starts with as many principal components as wanted, of which one-dimensional embeddings have too few.
    model = manifold.TSNE(
        n_components=2,
        perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
        init=_tsne_start(vectors),
        random_state=seed,
    )
    return np.asarray(model.fit_transform(vectors), dtype=np.float32)


def _tsne_start(vectors: FloatArray) -> NDArray[np.float32]:
    """Principal components scaled to a deviation of 1e-4, as t-SNE wants to start."""
    points = _pca(vectors)
    spread = float(points[:, 0].std())
    return np.asarray(points / spread * 1e-4 if spread else points, dtype=np.float32)


def _umap(vectors: FloatArray, seed: int) -> NDArray[np.float32]:
    umap: Any = import_package("umap", purpose="The projection 'umap'", pip="umap-learn")
    model = umap.UMAP(
        n_components=2,
        n_neighbors=min(_UMAP_NEIGHBOURS, len(vectors) - 1),
        init="random" if len(vectors) <= _UMAP_NEIGHBOURS else "spectral",
        random_state=seed,
    )
    return np.asarray(model.fit_transform(vectors), dtype=np.float32)
