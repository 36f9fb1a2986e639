"""What the harness writes while it runs; see ``firmware/harness.h``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEADER = struct.Struct("<IIIIQ")
"""Kind, two numbers, length of the payload in bytes, clock."""

TRACE, START, EMBEDDING, STACK, FAULT, STEP = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        kind: one of the constants of this module.
        a, b: what they mean depends on the kind.
        clock: instructions (or ticks) of the model since the start of the image.
        payload: the bytes that came with it.
    """

    kind: int
    a: int
    b: int
    clock: int
    payload: bytes


def read_records(content: bytes) -> Iterator[Record]:
    """The records of a result file; one that was cut off by the end of the run is left out."""
    position = 0
    while position + HEADER.size <= len(content):
        kind, a, b, count, clock = HEADER.unpack_from(content, position)
        position += HEADER.size
        if position + count > len(content):
            return
        yield Record(kind, a, b, clock, content[position : position + count])
        position += count
