"""What the integers of a quantized tensor stand for, whatever the file or device that they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TIE_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True)
class TensorNumbers:
    """Number format of an input or output: ``real = scale * (integer - zero_point)``, or float.

    Attributes:
        dtype: type of the tensor.
        scale: its scale, 0 for a float tensor.
        zero_point: its zero point.
    """

    dtype: np.dtype
    scale: float
    zero_point: int

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Real numbers (float32, any shape) as the tensor wants them; see :meth:`encode_into`."""
        encoded = np.empty(values.shape, self.dtype)
        self.encode_into(encoded, values, np.empty(values.shape, np.float32))
        return encoded

    def encode_into(self, out: np.ndarray, values: np.ndarray, workspace: np.ndarray) -> None:
        """Writes real numbers as the tensor wants them: rounded to the nearest integer and clipped to its type.

        Halves go up, also those that float arithmetic missed by a hair. With pixels rescaled to [-1, 1] and the
        scale 2/255 every pixel value lies half-way between two integers; going up keeps all 256 values apart, as
        they are in the camera bytes that a board reads, while rounding to even would merge them in pairs.

        Args:
            out: array of the tensor's type for the result.
            values: float32, same shape.
            workspace: float32, same shape; it is overwritten unless the tensor is a float one. Large temporaries, made
                anew for each image, would let threads wait for each other's memory.
        """
        if self.scale == 0:
            np.copyto(out, values, casting="same_kind")
            return
        limits = np.iinfo(self.dtype)
        integers = np.divide(values, np.float32(self.scale), out=workspace)
        integers += np.float32(self.zero_point + 0.5 + _TIE_TOLERANCE)
        if limits.min < 0:  # from what is not negative the cast below takes the floor by itself
            np.floor(integers, out=integers)
        np.clip(integers, limits.min, limits.max, out=integers)
        np.copyto(out, integers, casting="unsafe")

    def levels_off(self, scale: float, offset: float) -> float:
        """By how many of the tensor's steps it misreads a camera's bytes that are handed in as they are, at most.

        The byte p, as the unsigned integer of the same 8 bits (p - 128 in an int8 tensor), should stand for
        ``scale * p + offset``. Up to 0.5 is rounding.
        """
        pixels = np.arange(256)
        lowest = np.iinfo(self.dtype).min
        read = self.scale * (pixels + lowest - self.zero_point)
        return float(np.abs(scale * pixels + offset - read).max() / self.scale)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The real numbers that a tensor's values stand for, float32, same shape."""
        if self.scale == 0:
            return values.astype(np.float32, copy=False)
        return (values.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
