"""Programs on emulated cores: a model written by hand for the machinery, a real network for the numbers."""

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reidfw_targets.emulation import FirmwareFault, build_firmware, run_firmware
from reidfw_targets.emulation import toolchain as toolchain_module
from reidfw_targets.emulation.cores import CORES, core_of
from reidfw_targets.emulation.memory import linker_script, memory_plans, overflows
from reidfw_targets.emulation.toolchain import find_compiler, find_host_compiler
from reidfw_targets.emulation.unicorn_runner import emulate
from reidfw_targets.facts import BOARDS
from reidfw_targets.portable_c.compiling import compile_to, random_images
from reidfw_targets.portable_c.host import HostProgram
from reidfw_targets.portable_c.latency import calibrated_ratios

from reidfw_core.api import DataError, DoesNotFit, ToolFailed, ToolNotFound

for needed in ("unicorn", "elftools"):
    pytest.importorskip(needed)
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")

F401, H747, H573, N6 = (
    BOARDS[name] for name in ("NUCLEO-F401RE", "STM32H747I-DISCO", "STM32H573I-DK", "STM32N6570-DK")
)

CYCLES = Path(__file__).parents[2] / "examples" / "cycles"

HEADER = """
#include <stdint.h>
#define MODEL_INPUT_HEIGHT 8
#define MODEL_INPUT_WIDTH 4
#define MODEL_INPUT_CHANNELS 3
#define MODEL_INPUT_IS_RESIDENT 0
#define MODEL_EMBEDDING_SIZE 4
typedef uint8_t model_input_t;
typedef int8_t model_output_t;
typedef const model_input_t *(*model_row_fn)(void *user, int row);
int model_run_rows(model_row_fn next_row, void *user, model_output_t *embedding);
void model_trace(int tensor, int row, const void *data, int bytes);
"""
SOURCE = """
#include "model.h"
static int32_t sums[4];
#ifdef KIB
static volatile uint8_t more[KIB * 1024];
#endif
static int32_t deeper(volatile int32_t *above, int32_t depth)
{
    volatile int32_t here[64];
    here[0] = above[0] + depth;
    return (depth == 0) ? here[0] : deeper(here, depth - 1) + here[0];
}
int model_run_rows(model_row_fn next_row, void *user, model_output_t *embedding)
{
    for (int row = 0; row < 8; row++) {
        const model_input_t *pixels = next_row(user, row);
        for (int i = 0; i < 12; i++) {
            sums[i & 3] += pixels[i];
        }
#ifdef MODEL_TRACE
        model_trace(7, row, sums, (int)sizeof sums);
#endif
    }
#ifdef STRAY
    *(volatile int32_t *)STRAY = 1;
#endif
#ifdef DEPTH
    sums[0] += 0 * deeper(sums, DEPTH);
#endif
#ifdef ENDLESS
    while (*(volatile int32_t *)sums != 0x7fffffff) { }
#endif
#ifdef KIB
    more[KIB * 1024 - 1] = 1;
#endif
    for (int i = 0; i < 4; i++) {
        embedding[i] = (int8_t)(sums[i] / 128);
        sums[i] = 0;
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A model that adds up its pixels."""
    folder = tmp_path_factory.mktemp("adder")
    (folder / "model.h").write_text(HEADER)
    (folder / "model.c").write_text(SOURCE)
    return [folder / "model.c"]


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (2, 8, 4, 3), dtype=np.uint8)


def sums_of(pixels):
    return pixels.reshape(len(pixels), -1, 4).sum(1, dtype=np.int64) // 128


def kinds_of_core():
    for board in (F401, H747, H573, N6):
        core = core_of(board)
        for machine in ("board", "qemu"):
            if machine == "qemu" or core.unicorn:
                yield pytest.param(
                    board, machine, id=f"{core.name}-{machine}", marks=[needs_qemu] * (machine == "qemu")
                )


@pytest.mark.parametrize(("board", "machine"), kinds_of_core())
def test_a_program_gets_images_and_gives_embeddings_trace_stack_and_instructions(
    board, machine, sources, pixels, tmp_path
):
    firmware = build_firmware(board, sources, tmp_path, machine=machine, trace=True)
    run = run_firmware(firmware, pixels, time_limit_s=60)
    assert (run.embeddings.view(np.int8) == sums_of(pixels)).all()
    assert [(row.tensor, row.row) for row in run.trace] == [(7, row) for row in range(8)]
    running = np.cumsum(pixels[1].reshape(8, 3, 4).sum(1, dtype=np.int32), axis=0, dtype=np.int32)
    assert b"".join(row.data for row in run.trace) == running.tobytes()
    assert 200 < run.instructions < 2000
    assert 64 < run.stack_bytes < 1024
    if machine == "board":
        assert sum(run.by_function.values()) == run.instructions
        assert run.by_function["model_run_rows"] == max(run.by_function.values())
    assert firmware.use.bss < 128  # nothing of the harness


