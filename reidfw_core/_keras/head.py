"""What a ReID network has behind its backbone: pooling, embedding and classifier.

All of it but the cosine classifier, which is cut off anyway, is made of Keras's own layers and operations, so that a
saved embedding model opens anywhere and converts to int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras

from reidfw_core.errors import DataError

EMBEDDING_LAYER = "embedding"
"""Name of the layer that makes the embedding: the pooling, or the projection where there is one."""

BN_NECK_LAYER = "bn_neck"
"""Name of the batch normalization between metric losses and classifier."""

LOGITS_LAYER = "logits"
"""Name of the classifier's dense layer."""

COSINE_SCALE = 30.0
"""Factor from cosine similarities to logits (CosFace's and ArcFace's usual s)."""

_SMALLEST_ACTIVATION = 1e-3
"""Generalised-mean pooling takes smaller activations for this: their logarithm would have no bound."""

_SMALLEST_SQUARED_NORM = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How embeddings and logits are made from a feature map.

    Attributes:
        pooling: ``average``, ``max`` or ``gem`` (generalised mean).
        gem_power: exponent p of the generalised mean, at least 1.
        embedding_size: length of a linear projection behind the pooling, None for none.
        bn_neck: batch normalization (without offset) between the embedding that metric losses see and the classifier;
            the model then gives the normalized embedding.
        l2_normalized: the model gives embeddings of length 1.
        dropout: rate of a dropout layer before the classifier, None or 0 for none.
        classifier: ``linear``, or ``cosine`` for losses that see cosines between embeddings and class weights.

    Sources: F. Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation", 2019, section 3.2 (GeM);
    H. Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", 2019, section 2.6 (BN-neck);
    H. Wang et al., "CosFace", 2018, section 3.1 (cosine classifier).
    """

    pooling: Literal["average", "max", "gem"] = "average"
    gem_power: int = 3
    embedding_size: int | None = None
    bn_neck: bool = False
    l2_normalized: bool = False
    dropout: float | None = None
    classifier: Literal["linear", "cosine"] = "linear"


@dataclass(frozen=True, slots=True)
class HeadTensors:
    """Symbolic tensors of a head: (B, D) for metric losses, (B, D) of the finished model, (B, I) logits."""

    metric: Any
    embedding: Any
    logits: Any


@keras.saving.register_keras_serializable(package="reidfw")
class CosineClassifier(keras.layers.Dense):
    """Logits ``scale * cos(embedding, class weights)``; no offset.

    Args:
        units: classes I.
        scale: factor s.
        kwargs: further arguments of ``keras.layers.Dense``.
    """

    def __init__(self, units: int, scale: float = COSINE_SCALE, **kwargs: Any) -> None:
        super().__init__(units, **{**kwargs, "use_bias": False})
        self.scale = scale

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(B, D) embeddings of any length to (B, I)."""
        del training
        return self.scale * keras.ops.matmul(unit_length(inputs), unit_length(self.kernel, axis=0))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this layer."""
        return {**super().get_config(), "scale": self.scale}


def unit_length(vectors: Any, axis: int = -1) -> Any:
    """Vectors scaled to length 1, written the way in which converters recognise it."""
    squares = keras.ops.sum(keras.ops.square(vectors), axis=axis, keepdims=True)
    return vectors * keras.ops.rsqrt(keras.ops.maximum(squares, _SMALLEST_SQUARED_NORM))


def generalised_mean(features: Any, power: int) -> Any:
    """(B, h, w, D) to (B, D): the ``power``-th root of the mean of ``power``-th powers.

    Powers are products and the root is taken by logarithm and exponential: all of them exist as int8 operators.
    """
    positive = keras.ops.maximum(keras.ops.cast(features, "float32"), _SMALLEST_ACTIVATION)
    raised = positive
    for _ in range(power - 1):
        raised = raised * positive
    mean = keras.ops.mean(raised, axis=(1, 2))
    return mean if power == 1 else keras.ops.exp(keras.ops.log(mean) * (1.0 / power))


def attach_head(output: Any, head: Head, num_identities: int, seed: int, name: str) -> HeadTensors:
    """Puts a head on a feature map (B, h, w, D) or on a vector (B, D).

    Args:
        output: the symbolic tensor.
        head: what to put on it.
        num_identities: classes I of the classifier.
        seed: seeds dropout and all weights.
        name: of the model, for messages.

    Raises:
        DataError: neither a feature map nor a vector, or a vector that is to be pooled in a special way.
    """
    projects = head.embedding_size is not None
    vector = _pooled(output, head, "pooling" if projects else EMBEDDING_LAYER, name)
    if projects:
        vector = keras.layers.Dense(
            head.embedding_size,
            use_bias=not head.bn_neck,
            kernel_initializer=keras.initializers.HeNormal(seed=seed + 1),
            name=EMBEDDING_LAYER,
        )(vector)
    embedding = keras.layers.BatchNormalization(center=False, name=BN_NECK_LAYER)(vector) if head.bn_neck else vector
    hidden = keras.layers.Dropout(head.dropout, seed=seed, name="dropout")(embedding) if head.dropout else embedding
    dense = CosineClassifier if head.classifier == "cosine" else keras.layers.Dense
    initial = keras.initializers.GlorotUniform(seed=seed)
    logits = dense(num_identities, kernel_initializer=initial, name=LOGITS_LAYER)(hidden)
    return HeadTensors(vector, unit_length(embedding) if head.l2_normalized else embedding, logits)


def _pooled(output: Any, head: Head, layer_name: str, name: str) -> Any:
    if len(output.shape) == 2:
        if head.pooling != "average":
            raise DataError(
                f"model.pooling is {head.pooling}, but '{name}' gives a vector already: there is nothing to pool",
                hint="Remove model.pooling, or start from a backbone.",
            )
        return output
    if len(output.shape) != 4:
        raise DataError(f"The model '{name}' gives {output.shape}; a feature map or a vector is needed")
    if head.pooling == "gem":
        return generalised_mean(output, head.gem_power)
    pool = keras.layers.GlobalMaxPooling2D if head.pooling == "max" else keras.layers.GlobalAveragePooling2D
    return pool(name=layer_name)(output)
