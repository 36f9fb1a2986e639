"""Float against quantized model: agreement image by image, and error layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from reidfw_core.figures.style import (
    BLUE,
    INK,
    ORANGE,
    as_label,
    new_figure,
    save_figure,
    set_title,
    shorten,
    style_axes,
)

MOST_LAYERS = 20

_NAME_LENGTH = 44
_BINS = 40
_LEAST_ROWS = 3


def draw_fidelity(cosines: ArrayLike, title: str, path: Path, *, svg_path: Path | None = None) -> Path:
    """Draws how alike float and quantized embeddings of the same images are.

    Args:
        cosines: (N,) cosine of the two embeddings of each image, in [-1, 1].
        title: shown above.
        path: the picture, for example a ``.png``; folders above it are made.
        svg_path: the same for web pages.

    Returns:
        ``path``.

    Raises:
        StorageError: the picture cannot be written.
        ToolNotFound: matplotlib is not installed.
    """
    values = np.minimum(np.asarray(cosines, np.float64), 1.0)  # rounding may have left a little more
    figure = new_figure(7.2, 3.9)
    set_title(figure, title)
    axes = figure.add_subplot()
    low = float(values.min()) if values.size else 0.0
    width = max(1.0 - low, 1e-4)
    counts, edges = np.histogram(values, bins=_BINS, range=(1.0 - 1.04 * width, 1.0))
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.3)
    axes.stairs(counts, edges, color=BLUE, linewidth=1.6)
    if values.size:
        axes.axvline(values.mean(), color=INK, linestyle="--", linewidth=1.5, label=f"mean {values.mean():.5f}")
        axes.axvline(low, color=ORANGE, linestyle=":", linewidth=1.8, label=f"least alike {low:.5f}")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", integer=True)
    axes.ticklabel_format(axis="x", useOffset=False)
    style_axes(axes, "cosine similarity of float and quantized embedding (1: equal)", "number of images")
    total = f"{values.size:,} image{'' if values.size == 1 else 's'}"
    axes.set_title(total if values.size else "no images", fontsize=9.5, color=INK)
    if not values.size:
        axes.set_ylim(0, 1)
        return save_figure(figure, path, svg_path)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK, handlelength=2.4)
    return save_figure(figure, path, svg_path)


def draw_layer_errors(
    layers: Sequence[tuple[str, str, float]], title: str, path: Path, *, svg_path: Path | None = None
) -> Path:
    """Draws the signal-to-noise ratio of the layers with the largest quantization error, the worst at the top.

    Args:
        layers: (name, operator, SNR in dB) of each, in any order; values that are not finite are left out.
        title: shown above.
        path: the picture, for example a ``.png``; folders above it are made.
        svg_path: the same for web pages.

    Returns:
        ``path``.

    Raises:
        StorageError: the picture cannot be written.
        ToolNotFound: matplotlib is not installed.
    """
    worst = sorted((layer for layer in layers if np.isfinite(layer[2])), key=lambda layer: layer[2])[:MOST_LAYERS]
    figure = new_figure(8.4, 1.5 + 0.26 * max(len(worst), _LEAST_ROWS))
    set_title(figure, title)
    axes = figure.add_subplot()
    places = np.arange(len(worst))
    values = [snr for _, _, snr in worst]
    axes.barh(places, values, color=BLUE, height=0.68)
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"{value:.1f}",
            (value, place),
            xytext=(4 if value >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            fontsize=8,
            color=INK,
        )
    names = [as_label(f"{shorten(name, _NAME_LENGTH)} ({operator})") for name, operator, _ in worst]
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(max(len(worst), _LEAST_ROWS) - 0.5, -0.5)
    axes.margins(x=0.1)
    if not worst:
        axes.set_xticks([])
    style_axes(axes, "", "")
    # Below the whole figure: the axes are narrow where names are long.
    figure.supxlabel("signal-to-noise ratio of the layer's output in dB (higher is better)", fontsize=10, color=INK)
    axes.grid(visible=False, axis="y")
    finite = sum(bool(np.isfinite(snr)) for _, _, snr in layers)
    axes.set_title(_caption(len(worst), finite, len(layers)), fontsize=9.5, color=INK)
    return save_figure(figure, path, svg_path)


def _caption(shown: int, finite: int, total: int) -> str:
    layers = f"{total} layer{'' if total == 1 else 's'}"
    caption = layers if shown == finite == total else f"{shown} of {layers}"
    if shown < finite:
        caption = f"the worst {caption}"
    return caption if finite == total else f"{caption}; {total - finite} without a finite ratio left out"
