"""Embeddings from a board on a serial port: the whole protocol against a simulated board on a pseudo-terminal."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from reidfw_core.api import BoardFailed, BoardNotFound

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from reidfw_targets.device import framing, messages, session, targets
from reidfw_targets.device.framing import NEWER, OLDER, varint
from reidfw_targets.device.preparation import H7P, N6
from reidfw_targets.device.runner import DeviceRunner
from reidfw_targets.device.tensors import memory_shape, number_type

from reidfw_core.api import ModelFormat

from .simulated_board import F32, S8, U8, Board, Tensor

SHAPE = (1, 6, 4, 3)
TFLITE = ModelFormat("tflite", "int8")


def mean_of_channels(image: bytes) -> bytes:
    """Per channel: mean of the bytes, as int8 with zero point -128 and the same step."""
    pixels = np.frombuffer(image, np.uint8).reshape(SHAPE)
    return np.round(pixels.mean((0, 1, 2)) - 128).astype(np.int8).tobytes()


def board(**changes) -> Board:
    values = {
        "compute": mean_of_channels,
        "input": Tensor(SHAPE, U8, 2 / 255, 128 - 1),
        "output": Tensor((1, 1, 1, 3), S8, 1 / 255, -128),
    }
    return Board(**{**values, **changes})


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """The real time limits, shortened: what a dead board costs is waiting."""
    monkeypatch.setattr(session, "SYNC_TIMEOUT_S", 0.4)
    monkeypatch.setattr(session, "ANSWER_TIMEOUT_S", 0.8)
    monkeypatch.setattr(session, "INFERENCE_TIMEOUT_S", 0.8)


def opened(device: Board) -> DeviceRunner:
    return DeviceRunner(targets.connect(device.port, N6), None, TFLITE, "model.tflite")


@pytest.mark.parametrize(
    ("header_bytes", "large_packets", "logs"),
    [(2, 0, False), (2, 4094, False), (2, 64, True), (1, 0, False), (1, 0, True)],
    ids=["newer", "newer, large packets", "newer, with logs", "older", "older, with logs"],
)
def test_images_come_back_as_real_numbers(header_bytes, large_packets, logs) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, *SHAPE[1:]))
    images = (pixels / 127.5 - 1).astype(np.float32)
    with board(header_bytes=header_bytes, large_packets=large_packets, logs=logs) as device:
        runner = opened(device)
        assert (runner.input_shape, runner.embedding_dim) == (SHAPE[1:], 3)
        found = runner.embed(images)
        runner.close()
        assert device.inferences == 3
    expected = np.round(pixels.mean((1, 2)))
    # scale 2/255, zero point 127: pixels arrive as (value + 0 or 1), never outside of 0 to 255
    np.testing.assert_allclose(found * 255, expected, atol=1.01)
    assert found.dtype == np.float32
    assert "device 0x486 at 800 MHz" in runner.kernels


def test_pixels_are_rounded_and_clipped_not_wrapped() -> None:
    seen: list[np.ndarray] = []

    def keep(image: bytes) -> bytes:
        seen.append(np.frombuffer(image, np.uint8).reshape(SHAPE)[0])
        return bytes(3)

    images = np.zeros((1, *SHAPE[1:]), np.float32)
    images[0, 0, 0] = (-5.0, 5.0, 0.26)  # far outside, and between two steps
    with board(compute=keep, input=Tensor(SHAPE, U8, 0.1, 10)) as device:
        runner = opened(device)
        runner.embed(images)
        runner.close()
    assert seen[0][0, 0].tolist() == [0, 60, 13]
    assert (seen[0][1:] == 10).all()


def test_float_tensors_travel_as_they_are() -> None:
    with board(
        compute=lambda image: np.frombuffer(image, "<f4").reshape(SHAPE).sum((0, 1, 2)).astype("<f4").tobytes(),
        input=Tensor(SHAPE, F32),
        output=Tensor((1, 3), F32),
    ) as device:
        runner = opened(device)
        images = np.random.default_rng(2).normal(size=(2, *SHAPE[1:])).astype(np.float32)
        np.testing.assert_allclose(runner.embed(images), images.sum((1, 2)), rtol=1e-5)
        runner.close()


def test_the_embedding_may_have_any_length_up_to_many_packets() -> None:
    values = np.arange(1280, dtype=np.float32)
    with board(compute=lambda _: values.tobytes(), output=Tensor((1, 1280), F32)) as device:
        runner = opened(device)
        np.testing.assert_array_equal(runner.embed(np.zeros((1, *SHAPE[1:]), np.float32))[0], values)
        runner.close()


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        ("dead", BoardNotFound, "No validation firmware answers"),
        ("garbage", BoardFailed, "no packet of the protocol|no message"),
        ("wrong_request", BoardFailed, "answers request 8; 1 was asked"),
        ("cut_in_message", BoardFailed, "stopped in the middle of a message"),
    ],
)
def test_faults_while_connecting(fault, error, told) -> None:
    with board(fault=fault) as device, pytest.raises(error, match=told) as caught:
        opened(device)
    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("refuses", "refuses: MEMORY_OVERFLOW"),
        ("dies_in_inference", "has not answered for"),
        ("stops_asking", "asks for no more"),
        ("short_output", "sent 2 bytes of output 'tensor'; 3 were due"),
    ],
)
def test_faults_while_computing(fault, told) -> None:
    with board() as device:
        runner = opened(device)
        device.fault = fault
        with pytest.raises(BoardFailed, match=told) as caught:
            runner.embed(np.zeros((1, *SHAPE[1:]), np.float32))
        runner.close()
    assert caught.value.exit_code == 3


def test_another_board_another_protocol_and_another_model_are_refused() -> None:
    with board(device_id=0x450) as device, pytest.raises(BoardFailed, match="device 0x450"):
        opened(device)
    with board(version=0x0202) as device, pytest.raises(BoardFailed, match=r"version 2\.2"):
        opened(device)
    with board(device_id=0x47B) as device:
        targets.connect(device.port, H7P).close()


def test_a_busy_port_says_so() -> None:
    import serial

    with board() as device:
        with serial.Serial(device.port, exclusive=True), pytest.raises(BoardNotFound, match="in use by another"):
            opened(device)
        opened(device).close()  # free again


def test_a_missing_port_says_so(tmp_path) -> None:
    with pytest.raises(BoardNotFound, match="There is no serial port"):
        targets.connect(str(tmp_path / "ttyACM9"), N6)


@pytest.mark.parametrize("form", [NEWER, OLDER, NEWER.with_payload(4094)])
@pytest.mark.parametrize("size", [1, 29, 30, 31, 32, 33, 200, 5000])
def test_messages_are_cut_into_packets_of_one_size(form, size) -> None:
    message = bytes(index % 251 for index in range(size))
    packets = form.split(message)
    assert {len(packet) for packet in packets} == {form.packet_bytes}
    joined = b""
    for packet in packets:
        told, last = form.read_header(packet)
        assert not last
        joined += packet[form.header_bytes : form.header_bytes + told]
    assert joined == varint(size) + message


def test_every_field_of_a_request_is_written() -> None:
    written = messages.make("Request", reqid=0, cmd=0, param=0, name="", opt=0).SerializeToString()
    assert written == bytes([0x08, 0, 0x10, 0, 0x18, 0, 0x22, 0, 0x28, 0])
    with pytest.raises(ValueError, match="no Response"):
        messages.parse("Response", b"\xff\xff\xff")


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        (U8, "uint8"),
        (S8, "int8"),
        (F32, "float32"),
        (0x01821040, "float32"),
        (0x08840440, "int8"),
        (0x00840840, "int16"),
    ],
)
def test_number_formats(code, dtype) -> None:
    assert number_type(code) == np.dtype(dtype)


@pytest.mark.parametrize("code", [0x0084084F, 0x000400C0, 0x00060440, 0x40])
def test_other_number_formats_are_refused(code) -> None:
    with pytest.raises(BoardFailed, match="format 0x"):
        number_type(code)


def test_shapes() -> None:
    assert memory_shape(1 << 24 | 4, (1, 3, 128, 256)) == ((1, 256, 128, 3), "NHWC")
    assert memory_shape(2 << 24 | 4, (1, 256, 128, 3)) == ((1, 256, 128, 3), "NHWC")
    assert memory_shape(3 << 24 | 4, (1, 256, 128, 3)) == ((1, 3, 256, 128), "NCHW")
    assert memory_shape((4 | 32) << 24 | 3, (256, 128, 3)) == ((1, 256, 128, 3), "NHWC")
    assert memory_shape((4 | 16 | 64) << 24 | 4, (1, 3, 256, 128)) == ((1, 3, 256, 128), "NCHW")
    assert memory_shape(5 << 24 | 2, (1, 128)) == ((1, 128), "NHWC")
    with pytest.raises(BoardFailed):
        memory_shape(2 << 24, ())


def test_noise_without_end_is_no_message() -> None:
    class Noise:
        def read(self, size: int) -> bytes:
            return NEWER.with_payload(4094).packet(bytes(4094))[:size] if size else b""

        def write(self, data: bytes) -> None: ...

    link = framing.PacketLink(Noise(), NEWER.with_payload(4094))
    with pytest.raises(BoardFailed, match="without an end"):
        link.receive(1.0)
