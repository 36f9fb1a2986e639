"""The serial port of a board: finding and opening it."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reidfw_core.api import BoardFailed, BoardNotFound

logger = logging.getLogger(__name__)

READ_WAIT_S = 0.1
"""Seconds that one read waits for bytes."""

_ST_VENDOR = 0x0483
"""USB vendor number of STMicroelectronics."""


class SerialPort:
    """An open serial port. Make it with :func:`open_port`."""

    def __init__(self, serial: Any) -> None:
        self._serial = serial

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer, or none, after a tenth of a second. Raises BoardFailed."""
        with _reporting(self._serial.port):
            return bytes(self._serial.read(size))

    def write(self, data: bytes) -> None:
        """Sends all bytes. Raises BoardFailed."""
        with _reporting(self._serial.port):
            self._serial.write(data)

    def close(self) -> None:
        """Closes the port."""
        self._serial.close()


def candidate_ports(wanted: str | None) -> tuple[str, ...]:
    """The ports on which a board may be: the one that is named, or those of ST-LINK probes.

    Raises:
        BoardNotFound: there is none.
    """
    if wanted is not None:
        if wanted.startswith("/") and not Path(wanted).exists():
            raise _not_there(wanted)
        return (wanted,)
    from serial.tools import list_ports

    ports = sorted(list_ports.comports(), key=lambda port: port.device)
    found = tuple(port.device for port in ports if port.vid == _ST_VENDOR)
    if not found:
        others = ", ".join(port.device for port in ports) or "none at all"
        raise BoardNotFound(
            f"No serial port of an ST-LINK probe is there (other ports: {others})",
            hint="Connect the board to its ST-LINK USB connector, or name the port with serial_port.",
        )
    return found


def require_free(ports: Sequence[str], speed: int) -> None:
    """Opens and closes ports until one can be opened.

    Raises:
        BoardNotFound: none can.
    """
    refusals: list[BoardNotFound] = []
    for name in ports:
        try:
            open_port(name, speed).close()
        except BoardNotFound as refusal:
            refusals.append(refusal)
        else:
            return
    raise all_refused(refusals)


def all_refused(refusals: Sequence[BoardNotFound]) -> BoardNotFound:
    """One error of those of all ports."""
    if len(refusals) == 1:
        return refusals[0]
    return BoardNotFound("\n".join(one.message for one in refusals), hint=refusals[-1].hint)


def open_port(name: str, speed: int) -> SerialPort:
    """Opens a serial port for this program alone.

    Args:
        name: for example ``/dev/ttyACM0`` or ``COM7``.
        speed: bits a second.

    Raises:
        BoardNotFound: the port is not there, is in use, or may not be opened.
    """
    import serial

    try:
        return SerialPort(serial.Serial(name, baudrate=speed, timeout=READ_WAIT_S, write_timeout=5.0, exclusive=True))
    except (serial.SerialException, OSError, ValueError) as cause:
        raise _cannot_open(name, cause) from cause


def _cannot_open(name: str, cause: Exception) -> BoardNotFound:
    number = getattr(cause, "errno", None)
    text = str(cause).lower()
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text or "access is denied" in text:
        return BoardNotFound(
            f"The serial port {name} is in use by another program",
            hint="Close terminals and IDEs that are connected to the board, then try again.",
        )
    if number == errno.EACCES or "permission denied" in text:
        return BoardNotFound(
            f"The serial port {name} may not be opened: no permission",
            hint="On Linux, become a member of the group that owns it (often dialout): "
            "sudo usermod -a -G dialout $USER, then log in again.",
        )
    if number in (errno.ENOENT, errno.ENODEV) or "filenotfounderror" in text:
        return _not_there(name)
    return BoardNotFound(f"The serial port {name} cannot be opened: {cause}")


def _not_there(name: str) -> BoardNotFound:
    return BoardNotFound(f"There is no serial port {name}", hint="Is the board connected? Check serial_port.")


@contextmanager
def _reporting(name: str) -> Iterator[None]:
    import serial

    try:
        yield
    except (serial.SerialException, OSError) as cause:
        raise BoardFailed(
            f"The connection to the board on {name} broke: {cause}",
            hint="Was the cable pulled, or does another program use the port?",
        ) from cause
