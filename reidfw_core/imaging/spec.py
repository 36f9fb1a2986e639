"""What happens to an image between its file and the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reidfw_core.errors import DataError
from reidfw_core.types import PixelRange

if TYPE_CHECKING:
    from reidfw_core.config.sections import PreprocessingSection

AspectRatio = Literal["fit", "crop", "padding", "full_screen"]
Interpolation = Literal["bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """Resizing and rescaling, as the YAML's ``preprocessing`` section and the model's input ask for.

    Attributes:
        height, width: size in pixels.
        channels: 1, 3 or 4.
        aspect_ratio: ``fit`` stretches to the size; ``crop`` and ``padding`` both cut what is too large and pad with
            black what is too small, around the centre.
        interpolation: method of ``tf.image.resize``, used by ``fit``.
        scale, offset: the network gets ``scale * pixel + offset``.
    """

    height: int
    width: int
    channels: int
    aspect_ratio: AspectRatio = "fit"
    interpolation: Interpolation = "bilinear"
    scale: float = 1.0
    offset: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.height, self.width, self.channels

    @property
    def pixel_range(self) -> PixelRange:
        """The values that pixels 0 and 255 become, in ascending order."""
        ends = sorted((self.offset, 255.0 * self.scale + self.offset))
        return PixelRange(ends[0], ends[1])


CHANNELS = {"grayscale": (1,), "rgb": (3,), "rgba": (4, 3)}
"""Channels of a model's input that go with each colour mode."""


def image_spec(preprocessing: PreprocessingSection, input_shape: tuple[int, int, int]) -> ImageSpec:
    """The treatment that a model's input and the ``preprocessing`` section ask for together.

    Args:
        preprocessing: the section.
        input_shape: (H, W, C) of the model.

    Raises:
        DataError: the model takes another number of channels than ``color_mode`` gives.
    """
    height, width, channels = input_shape
    if channels not in CHANNELS[preprocessing.color_mode]:
        fitting = [mode for mode, allowed in CHANNELS.items() if channels in allowed]
        raise DataError(
            f"The model takes images of shape {input_shape}, preprocessing.color_mode is {preprocessing.color_mode}",
            hint=f"Set preprocessing.color_mode to {' or '.join(fitting)}." if fitting else None,
        )
    resizing, rescaling = preprocessing.resizing, preprocessing.rescaling
    return ImageSpec(
        height=height,
        width=width,
        channels=channels,
        aspect_ratio=resizing.aspect_ratio,
        interpolation=resizing.interpolation or "bilinear",
        scale=rescaling.scale if rescaling else 1.0,
        offset=rescaling.offset if rescaling else 0.0,
    )
