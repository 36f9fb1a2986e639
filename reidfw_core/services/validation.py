"""Scoring a network on the validation set while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import TrainingData
from reidfw_core.errors import DataError
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.metrics.retrieval import evaluate_retrieval
from reidfw_core.types import Samples

if TYPE_CHECKING:
    from reidfw_core._keras.network import ReidNetwork
    from reidfw_core._keras.trainer import LossTerm

DIVERGED = "Lower the learning rate, or set training.gradient_clip_norm: 1.0; check preprocessing.rescaling."
"""What to do where a training produces numbers that are none."""


def classes_of(samples: Samples, train: Samples) -> NDArray[np.int64]:
    """(N,) class of each sample: its identity's place among the training identities, -1 where it is not one."""
    classes = {identity: number for number, identity in enumerate(train.identity_names)}
    return np.array([classes.get(identity, -1) for identity in samples.identities], dtype=np.int64)


def score_leave_one_out(embeddings: NDArray[np.float32], identities: Sequence[str]) -> tuple[float, float]:
    """mAP and rank-1, in [0, 1], of each image against all others; NaN where no identity has two images."""
    scores = evaluate_retrieval(embeddings, embeddings, identities, identities, leave_one_out=True)
    return float(scores.mean_average_precision), float(scores.cmc[0])


@dataclass(slots=True)
class Validator:
    """Scores a network on the validation set in one pass over it: losses, accuracy, mAP and rank-1.

    Losses and accuracy exist only where the classifier knows all identities of the validation set.

    Attributes:
        data: training and validation samples.
        image_spec: resizing and rescaling.
        batch_size: images of a forward pass.
        terms: the losses.
        pk_plan: (number of batches, batch size) PK batches, always the same ones, over which the losses are averaged.
    """

    data: TrainingData
    image_spec: ImageSpec
    batch_size: int
    terms: Sequence[LossTerm]
    pk_plan: NDArray[np.int64]
    _forward: Any = None

    def __call__(self, network: ReidNetwork) -> dict[str, float]:
        """``val_mAP``, ``val_rank1``, and where they exist ``val_loss``, ``val_<term>`` and ``val_accuracy``.

        Args:
            network: always the same one, with its present weights.
        """
        import tensorflow as tf

        from reidfw_core._keras.trainer import loss_values

        self._forward = forward = self._forward or network.scoring_function()
        outputs = [
            [output.numpy() for output in forward(images)]
            for images in image_batches(self.data.validation.paths, self.image_spec, self.batch_size)
        ]
        embeddings, metric, logits = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        if not np.isfinite(embeddings).all():
            raise DataError("The network's embeddings became NaN or infinite: the training diverged", hint=DIVERGED)
        identities = self.data.validation.identities
        mean_average_precision, rank1 = score_leave_one_out(embeddings, identities)
        metrics = {"val_mAP": mean_average_precision, "val_rank1": rank1}
        labels = classes_of(self.data.validation, self.data.train)
        if (labels >= 0).all():  # otherwise the classifier cannot know the identities: they were held out as a whole
            sums: dict[str, float] = {}
            for batch in self.pk_plan:
                total, values = loss_values(
                    self.terms,
                    tf.constant(labels[batch]),
                    tf.constant(metric[batch]),
                    tf.constant(logits[batch]),
                    training=False,
                )
                for name, value in {"loss": total, **values}.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
            metrics |= {f"val_{name}": value / len(self.pk_plan) for name, value in sums.items()}
            metrics["val_accuracy"] = float(np.mean(np.argmax(logits, axis=1) == labels))
        return {name: value for name, value in metrics.items() if np.isfinite(value)}
