"""Embeddings from a device: images encoded as its model wants them, its answers turned into real numbers."""

from __future__ import annotations

import logging
from statistics import median
from typing import Protocol

import numpy as np

from reidfw_core.api import BoardFailed, ModelFormat
from reidfw_targets.device.serial_port import SerialPort
from reidfw_targets.device.session import DeviceModel, DeviceSession
from reidfw_targets.device.tensors import DeviceTensor
from reidfw_targets.images import checked_batch, embedding_dim, image_input
from reidfw_targets.model_io import ModelIo

logger = logging.getLogger(__name__)


class Device(Protocol):
    """Something that runs one model, an image at a time.

    Attributes:
        input, output: its tensors.
        label: what computes, for example ``ST Edge AI 3.0.0 on device 0x486 at 800 MHz``.
    """

    input: DeviceTensor
    output: DeviceTensor
    label: str

    def run(self, image: bytes) -> tuple[bytes, float | None]:
        """The output of one inference and, where the device tells it, its duration in milliseconds."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


class SerialDevice:
    """A board on a serial port.

    Args:
        port: its open port.
        session: the greeted device on it.
        model: the model to run.
    """

    def __init__(self, port: SerialPort, session: DeviceSession, model: DeviceModel) -> None:
        self._port, self._session, self._model = port, session, model
        self.input, self.output = model.inputs[0], model.outputs[0]
        self.label = f"ST Edge AI {model.tool_version} on device 0x{session.device_id:x} at {session.clock_mhz:.0f} MHz"

    def run(self, image: bytes) -> tuple[bytes, float | None]:
        """One inference; see :class:`Device`."""
        done = self._session.run(self._model, (image,))
        return done.outputs[0], done.duration_ms

    def close(self) -> None:
        """Closes the port."""
        self._port.close()


class DeviceRunner:
    """A model on a device; see :class:`reidfw_core.api.EmbeddingRunner`.

    Args:
        device: what runs it.
        expected: what the model file says; None where it could not be read.
        model_format: container and number format of the file.
        name: what errors call the model.

    Raises:
        BoardFailed: the model on the device is another one than that of the file, or takes no image.
    """

    def __init__(self, device: Device, expected: ModelIo | None, model_format: ModelFormat, name: str) -> None:
        self._device = device
        where = f"The model on the device ({device.label})"
        self._image = image_input(device.input.dimensions, where, prefer=device.input.layout)
        self.input_shape = self._image.shape
        self.embedding_dim = embedding_dim(device.output.dimensions, where)
        self.format = model_format
        self.kernels = device.label
        self._durations_ms: list[float] = []
        if expected is not None and (self.input_shape, self.embedding_dim) != (
            expected.image.shape,
            expected.embedding_dim,
        ):
            raise BoardFailed(
                f"{where} is not {name}: it takes {self.input_shape} and gives {self.embedding_dim} numbers; the file "
                f"takes {expected.image.shape} and gives {expected.embedding_dim}",
                hint="Another model is loaded on the board; leave out profile: auto_valid to load this one.",
            )

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of a batch, one image after the other."""
        images = checked_batch(images, self.input_shape)
        embeddings = np.empty((len(images), self.embedding_dim), np.float32)
        taken, given = self._device.input.numbers, self._device.output.numbers
        for number in range(len(images)):
            arranged = self._image.arrange(images[number : number + 1])
            found, duration_ms = self._device.run(np.ascontiguousarray(taken.encode(arranged)).tobytes())
            if duration_ms is not None:
                self._durations_ms.append(duration_ms)
            embeddings[number] = given.decode(np.frombuffer(found, given.dtype)).reshape(-1)
        return embeddings

    def close(self) -> None:
        """Ends the connection, and tells how long an inference took."""
        if self._durations_ms:
            logger.info(
                "Inference on the device: %.3f ms (median of %d)", median(self._durations_ms), len(self._durations_ms)
            )
        self._device.close()