def test_the_linker_refuses_a_board_that_is_one_kib_too_small(sources, tmp_path):
    room = int(F401.arena.size_kib) - 5  # 4 KiB stack, under 1 KiB harness
    assert build_firmware(F401, sources, tmp_path, defines=[f"KIB={room}"]).use.ram_kib > room
    small = dataclasses.replace(
        F401,
        regions=tuple(
            dataclasses.replace(region, size_kib=region.size_kib - 1) if region.kind == "ram" else region
            for region in F401.regions
        ),
    )
    with pytest.raises(DoesNotFit, match=r"SRAM has 95\.0 KiB and 95\.\d KiB are needed") as refused:
        build_firmware(small, sources, tmp_path, defines=[f"KIB={room}"])
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    ("defines", "told"),
    [
        (["STRAY=0x20018000"], "wrote 4 bytes at 0x20018000, where NUCLEO-F401RE has no memory.*model_run_rows"),
        (["STRAY=0x08000000"], "wrote 4 bytes at 0x08000000"),  # flash
        (["DEPTH=40"], "below the stack, whose 4096 bytes are too few"),
    ],
)
def test_a_program_that_leaves_its_memory_is_told(defines, told, sources, pixels, tmp_path):
    firmware = build_firmware(F401, sources, tmp_path, defines=defines)
    with pytest.raises(FirmwareFault, match=told):
        run_firmware(firmware, pixels, time_limit_s=60)


@needs_qemu
def test_a_fault_in_qemu_is_told(sources, pixels, tmp_path):
    firmware = build_firmware(F401, sources, tmp_path, machine="qemu", defines=["STRAY=0x90000000"])
    with pytest.raises(FirmwareFault, match=r"faulted in model_run_rows"):
        run_firmware(firmware, pixels, time_limit_s=60)


@pytest.mark.parametrize("machine", ["board", pytest.param("qemu", marks=needs_qemu)])
def test_a_program_without_end_is_ended(machine, sources, pixels, tmp_path):
    firmware = build_firmware(F401, sources, tmp_path, machine=machine, defines=["ENDLESS"])
    with pytest.raises(FirmwareFault, match="did not end within 2 s"):
        run_firmware(firmware, pixels, time_limit_s=2)


def test_wrong_c_is_told_with_the_compilers_words(tmp_path):
    (tmp_path / "model.c").write_text("int model_run_rows(void) { return nothing; }")
    with pytest.raises(ToolFailed, match=r"cannot compile model\.c(.|\n)*nothing"):
        build_firmware(F401, [tmp_path / "model.c"], tmp_path / "out")


def test_the_compilers_own_arithmetic_is_linked(sources, pixels, tmp_path):
    """Divisions of 64 bits and numbers of 64 bits in floating point are functions of the compiler's."""
    (tmp_path / "model.h").write_text(HEADER)
    slow = "sums[0] = (int32_t)((double)((int64_t)sums[0] * 1000003 / (sums[1] + 1000)) / 7.5);"
    (tmp_path / "model.c").write_text(SOURCE.replace("#ifdef ENDLESS", slow + "\n#ifdef ENDLESS"))
    run = run_firmware(build_firmware(F401, [tmp_path / "model.c"], tmp_path / "out"), pixels)
    assert (run.embeddings.view(np.int8)[:, 1:] == sums_of(pixels)[:, 1:]).all()


def test_no_compiler_at_all(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(toolchain_module, "_zig", lambda: None)
    for find in (find_compiler, find_host_compiler):
        with pytest.raises(ToolNotFound, match="no C compiler for") as missing:
            find()
        assert "pip install" in missing.value.hint


def test_unicorn_missing(sources, pixels, tmp_path, monkeypatch):
    firmware = build_firmware(F401, sources, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolNotFound, match="'unicorn', which is not installed") as missing:
        run_firmware(firmware, pixels)
    assert "pip install" in missing.value.hint


def test_qemu_missing(sources, pixels, tmp_path, monkeypatch):
    firmware = build_firmware(F401, sources, tmp_path, machine="qemu")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolNotFound, match="needs QEMU"):
        run_firmware(firmware, pixels)


def test_linux_boards_are_refused(sources, tmp_path):
    with pytest.raises(DataError, match="no microcontroller"):
        build_firmware(BOARDS["STM32MP135F-DK"], sources, tmp_path)


@pytest.mark.parametrize("board", [board for board in BOARDS.values() if board.regions], ids=lambda board: board.name)
def test_the_linker_script_names_the_boards_addresses(board):
    first = memory_plans(board)[0]
    script = linker_script(first)
    assert f"ORIGIN = {board.arena.origin:#x}, LENGTH = {board.arena.size_bytes}" in script
    assert len(re.findall("ORIGIN =", script)) == len({first.code.origin, first.ram.origin})
    assert core_of(board).name in CORES


def test_overflows_of_both_linkers_are_read():
    plan = memory_plans(F401)[0]
    gnu = "ld: region `CODE' overflowed by 10 bytes\nld: region `RAM' overflowed by 3 bytes"
    lld = "error: section '.bss' will not fit in region 'CODE': overflowed by 10 bytes"
    assert overflows(plan, lld) == {plan.code: 10}
    assert overflows(plan, gnu)[plan.code] == 10


