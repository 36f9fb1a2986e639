"""A board with ST's validation firmware, simulated on a pseudo-terminal: it speaks the protocol as its spec says.

Written from the description of the wire, apart from the code under test: packets, varints and messages are taken apart
by hand here, so that a mistake in one is not the same in the other.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

U8, S8, F32 = 0x00040440, 0x00840440, 0x00821040
BHWC = 2 << 24


def varint(value: int) -> bytes:
    out = b""
    value = int(value) & ((1 << 64) - 1)
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def number(field_number: int, value: int) -> bytes:
    return varint(field_number * 8) + varint(value)


def real(field_number: int, value: float) -> bytes:
    return varint(field_number * 8 + 5) + struct.pack("<f", value)


def block(field_number: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field_number * 8 + 2) + varint(len(data)) + data


def read_fields(data: bytes) -> dict[int, int | bytes]:
    found: dict[int, int | bytes] = {}
    at = 0

    def take() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = take()
        if key & 7 == 0:
            found[key >> 3] = take()
        else:
            assert key & 7 == 2, "only numbers and blocks come from the host"
            size = take()
            found[key >> 3] = data[at : at + size]
            at += size
    return found


@dataclass
class Tensor:
    shape: tuple[int, ...]
    code: int
    scale: float = 0.0
    zero_point: int = 0
    name: str = "tensor"

    def message(self, flags: int) -> bytes:
        dims = b"".join(number(5, size) for size in self.shape)
        return (
            block(1, self.name)
            + number(2, self.code)
            + number(3, int(np.prod(self.shape)))
            + number(4, BHWC | len(self.shape))
            + dims
            + real(6, self.scale)
            + number(7, self.zero_point)
            + number(8, 0)
            + number(9, flags)
        )


@dataclass
class Board:
    """The simulated board.

    Attributes:
        compute: from the bytes of the input to those of the output.
        header_bytes: 2 for newer firmware, 1 for older.
        large_packets: packet size that the board asks for; 0 keeps 32.
        fault: name of a fault that it shows; see :meth:`_run`.
    """

    compute: Callable[[bytes], bytes]
    input: Tensor
    output: Tensor
    header_bytes: int = 2
    large_packets: int = 0
    device_id: int = 0x486
    version: int = 0x0301
    fault: str = ""
    logs: bool = False
    inferences: int = 0
    requests: list[int] = field(default_factory=list)

    def __enter__(self) -> Board:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        tty.setraw(self._master)
        self.port = os.ttyname(slave)
        self._slave = slave
        self._packet = 32
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(one)
        self._thread.join(5)

    # --- the line

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = os.read(self._master, size - len(data))
            if not more:
                raise OSError("closed")
            data += more
        return data

    def _receive(self) -> dict[int, int | bytes]:
        """A message: packets, each further one asked for with 0xAA."""
        content, wanted = b"", None
        while True:
            packet = self._exactly(self._packet + self.header_bytes)
            size = int.from_bytes(packet[: self.header_bytes], "big")
            content += packet[self.header_bytes : self.header_bytes + min(size, self._packet)]
            if size == 0 or size > self._packet:
                content = b""  # noise, or firmware with other packets: nothing is understood
                continue
            if wanted is None:
                wanted, shift, at = 0, 0, 0
                while True:
                    wanted |= (content[at] & 127) << shift
                    shift += 7
                    at += 1
                    if content[at - 1] < 128:
                        break
                content = content[at:]
            if len(content) >= wanted:
                return read_fields(content[:wanted])
            if self.fault == "stops_asking":
                self.fault = "dead"
                continue
            os.write(self._master, b"\xaa")

    def _send(self, content: bytes) -> None:
        if self.fault == "dead":
            return
        step = self._packet
        pieces = [content[at : at + step] for at in range(0, len(content), step)] or [b""]
        for index, piece in enumerate(pieces):
            header = bytearray(len(piece).to_bytes(self.header_bytes, "big"))
            if index + 1 == len(pieces):
                header[0] |= 0x80
            os.write(self._master, bytes(header) + piece.ljust(step, b"\0"))
            if self.fault == "cut_in_message" and len(pieces) > 1:
                self.fault = "dead"
                return

    def _respond(self, request: int, state: int, field_number: int, payload: bytes) -> None:
        if self.fault == "wrong_request":
            request += 7
        self._send(number(1, request) + number(2, state) + block(field_number, payload))

    # --- the firmware

    def _serve(self) -> None:
        try:
            while not self._stop.is_set():
                self._one(self._receive())
        except OSError:
            return

    def _one(self, request: dict[int, int | bytes]) -> None:
        if self.fault == "dead":
            return
        assert {1, 2, 3, 4, 5} <= set(request), "all fields of a request are required"
        number_, cmd = int(request[1]), int(request[2])
        self.requests.append(cmd)
        if cmd == 0:
            self._packet = 32
            if self.fault == "garbage":
                os.write(self._master, bytes(range(1, 120)))
                return
            self._respond(number_, 0, 10, number(1, self.version) + number(4, 1) + number(5, 4))
        elif cmd == 1:
            facts = number(1, self.device_id) + number(2, 800_000_000) + number(3, 400_000_000) + number(4, 0)
            if self.header_bytes == 2:
                self._respond(number_, 0, 11, facts + number(5, self.large_packets) + number(6, 1) + number(6, 2))
                self._packet = self.large_packets or self._packet
            else:
                self._respond(number_, 0, 11, facts + number(5, 1_000_000_000))  # another field there
        elif cmd == 10 and int(request[3]) == 0:
            inputs, outputs = self.input.message(1), self.output.message(2)
            self._respond(
                number_, 0, 22,
                block(1, "network") + number(2, 4) + block(3, "0xabc") + block(4, "now") + number(5, 0)
                + number(6, 3 << 24) + number(7, 12345) + number(8, 3) + number(10, 1) + block(11, inputs)
                + number(12, 1) + block(13, outputs) + number(14, 0) + number(16, 0) + block(20, "GCC"),
            )  # fmt: skip
        elif cmd == 10:
            self._respond(number_, 4, 12, number(1, 0) + number(2, 4))
        elif cmd == 11:
            self._run(number_, bytes(request[4]))
        else:
            self._respond(number_, 4, 12, number(1, 0) + number(2, 6))

    def _run(self, request: int, name: bytes) -> None:
        if self.fault == "refuses" or name != b"network":
            self._respond(request, 4, 12, number(1, 3) + number(2, 8))
            return
        self._respond(request, 1, 12, number(1, 0) + number(2, 0))
        data = self._receive()
        image = bytes(data[4])
        assert int(data[2]) == len(image)
        self._respond(request, 2, 12, number(1, 0) + number(2, 0))
        assert set(self._receive()) == {1, 2}, "an acknowledgement"
        if self.fault == "dies_in_inference":
            self.fault = "dead"
            return
        if self.logs:
            self._respond(request, 2, 13, number(1, 1) + block(2, "s:config:mcu_freq:800000000"))
            assert set(self._receive()) == {1, 2}, "an acknowledgement"
        self.inferences += 1
        self._respond(
            request, 2, 16,
            block(1, "") + number(2, 0) + number(3, 0) + real(4, 12.5) + number(5, 0) + number(7, 0) + number(8, 0),
        )  # fmt: skip
        found = self.compute(image)
        if self.fault == "short_output":
            found = found[:-1]
        content = number(1, 0) + number(2, len(found)) + number(3, 0) + block(4, found)
        self._respond(request, 3, 17, block(1, self.output.message(2 | 256)) + block(2, content))
