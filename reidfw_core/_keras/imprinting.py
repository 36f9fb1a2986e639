"""A classifier that fits an embedding model from its first step on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reidfw_core._keras.head import LOGITS_LAYER, CosineClassifier
from reidfw_core._keras.network import ReidNetwork

_SHARPNESSES = np.geomspace(1e-3, 1e4, 57)
"""Factors of squared distances that are tried; embeddings may have any length."""

_SMOOTHING = 0.1


def imprint_classifier(network: ReidNetwork, embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """Sets the classifier so that it names the identity whose mean embedding is nearest.

    Random weights would send gradients into a finished network that mean nothing, until the classifier has learnt.
    A linear classifier gets logits ``-s |x - mean|^2`` up to a constant of the image, s being that with the lowest
    smoothed cross-entropy; a cosine classifier gets the means.

    Args:
        network: its classifier is changed, nothing else.
        embeddings: (N, D) of the training images, as the classifier sees them.
        labels: (N,) class of each; every class has an image.

    Source: H. Qi, M. Brown, D. Lowe, Low-Shot Learning with Imprinted Weights, 2018 (arXiv 1712.07136), section 3.2;
        J. Snell, K. Swersky, R. Zemel, Prototypical Networks for Few-shot Learning, 2017 (arXiv 1703.05175),
        equation 8, for the linear form.
    """
    classifier = network.training.get_layer(LOGITS_LAYER)
    vectors = embeddings.astype(np.float64)
    if isinstance(classifier, CosineClassifier):
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    counts = np.bincount(labels, minlength=network.num_identities)
    means = np.zeros((network.num_identities, vectors.shape[1]))
    np.add.at(means, labels, vectors)
    means /= counts[:, np.newaxis]
    if isinstance(classifier, CosineClassifier):
        classifier.set_weights([means.T.astype(np.float32)])
        return
    logits = 2 * vectors @ means.T - (means**2).sum(1)
    factors = _SHARPNESSES / max(float(vectors.var()), 1e-12)
    factor = min(factors, key=lambda one: _cross_entropy(one * logits, labels))
    kernel, bias = 2 * factor * means.T, -factor * (means**2).sum(1)
    classifier.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """With label smoothing: without it, infinitely sharp logits would be best where all images are named rightly."""
    logits = logits - logits.max(axis=1, keepdims=True)
    right = (1 - _SMOOTHING) * logits[np.arange(len(labels)), labels] + _SMOOTHING * logits.mean(axis=1)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - right))
