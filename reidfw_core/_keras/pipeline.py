"""The stream of training batches: decoded, rescaled and augmented in tf.data, uint8 until the last moment.

Augmentation runs here and not inside the model: on a CPU that trains about a third faster, and the saved
``*_augmented_model.keras`` holds the same layers all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from reidfw_core.imaging.cache import PixelCache
from reidfw_core.imaging.decoding import PARALLEL_DECODES, build_decoder, pipeline_options, rescale
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.sampling.pk import PKSampler


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of each batch a computer makes, and into how many smaller batches it cuts that.

    Attributes:
        place, total: number of this computer (from 0), and how many there are.
        devices: devices that each computer feeds; each gets a batch of its own.
    """

    place: int = 0
    total: int = 1
    devices: int = 1

    def rows(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """This computer's part of a (B,) batch."""
        size = len(batch) // self.total
        return batch[self.place * size : (self.place + 1) * size]


def training_batches(
    paths: Sequence[Path],
    labels: NDArray[np.int64],
    spec: ImageSpec,
    sampler: PKSampler,
    augmentation: Sequence[Any],
    seed: int,
    first_epoch: int = 0,
    *,
    cache: PixelCache | None = None,
    share: Share | None = None,
) -> tf.data.Dataset:
    """An endless stream of PK batches; epoch follows epoch.

    Args:
        paths: image files, N of them.
        labels: (N,) class of each image.
        spec: resizing and rescaling.
        sampler: plans the batches of each epoch.
        augmentation: Keras layers. One that has ``apply(images, seed)`` gets a seed (2,) int32 made from ``seed`` and
            the batch's number, so that the images do not depend on which thread made them.
        seed: seeds the augmentation.
        first_epoch: epoch to begin with, counted from 0.
        cache: where decoded images are kept.
        share: the part of each batch to make; by default all of it.

    Returns:
        Elements ((B, H, W, C) float32, (B,) int64), B being the sampler's batch size divided among all devices.
    """
    share = share or Share()
    size = sampler.batch_size // (share.total * share.devices)
    decode = _cached(build_decoder(spec), spec, cache)
    names = tf.constant([str(path) for path in paths])
    classes = tf.constant(labels, tf.int64)
    base_seed = seed + 104_729 * share.place
    seeds = [(base_seed + 7919 * place) & 0x7FFF_FFFF for place in range(len(augmentation))]

    def plan() -> Iterator[NDArray[np.int64]]:
        epoch = first_epoch
        while True:
            for batch in sampler.epoch(epoch):
                yield share.rows(batch)
            epoch += 1

    def augment(number: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
        pixels, identities = batch
        images = rescale(pixels, spec)
        for layer, layer_seed in zip(augmentation, seeds, strict=True):
            if hasattr(layer, "apply"):
                draw = tf.stack([tf.constant(layer_seed, tf.int32), tf.cast(number, tf.int32)])
                images = layer.apply(images, draw)
            else:
                images = layer(images, training=True)
        return images, identities

    return (
        tf.data.Dataset.from_generator(plan, output_signature=tf.TensorSpec((size * share.devices,), tf.int64))
        .unbatch()
        .map(lambda index: (decode(names[index], index), classes[index]), num_parallel_calls=PARALLEL_DECODES)
        .batch(size, drop_remainder=True)
        .enumerate(start=first_epoch * sampler.batches_per_epoch * share.devices)
        .map(augment, num_parallel_calls=2)
        .prefetch(2)
        .with_options(pipeline_options())
    )


def _cached(decode: Callable[[Any], Any], spec: ImageSpec, cache: PixelCache | None) -> Callable[[Any, Any], Any]:
    if cache is None:
        return lambda path, _: decode(path)

    def read(path: Any, index: Any) -> Any:
        kept = tf.numpy_function(cache.get, [index], tf.uint8)
        image = tf.cond(
            tf.size(kept) > 0,
            lambda: kept,
            lambda: tf.numpy_function(cache.put, [index, decode(path)], tf.uint8),
        )
        return tf.ensure_shape(image, spec.shape)

    return read
