"""Runs one program in unicorn; started as a process of its own by :mod:`reidfw_targets.emulation.unicorn_runner`.

A process of its own, because an emulator may end with a signal, and because unicorn's licence (GPL) is not ours: this
file is all that touches it, and it imports nothing of reidfw.

Usage: ``python unicorn_worker.py job.json``. The job names all files; the outcome goes to ``outcome.json`` beside it.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import struct
import sys
from pathlib import Path
from typing import Any

import unicorn
from unicorn import arm_const

_SYSTEM_CONTROL_SPACE = (0xE000E000, 0x1000)
_WATCHPOINT_UNIT = (0xE0001000, 0x1000)
_CYCLE_COUNTER = 4
_BREAKPOINT = 7
_PAGE = 0x1000
_HEADER = struct.Struct("<IIIIQ")
_RECORD_START = 2
_OPEN, _CLOSE, _WRITE0, _WRITE, _READ, _EXIT, _EXIT_EXTENDED = 0x01, 0x02, 0x04, 0x05, 0x06, 0x18, 0x20
_APPLICATION_EXIT = 0x20026


class Counter(ctypes.Structure):
    """``reidfw_counter_t`` of ``block_counter.c``."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("code", ctypes.c_void_p),
        ("counted", ctypes.c_void_p),
        ("runs", ctypes.c_void_p),
        ("instructions", ctypes.c_void_p),
        ("total", ctypes.c_uint64),
    )


