"""Float against quantized model: agreement image by image, and error layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from reidfw_core.figures.style import BLUE, INK, ORANGE, new_figure, save_figure, set_title, style_axes

MOST_LAYERS = 20

_NAME_LENGTH = 44
_BINS = 40


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
    values = np.asarray(cosines, np.float64)
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
    style_axes(axes, "cosine similarity of float and quantized embedding (1: equal)", f"images of {values.size}")
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
    figure = new_figure(8.4, 1.5 + 0.26 * max(len(worst), 3))
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
    names = [f"{_shortened(name)} ({operator})".replace("$", r"\$") for name, operator, _ in worst]
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    style_axes(axes, "signal-to-noise ratio of the layer's output in dB (higher is better)", "")
    axes.grid(visible=False, axis="y")
    shown = f"the worst {len(worst)} of {len(layers)} layers" if len(worst) < len(layers) else f"{len(layers)} layers"
    axes.set_title(shown, fontsize=9.5, color=INK)
    return save_figure(figure, path, svg_path)


def _shortened(name: str) -> str:
    """Long layer names with their middle left out: beginning and end tell most."""
    if len(name) <= _NAME_LENGTH:
        return name
    half = (_NAME_LENGTH - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
