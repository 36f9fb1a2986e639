"""Whether a model fits a board, to the byte."""

import pytest

from reidfw_core.errors import DoesNotFit
from reidfw_core.services.fit import judge, require_weights_fit
from reidfw_core.types import MemoryEstimate, TargetInfo

KIB = 1024
BOARD = TargetInfo(ram_kib=100, flash_kib=200, external_ram_kib=1000, external_flash_kib=2000, largest_ram_kib=60)
BARE = TargetInfo(ram_kib=100, flash_kib=200)
OUTER_FLASH_ONLY = TargetInfo(ram_kib=100, external_flash_kib=2000)
LINUX = TargetInfo(external_ram_kib=1000)


def needed(weights: int, activations: int) -> MemoryEstimate:
    return MemoryEstimate(weights_bytes=weights, activations_bytes=activations, method="told by the test")


@pytest.mark.parametrize(
    ("info", "weights", "activations", "verdict"),
    [
        (BOARD, 200 * KIB, 60 * KIB, "green"),
        (BOARD, 200 * KIB, 60 * KIB + 1, "amber"),  # in pieces
        (BOARD, 200 * KIB + 1, 60 * KIB, "amber"),  # external flash
        (BOARD, 200 * KIB, 100 * KIB + 1, "amber"),  # external RAM
        (BOARD, 2200 * KIB, 1100 * KIB, "amber"),
        (BOARD, 2200 * KIB + 1, 60 * KIB, "red"),
        (BOARD, 200 * KIB, 1100 * KIB + 1, "red"),
        (BARE, 200 * KIB, 100 * KIB, "green"),
        (BARE, 200 * KIB + 1, 100 * KIB, "red"),
        (BARE, 200 * KIB, 100 * KIB + 1, "red"),
        (OUTER_FLASH_ONLY, 2000 * KIB, 1, "green"),
        (OUTER_FLASH_ONLY, 2000 * KIB + 1, 1, "red"),
        (LINUX, 600 * KIB, 400 * KIB, "green"),
        (LINUX, 600 * KIB, 400 * KIB + 1, "red"),
        (TargetInfo(), 1, 1, "amber"),  # nobody knows
        (TargetInfo(ram_kib=1), 1, 1, "amber"),
    ],
)
def test_to_the_byte(info, weights, activations, verdict):
    fit = judge(info, needed(weights, activations))
    assert fit.verdict == verdict
    assert bool(fit.reasons) == (verdict != "green")


@pytest.mark.parametrize(
    ("info", "activations", "verdict"),
    [
        (BOARD, 60 * KIB, "green"),
        (BOARD, 60 * KIB + 1, "amber"),  # external RAM: the pieces inside are no help
        (BOARD, 1000 * KIB, "amber"),
        (BOARD, 1000 * KIB + 1, "red"),  # in no memory in one piece
        (TargetInfo(ram_kib=100, flash_kib=200, largest_ram_kib=60), 60 * KIB + 1, "red"),
        (BARE, 100 * KIB, "green"),
    ],
)
def test_what_must_lie_in_one_piece(info, activations, verdict):
    estimate = MemoryEstimate(weights_bytes=1, activations_bytes=activations, method="told", one_piece=True)
    assert judge(info, estimate).verdict == verdict


def test_a_byte_too_many_is_told():
    assert "1 byte more than the flash" in judge(BARE, needed(200 * KIB + 1, 0)).reasons[0]


def test_weights_stop_a_run_and_activations_do_not():
    require_weights_fit("X", BARE, needed(200 * KIB, 10**9))
    with pytest.raises(DoesNotFit, match="does not fit X: weights of") as caught:
        require_weights_fit("X", BARE, needed(200 * KIB + 1, 0))
    assert caught.value.exit_code == 3
