"""The distances of same-identity and other pairs, and the threshold between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reidfw_core.figures.style import BLUE, INK, ORANGE, new_figure, save_figure, set_title, style_axes
from reidfw_core.metrics import ThresholdScores


def draw_distance_histogram(scores: ThresholdScores, title: str, path: Path, *, svg_path: Path | None = None) -> Path:
    """Draws how the distances of genuine and of impostor pairs are spread, each as shares of its own sort.

    Args:
        scores: of :func:`~reidfw_core.metrics.best_threshold`; its threshold is drawn as a line where there is one.
        title: shown above.
        path: the picture, for example a ``.png``; folders above it are made.
        svg_path: the same for web pages.

    Returns:
        ``path``.

    Raises:
        StorageError: the picture cannot be written.
        ToolNotFound: matplotlib is not installed.
    """
    figure = new_figure(7.2, 4.6)
    set_title(figure, title)
    axes = figure.add_subplot()
    edges = scores.histogram.edges
    for counts, name, color in (
        (scores.histogram.genuine, "same identity", BLUE),
        (scores.histogram.impostor, "different identities", ORANGE),
    ):
        total = int(counts.sum())
        if total:
            shares = 100 * counts / total
            label = f"{name}, {total:,} pairs"
            axes.stairs(shares, edges, fill=True, color=color, alpha=0.25)
            axes.stairs(shares, edges, color=color, linewidth=1.6, label=label)
    if scores.threshold is not None and scores.balanced_accuracy is not None:
        axes.axvline(
            scores.threshold,
            color=INK,
            linewidth=1.5,
            linestyle=":",
            label=f"best threshold {scores.threshold:.4g}",
        )
    margin = 0.02 * float(np.ptp(edges))
    axes.set_xlim(float(edges[0]) - margin, float(edges[-1]) + margin)
    axes.set_ylim(bottom=0)
    axes.margins(y=0.08)
    style_axes(axes, f"{scores.metric} distance", "share of pairs in each bin in %")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK, handlelength=2.4)
    axes.set_title(_summary(scores), fontsize=9.5, color=INK)
    return save_figure(figure, path, svg_path)


def _summary(scores: ThresholdScores) -> str:
    if scores.threshold is None or scores.balanced_accuracy is None or scores.equal_error_rate is None:
        return "pairs of one sort only: no threshold"
    parts = [
        f"balanced accuracy {100 * scores.balanced_accuracy:.2f} %",
        f"equal error rate {100 * scores.equal_error_rate:.2f} %",
    ]
    if 0.01 in scores.true_positive_rate_at_fpr:
        parts.append(f"TPR {100 * scores.true_positive_rate_at_fpr[0.01]:.2f} % at FPR 1 %")
    return "   ·   ".join(parts)
