"""The layer around an augmentation function of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from reidfw_core.errors import DataError
from reidfw_core.references import load_function


@keras.saving.register_keras_serializable(package="reidfw")
class CustomFunction(keras.layers.Layer):
    """Calls ``function(images, config, pixels_range, batch_info)`` on training batches.

    ``images`` is (B, H, W, C) float32, rescaled; ``pixels_range`` the pair of its lowest and highest value;
    ``batch_info`` an int32 tensor (4,): batches since the start of the training, epoch (both from 0), height and width
    of the images. A function with a parameter ``seed`` also gets a (2,) int32 tensor for ``tf.random.stateless_*``:
    with it, the same run gives the same images again.

    Args:
        function: ``module:function`` or ``file.py:function``. It is imported when it is first needed: opening a saved
            model runs no code of its own.
        config: handed to the function.
        pixel_range: lowest and highest pixel value.
        batches_per_epoch: tells the epoch from the batch.
        kwargs: those of ``keras.layers.Layer``.
    """

    def __init__(
        self,
        *,
        function: str,
        config: Mapping[str, Any],
        pixel_range: tuple[float, float],
        batches_per_epoch: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.function_config = dict(config)
        self.pixel_range = (float(pixel_range[0]), float(pixel_range[1]))
        self.batches_per_epoch = batches_per_epoch
        self._batches = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="batches")

    def apply(self, images: Any, seed: Any) -> Any:
        """The function's images for a batch.

        Args:
            images: (B, H, W, C) float32.
            seed: (2,) int32; the second number is that of the batch.
        """
        function = load_function(self.function)
        number = tf.cast(seed[1], tf.int32)
        shape = tf.shape(images)
        info = tf.stack([number, number // self.batches_per_epoch, shape[1], shape[2]])
        extra = {"seed": seed} if "seed" in inspect.signature(function).parameters else {}
        changed = tf.convert_to_tensor(function(images, self.function_config, self.pixel_range, info, **extra))
        if not images.shape.is_compatible_with(changed.shape):
            raise DataError(
                f"custom_data_augmentation: {self.function} gives images of shape {changed.shape}, not {images.shape}"
            )
        return tf.ensure_shape(tf.cast(changed, images.dtype), images.shape)

    def call(self, images: Any, training: bool = False) -> Any:
        """In training the function's images, else the images themselves."""
        if not training:
            return images
        number = tf.convert_to_tensor(self._batches)
        self._batches.assign_add(1)
        return self.apply(images, tf.stack([tf.constant(0, tf.int32), number]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the input's."""
        return input_shape

    def compute_output_spec(self, images: Any, training: bool = False) -> Any:
        """As the input: the function is not called to find out."""
        del training
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this layer."""
        return {
            **super().get_config(),
            "function": self.function,
            "config": self.function_config,
            "pixel_range": list(self.pixel_range),
            "batches_per_epoch": self.batches_per_epoch,
        }