def test_importing_the_package_loads_no_emulator():
    code = (
        "import sys, reidfw_targets.emulation;"
        "print(sorted({'unicorn', 'elftools', 'ziglang', 'ai_edge_litert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def different_rows(run, tensors):
    """Rows of a trace that are not as the host computed them, and how many were compared."""
    compared = [row for row in run.trace if row.tensor in tensors]
    return [row for row in compared if tensors[row.tensor][row.row].tobytes() != row.data], len(compared)


@pytest.fixture(scope="module")
def host_tensors(int8_file, tmp_path_factory):
    """All tensors of the small network on one image, by plain C on this computer."""
    folder = tmp_path_factory.mktemp("host")
    compiled = compile_to(int8_file.path, folder / "c", input_mode="rows")
    program = HostProgram(compiled.generated, compiled.network, folder, trace=True)
    images = random_images(compiled.network, 1)
    embedding = program.run(images[0])
    return images, embedding, program.tensors()


@pytest.mark.parametrize(("board", "machine"), kinds_of_core())
def test_every_tensor_of_a_network_is_exact_on_every_core(board, machine, int8_file, host_tensors, tmp_path):
    images, embedding, tensors = host_tensors
    mode = "resident" if machine == "board" else "rows"
    compiled = compile_to(int8_file.path, tmp_path / "c", input_mode=mode, kernels=core_of(board).kernels)
    traced = build_firmware(board, compiled.generated.sources, tmp_path / "t", machine=machine, trace=True)
    run = run_firmware(traced, images, time_limit_s=120)
    assert (run.embeddings[0].view(embedding.dtype) == embedding).all()
    different, compared = different_rows(run, tensors)
    assert not different
    given = images.shape[1] if mode == "resident" else 0  # rows of an image that is there from the start
    assert compared == sum(len(tensor) for tensor in tensors.values()) - given


@needs_qemu
@pytest.mark.parametrize("board", [F401, H747, H573], ids=lambda board: board.main_core)
def test_unicorn_and_qemu_count_the_same(board, int8_file, host_tensors, tmp_path):
    compiled = compile_to(int8_file.path, tmp_path / "c", input_mode="resident")
    counts = []
    for machine in ("board", "qemu"):
        firmware = build_firmware(board, compiled.generated.sources, tmp_path / machine, machine=machine)
        counts.append(run_firmware(firmware, host_tensors[0], time_limit_s=120).instructions)
    assert counts[1] == pytest.approx(counts[0], rel=1e-3)


def test_one_bit_of_one_weight_is_noticed(int8_file, host_tensors, tmp_path):
    images, _, tensors = host_tensors
    compiled = compile_to(int8_file.path, tmp_path / "c", input_mode="rows")
    source = compiled.generated.folder / "model.c"
    text = source.read_text()
    first = re.search(r"int8_t \w+\[\d+\] = \{\s*(-?\d+)", text)
    value = int(first.group(1))
    source.write_text(text[: first.start(1)] + str(value ^ 1) + text[first.end(1) :])
    firmware = build_firmware(F401, compiled.generated.sources, tmp_path / "t", trace=True)
    different, _ = different_rows(run_firmware(firmware, images, time_limit_s=120), tensors)
    assert different


CYCLES_APPLICATION = """
#include "cycles.h"
#include "harness.h"
#include "semihosting.h"
static void print(const char *line) { (void)semihosting(SEMIHOSTING_WRITE0, line); }
int reidfw_main(void)
{
    cycles_measure("NUCLEO-F401RE", 1234ul, 2, print);
    return 0;
}
void reidfw_report_fault(const uint32_t *frame) { (void)frame; }
void reidfw_exit(uint32_t status)
{
    const uintptr_t arguments[2] = {SEMIHOSTING_APPLICATION_EXIT, status};
    for (;;) {
        (void)semihosting(SEMIHOSTING_EXIT_EXTENDED, arguments);
    }
}
"""


def test_the_cycle_counting_example_prints_a_calibration_file(int8_file, tmp_path):
    compiled = compile_to(int8_file.path, tmp_path / "c", input_mode="rows")
    for name in ("cycles.c", "cycles.h"):
        shutil.copy(CYCLES / name, compiled.generated.folder)
    application = tmp_path / "application.c"
    application.write_text(CYCLES_APPLICATION)
    sources = [*compiled.generated.sources, compiled.generated.folder / "cycles.c"]
    firmware = build_firmware(F401, sources, tmp_path / "f", application=application)
    (tmp_path / "run").mkdir()
    outcome = emulate(firmware, tmp_path / "run", time_limit_s=60, cycle_counter=True)  # an instruction is a cycle here
    file = tmp_path / "cycles.csv"
    file.write_text(str(outcome["text"]))
    ratios = calibrated_ratios(file, "NUCLEO-F401RE")
    harness = build_firmware(F401, compiled.generated.sources, tmp_path / "h")
    counted = run_firmware(harness, random_images(compiled.network, 1)).instructions
    assert len(ratios[1234]) == 2
    assert ratios[1234][0] * 1234 == pytest.approx(counted, rel=0.01)
