"""Error of quantized layers, added up image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reidfw_core.api import LayerError


@dataclass(slots=True)
class LayerNoise:
    """Sums over the values of one layer; :meth:`add` takes an image's, :meth:`error` tells the result.

    Attributes:
        name: the layer's output.
        operator: what computes it.
        scale: quantization step, None where there are several or none.
    """

    name: str
    operator: str
    scale: float | None = None
    _signal: float = 0.0
    _noise: float = 0.0
    _quantized: float = 0.0
    _product: float = 0.0
    _absolute: float = 0.0
    _count: int = 0

    def add(self, reference: np.ndarray, quantized: np.ndarray) -> None:
        """Adds the float and the de-quantized output of one image, of equal shape."""
        wanted, found = (np.asarray(values, np.float64).ravel() for values in (reference, quantized))
        difference = wanted - found
        self._signal += float(wanted @ wanted)
        self._noise += float(difference @ difference)
        self._quantized += float(found @ found)
        self._product += float(wanted @ found)
        self._absolute += float(np.abs(difference).sum())
        self._count += wanted.size

    def error(self) -> LayerError:
        """The errors over all that was added; the signal-to-noise ratio of an exact layer is infinite."""
        if self._noise == 0:
            ratio = math.inf
        elif self._signal == 0:
            ratio = -math.inf
        else:
            ratio = 10 * math.log10(self._signal / self._noise)
        norms = math.sqrt(self._signal * self._quantized)
        return LayerError(
            name=self.name,
            operator=self.operator,
            signal_to_noise_db=ratio,
            cosine=self._product / norms if norms else float(self._noise == 0),
            mean_absolute_error=self._absolute / self._count if self._count else 0.0,
            scale=self.scale,
        )


def worst_first(layers: list[LayerNoise]) -> tuple[LayerError, ...]:
    """The errors of all layers, lowest signal-to-noise ratio first; equal ones in the order of the network."""
    return tuple(sorted((layer.error() for layer in layers), key=lambda error: error.signal_to_noise_db))
