"""The embeddings projected to a plane: do images of one identity lie together?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from reidfw_core.figures.style import INK, MARKERS, PALETTE, new_figure, save_figure, set_title

MOST_NAMED = 20
"""Identities that get a colour of their own; more could not be told apart."""

_OTHERS = "#9A9A9A"
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
    if others.any():
        label = f"{len(counts) - len(named)} others"
        axes.scatter(places[others, 0], places[others, 1], s=14, color=_OTHERS, marker=".", linewidths=0, label=label)
    for number, name in enumerate(sorted(named)):
        color, marker = PALETTE[number % len(PALETTE)], MARKERS[number // len(PALETTE) % len(MARKERS)]
        chosen = names == name
        gallery, query = places[chosen & ~queries], places[chosen & queries]
        shown = name if len(name) <= 18 else f"{name[:17]}…"
        axes.scatter(
            gallery[:, 0],
            gallery[:, 1],
            s=26,
            color=color,
            marker=marker,
            linewidths=0,
            alpha=0.85,
            label=_plain(shown),
        )
        axes.scatter(
            query[:, 0], query[:, 1], s=80, color=color, marker=marker, linewidths=1.4, edgecolors=INK, zorder=3
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    caption = f"{_METHODS.get(method, method)} of {len(places)} embeddings; the axes have no unit"
    if queries.any() and not queries.all():
        caption += "; large with a border: queries"
    axes.set_title(caption, fontsize=9.5, color=INK)
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=INK, title="identity")
    legend.get_title().set_color(INK)
    return save_figure(figure, path, svg_path)


def _plain(name: str) -> str:
    """Dollar signs would begin a formula, a leading underscore would hide the entry."""
    escaped = name.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
