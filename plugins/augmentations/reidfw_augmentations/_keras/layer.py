"""Base of all augmentation layers.

Two ways to use a layer:

* ``layer.apply(images, seed)``: always augments; every draw follows from ``seed``, a (2,) int32 tensor. For
  ``tf.data.Dataset.map``: make the seed from the batch's number, and the images do not depend on which thread made
  them, nor on how many threads there are.
* ``layer(images, training=True)``: augments only in training, with seeds from the layer's own generator, whose state is
  saved with the model. For models that hold the layer.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import tensorflow as tf

from reidfw_augmentations._keras.draws import Draws


class BatchAugmentation(keras.layers.Layer):  # type: ignore[misc]  # keras has no type hints
    """Maps (B, H, W, C) float32 images in ``pixel_range`` to images of the same shape, type and range.

    The attributes that a subclass annotates without giving them a value are its arguments: they must be given by
    keyword, and are saved with it.

    Args:
        pixel_range: lowest and highest pixel value.
        seed: seeds the draws of ``__call__``.
        change_rate: probability, for each image, that it is changed.
        kwargs: the arguments of the subclass, and those of ``keras.layers.Layer``.

    Raises:
        TypeError: an argument of the subclass is missing.
    """

    needs_rgb: ClassVar[bool] = False
    arguments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = [name for name in inspect.get_annotations(cls) if name not in vars(cls)]
        cls.arguments = (*cls.arguments, *(name for name in own if name not in cls.arguments))

    def __init__(
        self, *, pixel_range: tuple[float, float] = (0.0, 1.0), seed: int = 0, change_rate: float = 1.0, **kwargs: Any
    ) -> None:
        missing = [name for name in self.arguments if name not in kwargs]
        if missing:
            raise TypeError(f"{type(self).__name__} needs the argument {', '.join(missing)}")
        own = {name: kwargs.pop(name) for name in self.arguments}
        kwargs.setdefault("dtype", "float32")
        super().__init__(trainable=False, **kwargs)
        self.low, self.high = (float(end) for end in pixel_range)
        self.seed = seed
        self.change_rate = float(change_rate)
        for name, value in own.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The images as they are, or augmented when ``training``."""
        if not training:
            return images
        return self.apply(images, self.seed_generator.next())

    def apply(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments a batch.

        Args:
            images: (B, H, W, C) float32 in ``pixel_range``; B, H and W may be unknown while tracing.
            seed: (2,) integer; the same seed gives the same result.

        Returns:
            (B, H, W, C) float32 in ``pixel_range``.

        Raises:
            ValueError: the layer needs RGB images and C is not 3.
        """
        if self.needs_rgb and images.shape[-1] != 3:
            raise ValueError(f"{type(self).__name__} needs RGB images, got {images.shape[-1]} channel(s)")
        changed = self._apply(images, Draws(seed))
        return tf.ensure_shape(changed, images.shape)

    def _apply(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        if self.change_rate >= 1:
            return self.change(images, draws)
        # Only the chosen images are computed; a select over whole batches would cost more than most functions.
        chosen = tf.where(draws.chance((tf.shape(images)[0],), self.change_rate))

        def change_chosen() -> tf.Tensor:
            changed = self.change(tf.gather(images, chosen[:, 0]), draws)
            return tf.tensor_scatter_nd_update(images, chosen, changed)

        return tf.cond(tf.size(chosen) > 0, change_chosen, lambda: images)

    @abstractmethod
    def change(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Changes every image of a batch, which has at least one; subclasses say how."""

    def to_unit(self, images: tf.Tensor) -> tf.Tensor:
        """Pixel values brought to [0, 1]."""
        return images if (self.low, self.high) == (0.0, 1.0) else (images - self.low) / (self.high - self.low)

    def from_unit(self, images: tf.Tensor) -> tf.Tensor:
        """Values in [0, 1] brought to ``pixel_range``; what lies outside is clipped."""
        return self.clip(images * (self.high - self.low) + self.low)

    def to_levels(self, images: tf.Tensor) -> tf.Tensor:
        """Pixel values as the whole numbers 0 to 255, float32."""
        return tf.clip_by_value(tf.round(self.to_unit(images) * 255.0), 0.0, 255.0)

    def from_levels(self, levels: tf.Tensor) -> tf.Tensor:
        """The inverse of :meth:`to_levels`."""
        return self.from_unit(levels / 255.0)

    def clip(self, images: tf.Tensor) -> tf.Tensor:
        """Values outside of ``pixel_range`` brought to its nearer end."""
        return tf.clip_by_value(images, self.low, self.high)

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002 (Keras calls it so)
        """Nothing to make: there are no weights."""
        self.built = True

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Saves the generator's state, which Keras leaves out: a training that is resumed goes on with new draws."""
        store["seed_state"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: dict[str, Any]) -> None:
        """The inverse of :meth:`save_own_variables`."""
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self) -> dict[str, Any]:
        """All arguments, JSON-able."""
        return {
            **super().get_config(),
            "pixel_range": (self.low, self.high),
            "seed": self.seed,
            "change_rate": self.change_rate,
            **{name: getattr(self, name) for name in self.arguments},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BatchAugmentation:
        """Makes the layer of a saved model again."""
        return cls(**{name: value for name, value in config.items() if name != "trainable"})


@dataclass(frozen=True)
class BatchSize:
    """Size of a batch, as tensors.

    Attributes:
        count: (1,) int32, number of images: the shape of one draw for each image.
        height, width: scalar float32, in pixels.
    """

    count: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor

    @classmethod
    def of(cls, images: tf.Tensor) -> BatchSize:
        """Size of (B, H, W, C) images."""
        shape = tf.shape(images)
        return cls(shape[:1], tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32))


def per_image(values: tf.Tensor) -> tf.Tensor:
    """(B,) values in the shape (B, 1, 1, 1), to be combined with images."""
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]


def batch_size(images: tf.Tensor) -> tf.Tensor:
    """Shape (1,) tensor with the number of images, for draws of one value an image."""
    return tf.shape(images)[:1]


def one_by_one(
    function: Callable[[Any], tf.Tensor], elements: tuple[tf.Tensor, ...], result: tf.TensorSpec
) -> tf.Tensor:
    """Calls a function for each image of a batch and stacks what it returns.

    Args:
        function: gets a tuple with one slice of each of the elements.
        elements: tensors with the same first dimension.
        result: shape and type of what the function returns.
    """

    def run(*slices: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(function, slices, fn_output_signature=result)

    # Outside of a graph each image would cost many milliseconds; tracing once a batch costs less.
    return tf.function(run)(*elements) if tf.executing_eagerly() else run(*elements)
