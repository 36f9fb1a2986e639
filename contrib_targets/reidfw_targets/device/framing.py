"""Packets on the serial line: messages cut into pieces of fixed size, with a simple flow control.

The line has no handshake of its own, so the device asks for each further packet of a message with one byte. Packets
that come from it need no such asking.

Source: description of the low-level link in ST's runner; firmware up to protocol 3.1 puts one byte before each packet
(size, and a flag for the last one), later firmware two.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Protocol

from reidfw_core.api import BoardFailed

SMALL_PACKET_BYTES = 32
"""Payload of a packet until device and computer agree on another size."""

LARGEST_PACKET_BYTES = 4094
LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024
"""More than this is noise on the line."""

SYNC_BYTE = 0xAA
"""What the device sends when it wants the next packet."""

_LAST = 0x80


class Port(Protocol):
    """A serial line: ``read`` gives up to ``size`` bytes and nothing after a short time; ``write`` sends all."""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer, or none, after a short wait."""
        ...

    def write(self, data: bytes) -> None:
        """Sends all bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How packets look.

    Attributes:
        header_bytes: 1 or 2 bytes before the payload: its size, big-endian, the top bit set in the last packet from the
            device.
        payload_bytes: size of each packet's payload; shorter ones are filled with zeros.
    """

    header_bytes: int
    payload_bytes: int = SMALL_PACKET_BYTES

    @property
    def packet_bytes(self) -> int:
        """Size of a whole packet."""
        return self.header_bytes + self.payload_bytes

    def with_payload(self, payload_bytes: int) -> Framing:
        """The same with another packet size."""
        return replace(self, payload_bytes=payload_bytes)

    def packet(self, payload: bytes, *, last_from_device: bool = False) -> bytes:
        """One packet."""
        header = bytearray(len(payload).to_bytes(self.header_bytes, "big"))
        if last_from_device:
            header[0] |= _LAST
        return bytes(header) + payload.ljust(self.payload_bytes, b"\0")

    def split(self, message: bytes) -> list[bytes]:
        """The packets of a message to the device, its size before it."""
        content = varint(len(message)) + message
        step = self.payload_bytes
        return [self.packet(content[start : start + step]) for start in range(0, len(content), step)]

    def read_header(self, packet: bytes) -> tuple[int, bool]:
        """Size of the payload of a packet from the device, and whether it is the last one of its message."""
        first = packet[0]
        size = int.from_bytes(bytes([first & ~_LAST]) + packet[1 : self.header_bytes], "big")
        return size, bool(first & _LAST)


NEWER = Framing(header_bytes=2)
OLDER = Framing(header_bytes=1)


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first, as protocol buffers write sizes."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


class PacketLink:
    """Sends and receives whole messages.

    Args:
        port: the open line.
        framing: how packets look; it may be changed between messages.
    """

    def __init__(self, port: Port, framing: Framing) -> None:
        self._port = port
        self.framing = framing

    def send(self, message: bytes, timeout_s: float) -> None:
        """Sends a message.

        Raises:
            BoardFailed: the device does not ask for the next packet in time.
        """
        packets = self.framing.split(message)
        for number, packet in enumerate(packets):
            if number:
                self._await_sync(timeout_s, number, len(packets))
            self._port.write(packet)

    def receive(self, timeout_s: float) -> bytes:
        """Receives a message.

        Args:
            timeout_s: seconds without a byte after which waiting ends.

        Raises:
            TimeoutError: nothing comes.
            BoardFailed: it stops in the middle, or what comes are no packets.
        """
        content = bytearray()
        while True:
            packet = self._read(self.framing.packet_bytes, timeout_s, begun=bool(content))
            size, last = self.framing.read_header(packet)
            if size > self.framing.payload_bytes or not (last or size == self.framing.payload_bytes):
                raise BoardFailed(
                    f"The board sent what is no packet of the protocol (size {size}, at most "
                    f"{self.framing.payload_bytes})",
                    hint="Is ST's validation firmware on it? Reset the board and try again.",
                )
            content += packet[self.framing.header_bytes : self.framing.header_bytes + size]
            if last:
                return bytes(content)
            if len(content) > LARGEST_MESSAGE_BYTES:
                raise BoardFailed("The board sends a message without an end")

    def drain(self) -> None:
        """Throws away what still waits on the line, at most for a second."""
        end = time.monotonic() + 1.0
        while self._port.read(4096) and time.monotonic() < end:
            pass

    def realign(self, sent: Framing) -> None:
        """Completes the packet of a device with other framing, to which one packet of ``sent`` looked like a part."""
        surplus = sent.packet_bytes % self.framing.packet_bytes
        if surplus:
            self._port.write(bytes(self.framing.packet_bytes - surplus))

    def _read(self, size: int, timeout_s: float, *, begun: bool) -> bytes:
        content = b""
        deadline = time.monotonic() + timeout_s
        while len(content) < size:
            more = self._port.read(size - len(content))
            if more:
                content += more
                deadline = time.monotonic() + timeout_s
            elif time.monotonic() > deadline:
                if content or begun:
                    raise BoardFailed(
                        f"The board stopped in the middle of a message ({len(content)} of {size} bytes of a packet)",
                        hint="Was the cable pulled, or the board reset? Reset it and try again.",
                    )
                raise TimeoutError
        return content

    def _await_sync(self, timeout_s: float, number: int, total: int) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._port.read(1):
            if time.monotonic() > deadline:
                raise BoardFailed(
                    f"The board took {number} of {total} packets of a message and asks for no more",
                    hint="Reset the board and try again; lower the speed if it happens again.",
                )
