"""Building: generated C, start-up code and harness become a program for a board's memory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import DoesNotFit, ToolFailed, atomic_path
from reidfw_targets.emulation.cores import Core, Machine, core_of
from reidfw_targets.emulation.elf import Program, read_program
from reidfw_targets.emulation.memory import (
    STACK_BYTES,
    MemoryPlan,
    linker_script,
    memory_plans,
    overflows,
    qemu_plan,
)
from reidfw_targets.emulation.toolchain import Compiler, core_options, find_compiler
from reidfw_targets.facts import BoardFacts, MemoryRegion

_SUPPORT = Path(__file__).with_name("firmware")
_START = ("startup.c", "clock.c")
_OPTIONS = (
    "-std=c99",
    "-O2",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Bytes of a program; what belongs to start-up and measuring is not in it.

    Attributes:
        text: instructions.
        rodata: constants: weights, tables.
        data: variables with an initial value (they take flash and RAM).
        bss: variables without one, the arena above all.
    """

    text: int
    rodata: int
    data: int
    bss: int

    @property
    def flash_kib(self) -> float:
        """Read-only memory in KiB."""
        return (self.text + self.rodata + self.data) / 1024

    @property
    def ram_kib(self) -> float:
        """Variables in KiB, without stack."""
        return (self.data + self.bss) / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A program for a board.

    Attributes:
        path: the ELF file.
        board: the board.
        core: its processor.
        compiler: name and version of the compiler.
        memory: which memory holds what.
        machine: whose addresses it is linked to.
        trace: whether it hands out each row of each tensor.
        stack_bytes: what is reserved for the stack.
        program: sections and symbols.
    """

    path: Path
    board: BoardFacts
    core: Core
    compiler: str
    memory: MemoryPlan
    machine: Machine
    trace: bool
    stack_bytes: int
    program: Program

    @property
    def use(self) -> MemoryUse:
        """Bytes of the model's own code and data."""
        totals = dict.fromkeys((".text", ".rodata", ".data", ".bss"), 0)
        for name, size in self.program.sections.items():
            if name in totals:
                totals[name] += size
        for symbol in self.program.symbols:
            if symbol.of_harness and symbol.section in totals:
                totals[symbol.section] -= symbol.size_bytes
        return MemoryUse(text=totals[".text"], rodata=totals[".rodata"], data=totals[".data"], bss=totals[".bss"])


def build_firmware(
    board: BoardFacts,
    sources: Sequence[Path],
    workdir: Path,
    *,
    trace: bool = False,
    machine: Machine = "board",
    defines: Sequence[str] = (),
    stack_bytes: int = STACK_BYTES,
    compiler: Compiler | None = None,
    application: Path = _SUPPORT / "harness.c",
) -> Firmware:
    """Compiles generated C for a board's processor and links it into the board's memory.

    The first layout of :func:`memory_plans` into which the linker can put it is taken.

    Args:
        board: the board.
        sources: the generated C files; ``model.h`` lies beside them.
        workdir: folder for objects, linker script and program; it is made.
        trace: compile the trace in (``MODEL_TRACE``).
        machine: whose addresses to link to.
        defines: macros, ``NAME`` or ``NAME=VALUE``, for the generated files.
        stack_bytes: what to reserve for the stack.
        compiler: None finds one.
        application: what runs the model; the harness defines what it must define.

    Raises:
        ToolNotFound: there is no compiler, or no package that reads its output.
        ToolFailed: the C code does not compile or link.
        DoesNotFit: no layout has room; says how many KiB are missing where.
        DataError: the board has no microcontroller.
    """
    core = core_of(board)
    compiler = compiler or find_compiler()
    workdir = workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    macros = [f"-D{name}" for name in defines]
    if trace:
        macros.append("-DMODEL_TRACE")
    if machine == "qemu":
        macros.append("-DREIDFW_CLOCK_SYSTICK")
    options = [*core_options(compiler, core), *_OPTIONS, *macros, f"-I{_SUPPORT}"]
    options += [f"-I{folder}" for folder in dict.fromkeys(source.resolve().parent for source in sources)]
    jobs = [(source.resolve(), tuple(options)) for source in sources]
    jobs += [(_SUPPORT / name, tuple(options)) for name in _START]
    jobs.append((application.resolve(), tuple(options)))
    jobs.append((_SUPPORT / "freestanding.c", (*options, *_no_builtins(compiler))))
    with ThreadPoolExecutor(max_workers=2) as pool:
        objects = list(pool.map(lambda job: _compile(compiler, *job, workdir), jobs))
    plans = memory_plans(board)
    if machine == "qemu":
        plans = tuple(dict.fromkeys(qemu_plan(board, plan, core.qemu) for plan in plans))
    path, plan = _link(board, core, compiler, objects, plans, stack_bytes, workdir)
    return Firmware(
        path=path,
        board=board,
        core=core,
        compiler=compiler.label,
        memory=plan,
        machine=machine,
        trace=trace,
        stack_bytes=stack_bytes,
        program=read_program(path),
    )


def _no_builtins(compiler: Compiler) -> tuple[str, ...]:
    """Keeps a compiler from turning the loop of memcpy into a call of memcpy."""
    return ("-fno-builtin", "-fno-tree-loop-distribute-patterns") if compiler.kind == "gcc" else ("-fno-builtin",)


def _compile(compiler: Compiler, source: Path, options: Sequence[str], workdir: Path) -> Path:
    target = workdir / f"{source.stem}.o"
    compiler.compile([*options, "-c", source, "-o", target], workdir, source.name)
    return target


def _link(
    board: BoardFacts,
    core: Core,
    compiler: Compiler,
    objects: Sequence[Path],
    plans: Sequence[MemoryPlan],
    stack_bytes: int,
    workdir: Path,
) -> tuple[Path, MemoryPlan]:
    path, script = workdir / "firmware.elf", workdir / "memory.ld"
    shortages: list[dict[MemoryRegion, int]] = []
    for plan in plans:
        with atomic_path(script) as temporary:
            temporary.write_text(linker_script(plan, stack_bytes), encoding="utf-8")
        # the entry is repeated: zig names another one on its own
        arguments = [*core_options(compiler, core), "-Wl,-T," + script.name, "-Wl,-e,reidfw_reset", "-Wl,--gc-sections"]
        arguments += ["-nostartfiles", "-nodefaultlibs"]
        arguments += [*map(str, objects), *(["-lgcc"] if compiler.kind == "gcc" else []), "-o", path.name]
        done = compiler.run(arguments, workdir)
        if done.returncode == 0:
            return path, plan
        missing = overflows(plan, done.stderr)
        if not missing:
            lines = "\n".join(done.stderr.strip().splitlines()[:12])
            raise ToolFailed(
                f"{compiler.label} cannot link the program for {board.name}:\n{lines}",
                argv=[*compiler.command, *arguments],
                code=done.returncode,
            )
        shortages.append(missing)
    raise DoesNotFit(_shortage(board, shortages[0]))


def _shortage(board: BoardFacts, missing: dict[MemoryRegion, int]) -> str:
    parts = [
        f"{region.name} has {region.size_kib:.1f} KiB and {region.size_kib + count / 1024:.1f} KiB are needed "
        f"({count / 1024:.1f} KiB too little)"
        for region, count in missing.items()
    ]
    return f"The program does not fit {board.name}: {'; '.join(parts)}"
