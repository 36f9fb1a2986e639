"""Running: a program gets images and gives embeddings, the trace of its tensors, and what it cost."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from reidfw_core.api import ReidfwError, ToolFailed
from reidfw_targets.emulation import records
from reidfw_targets.emulation.firmware import Firmware
from reidfw_targets.emulation.toolchain import run_tool

Emulator = Literal["unicorn", "QEMU"]

TIME_LIMIT_S = 600.0
"""How long a run may take unless said otherwise, in seconds of this computer."""


class FirmwareFault(ReidfwError):
    """A program left its memory, met an undefined instruction, ran out of stack, or never ended."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """One row of one tensor, as the program made it.

    Attributes:
        tensor: the number that the generated code gives the tensor.
        row: which row of it, from the top.
        data: its bytes.
    """

    tensor: int
    row: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareRun:
    """What a run gave.

    Attributes:
        emulator: what ran it.
        label: its name and version.
        embeddings: (N, bytes of one embedding) uint8: the raw output, to be viewed as the model's type.
        instructions: of the last image, without those of start-up and harness. QEMU counts in steps of one tick.
        by_function: instructions of the last image by function; empty where the emulator does not tell.
        stack_bytes: the most stack in use at any time, from painted memory.
        by_operator: instructions of the last image by number of the operator, from step to step; empty for a program
            without trace.
        trace: rows of tensors, in the order in which they were made; empty for a program without trace.
    """

    emulator: Emulator
    label: str
    embeddings: np.ndarray
    instructions: int
    stack_bytes: int
    by_function: Mapping[str, int] = field(default_factory=dict)
    by_operator: Mapping[int, int] = field(default_factory=dict)
    trace: tuple[TraceRow, ...] = ()

    def tensors(self) -> dict[int, np.ndarray]:
        """The traced tensors by their number: int8 (rows, bytes of a row); rows that were not made are zeros."""
        rows: dict[int, dict[int, bytes]] = {}
        for one in self.trace:
            rows.setdefault(one.tensor, {})[one.row] = one.data
        found = {}
        for tensor, made in rows.items():
            found[tensor] = np.zeros((max(made) + 1, len(next(iter(made.values())))), np.int8)
            for row, data in made.items():
                found[tensor][row] = np.frombuffer(data, np.int8)
        return found


@contextmanager
def run_folder(images: np.ndarray) -> Iterator[Path]:
    """A temporary folder that holds ``input.bin``; see :func:`input_file`."""
    with tempfile.TemporaryDirectory(prefix="reidfw-emulation-") as name:
        folder = Path(name)
        (folder / "input.bin").write_bytes(input_file(images))
        yield folder


def run_emulator(
    firmware: Firmware, emulator: Emulator, argv: Sequence[str], folder: Path, time_limit_s: float
) -> subprocess.CompletedProcess[str]:
    """Runs an emulator in a folder.

    Raises:
        FirmwareFault: the program did not end in time.
    """
    try:
        return run_tool(argv, folder, time_limit_s)
    except ToolFailed as cause:
        raise FirmwareFault(
            f"The program for {firmware.board.name} did not end within {time_limit_s:g} s of {emulator}"
        ) from cause


def emulator_failed(emulator: Emulator, argv: Sequence[str], done: subprocess.CompletedProcess[str]) -> ToolFailed:
    """The error that an emulator itself failed, with its last words."""
    lines = "\n".join(done.stderr.strip().splitlines()[-4:])
    return ToolFailed(f"{emulator} ended with status {done.returncode}: {lines}", argv=argv, code=done.returncode)


def input_file(images: np.ndarray) -> bytes:
    """The bytes of ``input.bin``: how many images, then they.

    Args:
        images: (N, H, W, C) uint8 or int8.

    Raises:
        ValueError: another shape or type.
    """
    if images.ndim != 4 or images.dtype not in (np.uint8, np.int8) or not len(images):
        raise ValueError(f"images must be (N, H, W, C) uint8 or int8 with N > 0, got {images.dtype} {images.shape}")
    return len(images).to_bytes(4, "little") + np.ascontiguousarray(images).tobytes()


def read_run(
    firmware: Firmware,
    emulator: Emulator,
    label: str,
    result: Path,
    *,
    instructions_a_tick: float = 1.0,
    by_function: Mapping[str, int] | None = None,
) -> FirmwareRun:
    """Reads what the harness wrote.

    Args:
        firmware: what ran.
        emulator: what ran it.
        label: its name and version.
        result: ``result.bin``.
        instructions_a_tick: what one step of the clock stands for.
        by_function: the profile, where the emulator made one.

    Raises:
        FirmwareFault: the program reported a fault, or the model returned an error.
    """
    embeddings: list[bytes] = []
    trace: list[TraceRow] = []
    by_operator: dict[int, float] = {}
    clock, stack, before = 0, None, 0
    for record in records.read_records(result.read_bytes() if result.is_file() else b""):
        if record.kind == records.FAULT:
            raise FirmwareFault(_fault_message(firmware, record))
        if record.kind == records.START:
            trace, by_operator, before = [], {}, 0
        elif record.kind == records.TRACE:
            trace.append(TraceRow(tensor=record.a, row=record.b, data=record.payload))
        elif record.kind == records.STEP:
            price = (record.clock - before) * instructions_a_tick
            by_operator[record.a] = by_operator.get(record.a, 0.0) + price
            before = record.clock
        elif record.kind == records.EMBEDDING:
            if record.b:
                raise FirmwareFault(f"The model returned error {record.b} for image {record.a}")
            embeddings.append(record.payload)
            clock = record.clock
        elif record.kind == records.STACK:
            stack = record.a
    if stack is None:
        raise FirmwareFault(f"The program for {firmware.board.name} ended before its last record")
    return FirmwareRun(
        emulator=emulator,
        label=label,
        embeddings=np.frombuffer(b"".join(embeddings), np.uint8).reshape(len(embeddings), -1),
        instructions=round(clock * instructions_a_tick),
        stack_bytes=stack,
        by_function=dict(by_function or {}),
        by_operator={number: round(price) for number, price in by_operator.items()},
        trace=tuple(trace),
    )


def place_of(firmware: Firmware, pc: int) -> str:
    """Where a program counter points, in words."""
    function = firmware.program.function_at(pc & ~1)
    return f"in {function} (pc {pc:#010x})" if function else f"at pc {pc:#010x}, outside the program's code"


def memory_in_words(firmware: Firmware, address: int) -> str:
    """What is wrong with an address: below the stack, or nowhere on the board."""
    stack = firmware.memory.stack
    if stack.origin - 0x10000 <= address < stack.origin:
        return f"below the stack, whose {firmware.stack_bytes} bytes are too few"
    return f"where {firmware.board.name} has no memory that allows it"


def _fault_message(firmware: Firmware, record: records.Record) -> str:
    status = int.from_bytes(record.payload[:4], "little")
    text = f"The program faulted {place_of(firmware, record.a)}"
    if status & 0x8000:  # BFARVALID
        text += f": address {record.b:#010x}, {memory_in_words(firmware, record.b)}"
    return f"{text} (CFSR {status:#010x})"


def code_ranges(firmware: Firmware) -> tuple[tuple[int, int], Sequence[tuple[int, int]]]:
    """Begin and end of all instructions, and the ranges among them that belong to the harness."""
    functions = [symbol for symbol in firmware.program.symbols if symbol.section == ".text"]
    begin = min(symbol.address for symbol in functions)
    end = max(symbol.address + symbol.size_bytes for symbol in functions)
    harness = [
        (symbol.address, symbol.address + symbol.size_bytes)
        for symbol in functions
        if symbol.of_harness or symbol.name.startswith("model_trace")
    ]
    return (begin, end + (end & 1)), harness
