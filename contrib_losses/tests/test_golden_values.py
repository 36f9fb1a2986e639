"""Values that pytorch-metric-learning 2.9.0 (float64, torch 2.13.0) gave for the same batch.

Triplets: ``TripletMarginLoss``, for ``hard`` with ``BatchHardMiner``; ``simple`` with ``AvgNonZeroReducer``. Nothing
there is our ``semi_hard``: it draws one of all semi-hard negatives, or takes all.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from reidfw_losses._keras.margins import MarginLoss
from reidfw_losses._keras.pairs import CircleLoss, SupervisedContrastiveLoss
from reidfw_losses._keras.triplet import TripletLoss

IDENTITIES = np.repeat(np.arange(4), 3)
EMBEDDINGS = np.array(
    [
        [-1.285, 0.48, -0.503, 1.296, -0.868, 1.68],
        [-0.233, -0.067, -0.46, -0.155, -0.285, 1.031],
        [0.266, -0.064, 0.003, -0.685, 1.899, 0.073],
        [1.333, 0.212, 1.422, 0.168, 0.058, 1.409],
        [0.224, -0.641, -0.65, -1.202, -0.725, 0.186],
        [1.358, 0.911, -0.871, -0.68, 1.716, 0.102],
        [0.851, 0.426, 1.286, -1.54, 1.783, 2.022],
        [-3.253, -0.937, -1.836, 0.551, 0.536, -0.451],
        [0.4, -0.078, 1.037, 0.535, -0.248, -1.026],
        [-0.686, -1.193, -0.498, 0.662, 0.285, -1.22],
        [-1.357, -2.933, -0.93, 0.5, -0.159, 0.531],
        [0.318, 1.501, -2.281, 0.45, 1.224, -0.86],
    ]
)
CLASS_WEIGHTS = np.array(
    [
        [1.318, 0.19, 1.094, 0.83],
        [-0.205, 2.083, 0.276, -0.458],
        [-0.727, 1.006, -0.454, -0.241],
        [0.084, 0.358, -0.421, 1.287],
        [-1.836, 1.006, 0.317, 1.32],
        [-0.023, 0.737, -0.716, 1.58],
    ]
)
UNIT = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
COSINES = UNIT @ (CLASS_WEIGHTS / np.linalg.norm(CLASS_WEIGHTS, axis=0, keepdims=True))


@pytest.mark.parametrize(
    ("loss", "outputs", "expected"),
    [
        (TripletLoss("hard", 0.3, "cosine", dtype="float64"), EMBEDDINGS, 1.1604647249931808),
        (TripletLoss("hard", 0.3, "euclidean", dtype="float64"), EMBEDDINGS, 0.9957730022747696),
        (TripletLoss("hard", "soft", dtype="float64"), EMBEDDINGS, 1.2184668042594715),
        (TripletLoss("simple", 0.3, "cosine", dtype="float64"), EMBEDDINGS, 0.6020131599836367),
        (TripletLoss("simple", 0.3, "euclidean", dtype="float64"), EMBEDDINGS, 0.4967286231125783),
        (CircleLoss(0.25, 16.0, dtype="float64"), EMBEDDINGS, 31.011628007932572),
        (SupervisedContrastiveLoss(0.1, dtype="float64"), EMBEDDINGS, 7.280580830069941),
        (MarginLoss("angle", 0.5, 30.0, dtype="float64"), COSINES, 23.226864095230013),
        (MarginLoss("cosine", 0.35, 30.0, dtype="float64"), COSINES, 20.485495988808204),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_values_are_those_of_an_independent_implementation(loss, outputs, expected) -> None:
    assert float(loss(IDENTITIES, tf.constant(outputs))) == pytest.approx(expected, rel=1e-9)
