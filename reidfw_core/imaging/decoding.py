"""Decoding and resizing with TensorFlow; TensorFlow is imported by the functions that need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidfw_core.imaging.files import bad_images_error, find_bad_images, sniff_image, why_undecodable
from reidfw_core.imaging.opening import decode, orientation, turned
from reidfw_core.imaging.spec import ImageSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARALLEL_DECODES = 4
"""Images decoded at once. tf.data's autotuning is off: its thread can hold up the end of a short pass for seconds."""


_UNUSUAL = r"(?:BM|RIFF\C{4}WEBP|\C{6,}?(?:Exif\x00\x00|eXIf))\C*"
"""What the first :data:`_HEAD_BYTES` of a BMP, a WebP, or a file with EXIF data look like (\\C is any byte)."""

_HEAD_BYTES = 4096
"""EXIF data stand before everything else (EXIF 2.32, section 4.7.1), or behind a JFIF header."""

_TRACE = re.compile(r"\{\{.*?\}\}|\[Op:.*", re.DOTALL)
"""What TensorFlow adds to its messages."""

_CONVEX = ("bilinear", "nearest", "area")
"""Interpolations whose results never leave the range of the pixels."""


def build_decoder(spec: ImageSpec) -> Callable[[Any], Any]:
    """The graph function from a file path to the resized image.

    Images are turned as their EXIF orientation says. Of CMYK the RGB colours are taken, of 16 bits the upper 8, of
    animations the first picture, and of transparent pixels the stored colour. Pixels are rounded to integers after
    resizing, as a camera's resizer would give them, so that training, calibration, evaluation and the device see the
    same values.

    Returns:
        A function of a scalar string tensor that gives (H, W, C) uint8.
    """
    import tensorflow as tf

    def decode_and_resize(path: Any) -> Any:
        image = _decoded(tf.io.read_file(path), 4 if spec.channels == 4 else 3)
        if spec.channels == 1:
            image = tf.image.rgb_to_grayscale(image)
        if spec.aspect_ratio == "fit":
            image = tf.image.resize(image, (spec.height, spec.width), method=spec.interpolation)
        else:
            image = tf.image.resize_with_crop_or_pad(image, spec.height, spec.width)
        if image.dtype != tf.uint8:
            image = tf.round(image)
            if spec.interpolation not in _CONVEX:
                image = tf.clip_by_value(image, 0.0, 255.0)
            image = tf.cast(image, tf.uint8)
        return tf.ensure_shape(image, spec.shape)

    return decode_and_resize


def _decoded(content: Any, channels: int) -> Any:
    """The upright (H, W, C) uint8 image of a file's content; C is 3 or 4.

    Most files are decoded in the graph, which finds within 1 % of the time that they need no more. The others go
    through a single Python function: every further operation here would cost all images time.
    """
    import tensorflow as tf

    image = tf.cond(
        tf.strings.regex_full_match(tf.strings.substr(content, 0, _HEAD_BYTES), _UNUSUAL),
        lambda: tf.numpy_function(partial(_decoded_upright, channels=channels), [content], tf.uint8),
        lambda: _decoded_by_tensorflow(content, channels),
    )
    return tf.ensure_shape(image, (None, None, channels))


def _decoded_upright(content: bytes, channels: int) -> NDArray[np.uint8]:
    turn = orientation(content)
    if turn is None:
        return decode(content, channels)
    return turned(_decoded_by_tensorflow(content, channels).numpy(), turn)


def _decoded_by_tensorflow(content: Any, channels: int) -> Any:
    import tensorflow as tf

    if channels == 3:
        return tf.io.decode_image(content, channels=3, expand_animations=False)
    return tf.cond(
        tf.strings.substr(content, 0, 4) == b"\x89PNG",
        lambda: tf.io.decode_png(content, channels=4),
        lambda: tf.pad(
            tf.io.decode_image(content, channels=3, expand_animations=False),
            [[0, 0], [0, 0], [0, 1]],
            constant_values=255,
        ),
    )


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


def decoding_problem(path: Path) -> str | None:
    """Why a file cannot be decoded, or None where it can: reads every pixel once, as training does."""
    import tensorflow as tf

    reason = sniff_image(path)
    if reason:
        return reason
    try:
        _decoded_upright(path.read_bytes(), 3)
    except (tf.errors.OpError, OSError, SyntaxError, ValueError) as cause:  # Pillow raises the last three
        return why_undecodable(path) or f"cannot be decoded: {_TRACE.sub('', str(cause)).strip()}"
    return None


def explain_decode_failure(paths: Sequence[Path], cause: BaseException) -> None:
    """Raises a DataError that names the undecodable files among ``paths``; returns where all of them decode."""
    bad = find_bad_images(paths, decoding_problem)
    if bad:
        raise bad_images_error(bad) from cause
