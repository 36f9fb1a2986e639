"""What LiteRT's reference kernels compute, tensor by tensor: the truth that generated programs are compared with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from reidfw_core.api import DataError, native_stderr_to_log

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDifference:
    """A tensor that differs.

    Attributes:
        name: its name in the model file.
        elements: how many of its elements differ.
        largest: the largest difference, in quantization steps.
        total: how many elements it has.
    """

    name: str
    elements: int
    largest: int
    total: int


class Reference:
    """The reference interpreter of one model file with all tensors kept.

    Args:
        content: the file.

    Raises:
        DataError: LiteRT refuses the model.
    """

    def __init__(self, content: bytes) -> None:
        try:
            with native_stderr_to_log(logger):
                self._interpreter: Any = Interpreter(
                    model_content=content,
                    num_threads=1,
                    experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                    experimental_preserve_all_tensors=True,
                )
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as cause:
            raise DataError(
                f"The model cannot be compared, as LiteRT refuses it: {' '.join(str(cause).split())}",
                hint="Make the file again, or leave the comparison out (--verify 0).",
            ) from cause
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._names = {one["index"]: one["name"] for one in self._interpreter.get_tensor_details()}

    @property
    def takes_integers(self) -> bool:
        """Whether the file's input is an integer tensor."""
        return np.dtype(self._input["dtype"]).kind in "iu"

    def run(self, image: np.ndarray) -> np.ndarray:
        """The output (D,) for one image (H, W, C), both in the file's numbers."""
        self._interpreter.set_tensor(self._input["index"], image[np.newaxis].astype(self._input["dtype"]))
        self._interpreter.invoke()
        found: np.ndarray = self._interpreter.get_tensor(self._output["index"]).reshape(-1)
        return found

    def tensor(self, index: int) -> np.ndarray:
        """A tensor of the last run by its number in the file, flat."""
        found: np.ndarray = self._interpreter.get_tensor(index).reshape(-1)
        return found

    def differences(
        self, tensors: Mapping[int, np.ndarray], compared: Mapping[int, np.ndarray]
    ) -> list[TensorDifference]:
        """Compares tensors of a traced program with those of the last run.

        Args:
            tensors: int8 (rows, bytes of a row) by number in the file; rows that were not made at the end are zeros.
            compared: bool (rows,) by number in the file: which rows are compared.

        Returns:
            Those that differ, in the order of the file.
        """
        found = []
        for index, values in sorted(tensors.items()):
            rows = compared[index]
            expected = self._interpreter.get_tensor(index).reshape(len(rows), -1)[rows]
            made = np.zeros((len(rows), values.shape[1]), np.int8)
            made[: len(values)] = values
            given = made[rows].view(np.uint8) if expected.dtype == np.uint8 else made[rows]
            distance = np.abs(expected.astype(np.int16) - given.astype(np.int16))
            if distance.any():
                found.append(
                    TensorDifference(
                        name=self._names[index],
                        elements=int(np.count_nonzero(distance)),
                        largest=int(distance.max()),
                        total=given.size,
                    )
                )
        return found
