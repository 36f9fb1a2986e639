"""Decoding and resizing with TensorFlow; TensorFlow is imported by the functions that need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidfw_core.imaging.files import bad_images_error, decode_image_fully, find_bad_images
from reidfw_core.imaging.spec import ImageSpec

if TYPE_CHECKING:
    import numpy as np

PARALLEL_DECODES = 4
"""Images decoded at once. tf.data's autotuning is off: its thread can hold up the end of a short pass for seconds."""


def build_decoder(spec: ImageSpec) -> Callable[[Any], Any]:
    """The graph function from a file path to the resized image.

    Pixels are rounded to integers after resizing, as a camera's resizer would give them, so that training,
    calibration, evaluation and the device see the same values.

    Returns:
        A function of a scalar string tensor that gives (H, W, C) uint8.
    """
    import tensorflow as tf

    def decode(path: Any) -> Any:
        content = tf.io.read_file(path)
        if spec.channels == 4:
            image = tf.cond(
                tf.strings.substr(content, 0, 4) == b"\x89PNG",
                lambda: tf.io.decode_png(content, channels=4),
                lambda: tf.pad(
                    tf.io.decode_image(content, channels=3, expand_animations=False),
                    [[0, 0], [0, 0], [0, 1]],
                    constant_values=255,
                ),
            )
        else:
            image = tf.io.decode_image(content, channels=3, expand_animations=False)
        image.set_shape((None, None, 4 if spec.channels == 4 else 3))
        if spec.channels == 1:
            image = tf.image.rgb_to_grayscale(image)
        if spec.aspect_ratio == "fit":
            image = tf.image.resize(image, (spec.height, spec.width), method=spec.interpolation)
        else:
            image = tf.image.resize_with_crop_or_pad(image, spec.height, spec.width)
        if image.dtype != tf.uint8:
            image = tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)
        return tf.ensure_shape(image, spec.shape)

    return decode


def rescale(images: Any, spec: ImageSpec) -> Any:
    """``scale * pixel + offset`` as float32, for a uint8 tensor or array of any shape."""
    import tensorflow as tf

    return tf.cast(images, tf.float32) * spec.scale + spec.offset


def pipeline_options() -> Any:
    """tf.data options of all our pipelines: deterministic order, no autotuning."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options


def image_batches(paths: Sequence[Path], spec: ImageSpec, batch_size: int) -> Iterator[np.ndarray]:
    """Decodes images in order, a batch at a time; the next batch is decoded while the caller works.

    Args:
        paths: the files.
        spec: resizing and rescaling.
        batch_size: images a batch; the last one may be smaller.

    Yields:
        (B, H, W, C) float32, rescaled.

    Raises:
        DataError: files that cannot be decoded, all of those in ``paths`` listed.
    """
    import tensorflow as tf

    if not paths:
        return
    decode = build_decoder(spec)
    dataset = (
        tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
        .map(decode, num_parallel_calls=PARALLEL_DECODES)
        .batch(batch_size)
        .map(lambda images: rescale(images, spec))
        .prefetch(2)
        .with_options(pipeline_options())
    )
    try:
        yield from dataset.as_numpy_iterator()
    except tf.errors.OpError as cause:
        explain_decode_failure(paths, cause)
        raise


def explain_decode_failure(paths: Sequence[Path], cause: BaseException) -> None:
    """Raises a DataError that names the undecodable files among ``paths``; returns where all of them decode."""
    bad = find_bad_images(paths, decode_image_fully)
    if bad:
        raise bad_images_error(bad) from cause
