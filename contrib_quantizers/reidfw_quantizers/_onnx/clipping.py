"""Clipped ranges of the activations of an ONNX model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx

from reidfw_core.api import DataError
from reidfw_quantizers._onnx.watching import watching_session
from reidfw_quantizers.clipping import Clipping, Extremes, Histogram, clipped_range


def clipped_ranges(
    model: onnx.ModelProto, feeds: Iterable[dict[str, np.ndarray]], clipping: Clipping
) -> dict[str, tuple[float, float]]:
    """Runs the images through a float model once; memory does not depend on their number.

    Args:
        model: the float model as it will be quantized, with shapes inferred.
        feeds: each holds the model's input under its name.
        clipping: how ranges follow from the values. The input keeps the extremes of its pixels.

    Returns:
        The range of each float activation, by its name.

    Raises:
        DataError: an activation is not finite.
    """
    floats = {
        value.name
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    names = [name for node in model.graph.node for name in node.output if name in floats]
    seen: dict[str, Extremes] = {name: Histogram() for name in names}
    session = watching_session(model, names)
    for feed in feeds:
        for name, found in zip(names, session.run(names, feed), strict=True):
            seen[name].add(found)
        for name, image in feed.items():
            seen.setdefault(name, Extremes()).add(image)
    for name, values in seen.items():
        if not values.is_finite():
            raise DataError(f"The float model gives NaN or infinity in {name}")
    return {
        name: clipped_range(values, clipping) if isinstance(values, Histogram) else values.range()
        for name, values in seen.items()
    }