class Emulation:
    """A processor with a board's memory, semihosting, and a counter of instructions.

    Args:
        job: processor, regions, segments, entry, code range, uncounted ranges, counter library, folder.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.folder = Path(job["folder"])
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(getattr(arm_const, job["processor"]))
        self.maps: list[tuple[int, mmap.mmap, Any]] = []
        self.outcome: dict[str, Any] = {"status": "running"}
        self.files: dict[int, Any] = {}
        self.result: int | None = None
        self.payload_left = 0
        for origin, size, writable in job["regions"]:
            rights = unicorn.UC_PROT_READ | (unicorn.UC_PROT_WRITE if writable else unicorn.UC_PROT_EXEC)
            self._map(origin, size, rights)
        self._map(*_SYSTEM_CONTROL_SPACE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        image = Path(job["image"]).read_bytes()
        for address, offset, size in job["segments"]:
            self.uc.mem_write(address, image[offset : offset + size])
        self._count(job)
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._interrupt)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._stray_access)
        if job["cycle_counter"]:
            self.uc.mmio_map(*_WATCHPOINT_UNIT, self._read_watchpoint_unit, None, self._write_watchpoint_unit, None)
        self.zero_cycles = 0
        self.entry = job["entry"]
        self.stack = job["stack"]

    def run(self) -> None:
        """Runs from the reset until the program ends or faults."""
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, self.stack)
        try:
            self.uc.emu_start(self.entry | 1, 0xFFFFFFFE)
        except unicorn.UcError as error:
            self.outcome.setdefault("reason", str(error))
            self.outcome["status"] = "fault"
        self.outcome["pc"] = self.uc.reg_read(arm_const.UC_ARM_REG_PC)
        self.outcome["lr"] = self.uc.reg_read(arm_const.UC_ARM_REG_LR)
        self.outcome["sp"] = self.uc.reg_read(arm_const.UC_ARM_REG_SP)
        self.outcome["total"] = self.counter.total
        for file in self.files.values():
            file.close()
        (self.folder / "runs.bin").write_bytes(bytes(self.runs))
        (self.folder / "instructions.bin").write_bytes(bytes(self.instructions))
        (self.folder / "outcome.json").write_text(json.dumps(self.outcome), encoding="utf-8")

    def _map(self, origin: int, size: int, rights: int) -> None:
        """Maps memory that the counter's C code can read too."""
        size = -(-size // _PAGE) * _PAGE
        memory = mmap.mmap(-1, size)
        anchor = (ctypes.c_char * size).from_buffer(memory)
        self.uc.mem_map_ptr(origin, size, rights, ctypes.addressof(anchor))
        self.maps.append((origin, memory, anchor))

    def _count(self, job: dict[str, Any]) -> None:
        begin, end = job["code"]
        halfwords = (end - begin + 1) // 2
        self.runs = (ctypes.c_uint64 * halfwords)()
        self.instructions = (ctypes.c_uint32 * halfwords)()
        self.counted = (ctypes.c_uint8 * halfwords)(*([1] * halfwords))
        for low, high in job["uncounted"]:
            for index in range((low - begin) // 2, (high - begin) // 2):
                self.counted[index] = 0
        origin, _, anchor = next(item for item in self.maps if item[0] <= begin < item[0] + len(item[1]))
        self.counter = Counter(
            begin,
            end - begin,
            ctypes.addressof(anchor) + begin - origin,
            ctypes.addressof(self.counted),
            ctypes.addressof(self.runs),
            ctypes.addressof(self.instructions),
            0,
        )
        self.library = ctypes.CDLL(job["counter"])
        handle = ctypes.c_size_t()
        status = unicorn.unicorn_py3.unicorn.uclib.uc_hook_add(
            self.uc._uch,
            ctypes.byref(handle),
            unicorn.UC_HOOK_BLOCK,
            ctypes.cast(self.library.reidfw_count_block, ctypes.c_void_p),
            ctypes.cast(ctypes.pointer(self.counter), ctypes.c_void_p),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != unicorn.UC_ERR_OK:
            raise unicorn.UcError(status)

    def _interrupt(self, uc: unicorn.Uc, number: int, _: object) -> None:
        pc = uc.reg_read(arm_const.UC_ARM_REG_PC)
        if number != _BREAKPOINT or bytes(uc.mem_read(pc, 2)) != b"\xab\xbe":
            self.outcome.update(status="fault", reason=f"processor exception {number}")
            uc.emu_stop()
            return
        operation = uc.reg_read(arm_const.UC_ARM_REG_R0)
        argument = uc.reg_read(arm_const.UC_ARM_REG_R1)
        answer = self._semihosting(operation, argument)
        if answer is None:
            uc.emu_stop()
            return
        uc.reg_write(arm_const.UC_ARM_REG_R0, answer & 0xFFFFFFFF)
        uc.reg_write(arm_const.UC_ARM_REG_PC, (pc + 2) | 1)

    def _semihosting(self, operation: int, argument: int) -> int | None:
        """One call; None ends the run."""
        if operation in (_EXIT, _EXIT_EXTENDED):
            reason, code = self._words(argument, 2) if operation == _EXIT_EXTENDED else (argument, 0)
            code = code if reason == _APPLICATION_EXIT else 1
            self.outcome.update(status="exit", code=code)
            return None
        if operation == _WRITE0:
            self.outcome["text"] = self.outcome.get("text", "") + self._text(argument)
            return 0
        if operation == _OPEN:
            return self._open(*self._words(argument, 3))
        handle, address, size = self._words(argument, 3) if operation != _CLOSE else (*self._words(argument, 1), 0, 0)
        if handle not in self.files:
            return -1
        if operation == _READ:
            content = self.files[handle].read(size)
            self.uc.mem_write(address, content)
            return size - len(content)
        if operation == _WRITE:
            self._write(handle, bytes(self.uc.mem_read(address, size)))
            return 0
        if operation == _CLOSE:
            self.files.pop(handle).close()
            return 0
        return -1

    def _open(self, address: int, mode: int, length: int) -> int:
        name = bytes(self.uc.mem_read(address, length)).decode()
        if name not in ("input.bin", "result.bin"):
            return -1
        handle = len(self.files) + 1
        self.files[handle] = (self.folder / name).open("wb" if mode >= 4 else "rb")
        if mode >= 4:
            self.result = handle
        return handle

    def _write(self, handle: int, content: bytes) -> None:
        """Writes; the clock of a record is filled in here, since the program has none."""
        if handle == self.result and self.payload_left == 0:
            kind, a, b, count, _ = _HEADER.unpack(content)
            if kind == _RECORD_START:
                self.counter.total = 0
                ctypes.memset(self.runs, 0, ctypes.sizeof(self.runs))
            content = _HEADER.pack(kind, a, b, count, self.counter.total)
            self.payload_left = count
        elif handle == self.result:
            self.payload_left -= len(content)
        self.files[handle].write(content)

    def _words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.uc.mem_read(address, 4 * count))

    def _text(self, address: int) -> str:
        text = b""
        while (byte := bytes(self.uc.mem_read(address + len(text), 1))) != b"\0":
            text += byte
        return text.decode(errors="replace")

    def _stray_access(self, _uc: unicorn.Uc, access: int, address: int, size: int, _value: int, _: object) -> bool:
        kinds = {
            unicorn.UC_MEM_READ_UNMAPPED: "read",
            unicorn.UC_MEM_WRITE_UNMAPPED: "write",
            unicorn.UC_MEM_FETCH_UNMAPPED: "jump",
            unicorn.UC_MEM_WRITE_PROT: "write",
            unicorn.UC_MEM_READ_PROT: "read",
            unicorn.UC_MEM_FETCH_PROT: "jump",
        }
        self.outcome.update(status="fault", access=kinds.get(access, "access"), address=address, bytes=size)
        return False

    def _read_watchpoint_unit(self, _uc: unicorn.Uc, offset: int, _size: int, _: object) -> int:
        return (self.counter.total - self.zero_cycles) & 0xFFFFFFFF if offset == _CYCLE_COUNTER else 0

    def _write_watchpoint_unit(self, _uc: unicorn.Uc, offset: int, _size: int, value: int, _: object) -> None:
        if offset == _CYCLE_COUNTER:
            self.zero_cycles = self.counter.total - value


if __name__ == "__main__":
    Emulation(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run()
