"""A model that is too large for the chip's RAM lies in RAM beside it, and still computes the same."""

import dataclasses
import logging
import math
from pathlib import Path

import pytest
from reidfw_targets.emulation import build_firmware, run_firmware
from reidfw_targets.emulation.memory import STACK_BYTES, linker_script
from reidfw_targets.facts import BOARDS, BoardFacts
from reidfw_targets.portable_c.compiling import compile_to, random_images, reference_embedding
from reidfw_targets.portable_c.placement import compile_for_board, variables_bytes

from reidfw_core.api import DoesNotFit, ToolNotFound

from .tflite_builder import LAYERS, Graph, pointwise

F746 = BOARDS["STM32F746G-DISCO"]


def shrunk(board: BoardFacts, *, ram_kib: float, flash_kib: float = 1024, external: bool = True) -> BoardFacts:
    """The board with one RAM and one flash of these sizes, with or without the memories beside the chip."""
    kept = [region for region in board.regions if region.name in ("FLASH", "SRAM1")]
    sizes = {"FLASH": flash_kib, "SRAM1": ram_kib}
    regions = [dataclasses.replace(region, size_kib=sizes[region.name]) for region in kept]
    if external:
        regions += [region for region in board.regions if region.kind.startswith("external")]
    return dataclasses.replace(board, regions=tuple(regions))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    graph = Graph(2)
    image = graph.tensor((1, 40, 20, 3), 0.02, -10)
    path = tmp_path_factory.mktemp("placement") / "wide.tflite"
    path.write_bytes(graph.content([image], [LAYERS["FULLY_CONNECTED"](graph, pointwise(graph, image, 40))]))
    return path


def test_arena_and_weights_lie_beside_the_chip_where_it_is_too_small(model, tmp_path, caplog):
    """The arena holds 40 x 20 x 40 bytes, the weights several times as much."""
    for needed in ("unicorn", "elftools"):
        pytest.importorskip(needed)
    caplog.set_level(logging.WARNING)
    board = shrunk(F746, ram_kib=24, flash_kib=32)
    compiled = compile_for_board(model, tmp_path / "c", board, input_mode=None, kernels="dsp")
    assert "the arena goes to SDRAM, which is slower" in caplog.text
    assert compiled.plan.arena_bytes > 24 * 1024
    try:
        firmware = build_firmware(board, compiled.generated.sources, tmp_path / "f")
    except ToolNotFound as missing:
        pytest.skip(missing.message)
    assert str(firmware.memory) == "code in FLASH, constants in QUADSPI, arena in SDRAM"
    script = linker_script(firmware.memory)
    for name in ("QUADSPI", "SDRAM"):
        [region] = [region for region in board.regions if region.name == name]
        assert f"ORIGIN = {region.origin:#x}" in script
    assert firmware.memory.stack.name == "SRAM1"
    images = random_images(compiled.network, 1)
    expected = reference_embedding(compiled, images[0])
    assert (run_firmware(firmware, images).embeddings[0].view(expected.dtype) == expected).all()


def test_a_board_that_has_room_keeps_all_inside(model, tmp_path, caplog):
    compiled = compile_for_board(model, tmp_path / "c", F746, input_mode=None, kernels="plain")
    assert compiled.plan.input_mode == "resident"
    assert "the arena goes" not in caplog.text


def test_without_memory_beside_the_chip_it_does_not_fit(model, tmp_path):
    words = (
        r"STM32F746G-DISCO leaves 19\.\d KiB for it \(SRAM1 with 24 KiB, less 4 KiB of stack and 0\.\d KiB of "
        r"variables\): 1\d\.\d KiB are missing"
    )
    with pytest.raises(DoesNotFit, match=words):
        compile_for_board(
            model, tmp_path / "c", shrunk(F746, ram_kib=24, external=False), input_mode=None, kernels="plain"
        )


@pytest.mark.parametrize("mode", ["resident", "rows"])
def test_a_board_with_just_enough_ram_is_not_refused(mode, model, tmp_path):
    """Nothing but stack and variables is taken off; the linker agrees."""
    plan = compile_to(model, tmp_path / "free", input_mode=mode, kernels="dsp").plan
    enough = (plan.arena_bytes + STACK_BYTES + variables_bytes(plan)) / 1024
    board = shrunk(F746, ram_kib=math.ceil(16 * enough) / 16, external=False)
    compiled = compile_for_board(model, tmp_path / "c", board, input_mode=mode, kernels="dsp")
    assert compiled.plan.arena_bytes == plan.arena_bytes
    with pytest.raises(DoesNotFit, match=r": 0\.1 KiB are missing"):
        small = shrunk(F746, ram_kib=math.floor(16 * enough) / 16 - 0.0625, external=False)
        compile_for_board(model, tmp_path / "d", small, input_mode=mode, kernels="dsp")
    pytest.importorskip("elftools")
    try:
        firmware = build_firmware(board, compiled.generated.sources, tmp_path / "f")
    except ToolNotFound as missing:
        pytest.skip(missing.message)
    assert firmware.memory.ram.name == "SRAM1"
    ours = [symbol for symbol in firmware.program.symbols if symbol.section == ".bss" and not symbol.of_harness]
    assert sum(symbol.size_bytes for symbol in ours) == plan.arena_bytes + plan.state_bytes
