"""The embeddings projected to a plane: do images of one identity lie together?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reidfw_core.figures.style import (
    INK,
    MARKERS,
    PALETTE,
    as_label,
    new_figure,
    save_figure,
    set_title,
    shorten,
)

MOST_NAMED = len(PALETTE) * len(MARKERS)
"""Identities that get a colour and a shape of their own; more could not be told apart."""

_OTHERS = "#8C8C8C"
_NAME_LENGTH = 20
_METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def draw_embedding_map(
    points: ArrayLike,
    identities: Sequence[str],
    is_query: ArrayLike,
    method: str,
    title: str,
    path: Path,
    *,
    svg_path: Path | None = None,
) -> Path:
    """Draws a point for each image: identities by colour and shape, queries larger with a dark border.

    The identities with most images are named; the others are grey.

    Args:
        points: (N, 2) places.
        identities: N of them.
        is_query: (N,) bool.
        method: ``pca``, ``tsne`` or ``umap``, for the caption.
        title: shown above.
        path: the picture, for example a ``.png``; folders above it are made.
        svg_path: the same for web pages.

    Returns:
        ``path``.

    Raises:
        StorageError: the picture cannot be written.
        ToolNotFound: matplotlib is not installed.
    """
    figure = new_figure(7.6, 5.6)
    set_title(figure, title)
    axes = figure.add_subplot()
    places, queries, names = np.asarray(points, np.float64), np.asarray(is_query, np.bool_), np.asarray(identities)
    counts = Counter(identities)
    named = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_NAMED]
    others = ~np.isin(names, named)
    for number, name in enumerate(sorted(named)):
        color, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        chosen = names == name
        gallery, query = places[chosen & ~queries], places[chosen & queries]
        look: dict[str, Any] = {"color": color, "marker": marker}
        axes.scatter(gallery[:, 0], gallery[:, 1], s=26, linewidths=0, alpha=0.85, **look)
        axes.scatter(query[:, 0], query[:, 1], s=80, linewidths=1.4, edgecolors=INK, zorder=3, **look)
        axes.scatter([], [], s=30, linewidths=0, label=as_label(shorten(name, _NAME_LENGTH)), **look)
    if others.any():
        label = f"{len(counts) - len(named)} others"
        look = {"color": _OTHERS, "marker": "o", "linewidths": 0}
        gallery, query = places[others & ~queries], places[others & queries]
        axes.scatter(gallery[:, 0], gallery[:, 1], s=6, zorder=0.5, label=label, **look)
        axes.scatter(query[:, 0], query[:, 1], s=22, zorder=0.6, **(look | {"linewidths": 0.8, "edgecolors": INK}))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    caption = f"{_METHODS.get(method, method)} of {len(places)} embeddings; the axes have no unit"
    if queries.any() and not queries.all():
        caption += "; large with a border: queries"
    axes.set_title(caption, fontsize=9.5, color=INK)
    if counts:
        legend = axes.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            fontsize=8,
            labelcolor=INK,
            title="identity",
            alignment="left",
        )
        legend.get_title().set_color(INK)
    return save_figure(figure, path, svg_path)
