"""The messages between this computer and ST's validation firmware, and the numbers in them.

Requests go to the device, responses come back; both are protocol buffers (proto2). Every field of a message to the
device is written, as its decoder asks for all of them.

Source: message definition 3.1 of ST Edge AI Core's runner (field numbers and codes; facts of the wire format).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import cache
from typing import Any

VERSION_MAJOR = 3
"""Version of the protocol that is spoken; a device may have any minor version."""

TENSOR_IS_LAST = 256
"""Flag of the last output tensor."""

CHANNELS_FIRST = 16
HAS_BATCH = 64
OPERATOR_IS_INTERNAL = 1
"""Bits in the upper byte of shape formats and operator types."""


class Cmd(IntEnum):
    """What a request asks for."""

    SYNC = 0
    SYS_INFO = 1
    NETWORK_INFO = 10
    NETWORK_RUN = 11


class State(IntEnum):
    """What the device does after a response."""

    IDLE = 0
    WAITING = 1
    PROCESSING = 2
    DONE = 3
    ERROR = 4


class DeviceFault(IntEnum):
    """Why the device refuses."""

    NONE = 0
    INVALID_SIZE = 1
    INVALID_FORMAT = 2
    INVALID_STATE = 3
    INVALID_PARAM = 4
    INVALID_SHAPE = 5
    INVALID_CMD = 6
    NOT_INITIALIZED = 7
    MEMORY_OVERFLOW = 8
    GENERIC = 10


class ShapeFormat(IntEnum):
    """Order of a tensor's sizes: lower four bits of the upper byte of ``n_dims``."""

    UNDEFINED = 0
    BCWH = 1
    BHWC = 2
    BCHW = 3
    ST_AI = 4
    RAW = 5


class RunMode(IntFlag):
    """What a run gives: inputs and outputs only."""

    IO_ONLY = 1


_FIELDS: dict[str, tuple[tuple[int, str, str], ...]] = {
    "Request": ((1, "reqid", "uint32"), (2, "cmd", "uint32"), (3, "param", "uint32"), (4, "name", "string"),
                (5, "opt", "uint32")),
    "Sync": ((1, "version", "uint32"), (4, "capability", "uint32"), (5, "rtid", "uint32")),
    "SystemInfo": ((1, "devid", "uint32"), (2, "sclock", "uint32"), (3, "hclock", "uint32"), (4, "cache", "uint32"),
                   (5, "com_param", "uint32")),
    "Ack": ((1, "param", "uint32"), (2, "error", "uint32")),
    "Log": ((1, "level", "uint32"), (2, "str", "string")),
    "TensorDescription": ((1, "name", "string"), (2, "format", "uint32"), (3, "size", "uint32"),
                          (4, "n_dims", "uint32"), (5, "dims", "uint32*"), (6, "scale", "float"),
                          (7, "zeropoint", "int32"), (8, "addr", "uint32"), (9, "flags", "uint32")),
    "Data": ((1, "type", "uint32"), (2, "size", "uint32"), (3, "addr", "uint32"), (4, "datas", "bytes")),
    "Operator": ((1, "name", "string"), (2, "type", "uint32"), (3, "id", "uint32"), (4, "duration", "float"),
                 (5, "counter_type", "uint32"), (6, "counters", "uint32*"), (7, "stack_used", "int32"),
                 (8, "heap_used", "int32")),
    "Tensor": ((1, "desc", "TensorDescription"), (2, "data", "Data")),
    "ModelInfo": ((1, "name", "string"), (2, "rtid", "uint32"), (3, "signature", "string"),
                  (4, "compile_datetime", "string"), (5, "runtime_version", "uint32"), (6, "tool_version", "uint32"),
                  (7, "n_macc", "uint64"), (8, "n_nodes", "uint32"), (10, "n_inputs", "uint32"),
                  (11, "inputs", "TensorDescription*"), (12, "n_outputs", "uint32"),
                  (13, "outputs", "TensorDescription*"), (14, "n_activations", "uint32"),
                  (15, "activations", "TensorDescription*"), (16, "n_params", "uint32"),
                  (17, "params", "TensorDescription*"), (20, "runtime_desc", "string")),
    "Response": ((1, "reqid", "uint32"), (2, "state", "uint32"), (10, "sync", "Sync|"), (11, "sinfo", "SystemInfo|"),
                 (12, "ack", "Ack|"), (13, "log", "Log|"), (15, "data", "Data|"), (16, "op", "Operator|"),
                 (17, "tensor", "Tensor|"), (22, "minfo", "ModelInfo|")),
}  # fmt: skip
"""Fields of each message: number, name, type; ``*`` stands for repeated, ``|`` for one of several payloads."""


@cache
def _classes() -> dict[str, Any]:
    """The message classes; made from the table on first use, so that no generated file depends on a version."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="reidfw/device.proto", package="reidfw.device", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        if any(kind.endswith("|") for _, _, kind in fields):
            message.oneof_decl.add(name="payload")
        for number, field_name, kind in fields:
            entry = message.field.add(name=field_name, number=number)
            entry.label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            if kind.endswith("|"):
                entry.oneof_index = 0
            plain = kind.rstrip("*|")
            if plain in _FIELDS:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f".reidfw.device.{plain}"
            else:
                entry.type = getattr(kinds, f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"reidfw.device.{name}")) for name in _FIELDS
    }


def make(kind: str, /, **fields: Any) -> Any:
    """A message, for example ``make("Ack", param=0, error=0)``.

    Raises:
        KeyError: there is no such message.
        ValueError: it has no such field, or does not take such a value.
    """
    return _classes()[kind](**fields)


def parse(name: str, content: bytes) -> Any:
    """A message from its bytes; unknown fields, of later versions, are left aside.

    Raises:
        ValueError: these bytes are no such message.
    """
    from google.protobuf.message import DecodeError

    message = _classes()[name]()
    try:
        message.ParseFromString(content)
    except DecodeError as cause:
        raise ValueError(f"{len(content)} bytes are no {name}: {cause}") from cause
    return message


def payload_of(response: Any) -> str:
    """Which payload a response carries, for example ``ack``; empty for none."""
    return response.WhichOneof("payload") or ""
