"""The facts on boards: complete, sourced, and consistent in themselves and with ST's board table."""

import pytest
from reidfw_targets.facts import BOARDS, BoardFacts

# ST's board table: name, MHz, RAM KiB, external RAM MiB, flash KiB, external flash MiB
SERVICES = [
    ("STM32H747I-DISCO", 400, 1024, 8, 2048, 16),
    ("STM32H735G-DK", 550, 564, 16, 1024, 64),
    ("STM32H7B3I-DK", 280, 1184, 16, 2048, 64),
    ("STM32F769I-DISCO", 216, 512, 1, 2048, 64),
    ("STM32F469I-DISCO", 180, 384, 16, 2048, 16),
    ("STM32L4R9I-DISCO", 120, 640, None, 2048, 16),
    ("NUCLEO-G474RE", 170, 128, None, 512, None),
    ("B-U585I-IOT02A", 160, 786, None, 2048, 64),
]

BARE_METAL = [board for board in BOARDS.values() if not board.linux]


@pytest.mark.parametrize(("name", "mhz", "ram", "external_ram", "flash", "external_flash"), SERVICES)
def test_totals_are_those_of_the_board_table(name, mhz, ram, external_ram, flash, external_flash):
    info = BOARDS[name].info
    assert (info.clock_mhz, info.ram_kib, info.flash_kib) == (mhz, ram, flash)
    assert info.external_ram_kib == (external_ram and external_ram * 1024)
    assert info.external_flash_kib == (external_flash and external_flash * 1024)


@pytest.mark.parametrize("board", BARE_METAL, ids=lambda board: board.name)
def test_the_memory_map_is_consistent(board: BoardFacts):
    assert list(board.regions) == sorted(board.regions, key=lambda region: region.origin)
    for before, after in zip(board.regions, board.regions[1:], strict=False):
        assert before.end <= after.origin, f"{before.name} overlaps {after.name}"
    assert all(region.source and region.size_kib > 0 for region in board.regions)
    if board.flash_kib is not None:
        assert sum(region.size_kib for region in board.of_kind("flash")) == board.flash_kib
    if board.npu is None:  # a source may leave out TCM or backup memory, never more
        ram = sum(region.size_kib for region in board.of_kind("ram"))
        assert 0.94 * board.ram_kib <= ram <= 1.2 * board.ram_kib
    else:
        assert sum(region.size_kib for region in board.of_kind("npu_ram")) == board.ram_kib


@pytest.mark.parametrize(
    ("name", "origin", "size_kib"),
    [
        ("NUCLEO-F401RE", 0x2000_0000, 96),
        ("NUCLEO-G474RE", 0x2000_0000, 128),
        ("STM32F469I-DISCO", 0x2000_0000, 320),
        ("STM32F746G-DISCO", 0x2000_0000, 320),
        ("STM32L4R9I-DISCO", 0x2000_0000, 640),
        ("B-U585I-IOT02A", 0x2000_0000, 768),
        ("NUCLEO-H743ZI2", 0x2400_0000, 512),
        ("STM32H7B3I-DK", 0x2400_0000, 1024),
        ("STM32N6570-DK", 0x3400_0000, 400 + 624 + 1024 + 4 * 448),
    ],
)
def test_the_largest_ram_in_one_piece(name, origin, size_kib):
    arena = BOARDS[name].arena
    assert (arena.origin, arena.size_kib) == (origin, size_kib)


def test_npu_pools():
    pools = BOARDS["STM32N6570-DK"].of_kind("npu_ram")
    assert [pool.origin for pool in pools] == [0x34200000, 0x34270000, 0x342E0000, 0x34350000]
    assert {pool.size_kib for pool in pools} == {448}
    assert BOARDS["STM32N6570-DK"].code.origin == 0x72000000


def test_code_goes_to_the_internal_flash_where_there_is_one():
    assert (BOARDS["STM32H747I-DISCO"].code.origin, BOARDS["STM32H747I-DISCO"].code.size_kib) == (0x08000000, 2048)


def test_a_board_with_linux_has_no_memory_map():
    board = BOARDS["STM32MP257F-EV1"]
    assert board.linux
    with pytest.raises(ValueError, match="no memory map"):
        _ = board.arena
    assert board.main_core == "Cortex-A35"


def test_no_piece_is_larger_than_all_that_a_model_gets():
    for board in BOARDS.values():
        if board.info.largest_ram_kib is not None and board.ram_kib is not None:
            assert board.info.largest_ram_kib <= board.ram_kib
    assert BOARDS["NUCLEO-N657X0-Q"].info.largest_ram_kib == 4 * 448  # the application has the rest of it
