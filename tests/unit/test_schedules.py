"""Learning rate schedules against the formulas of their source, and what they refuse."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidfw_core.errors import DataError
from reidfw_core.schedules import SCHEDULES, build_schedule, warmed_up

HOLD = {"initial_lr": 0.1, "hold_steps": 3, "decay_steps": 4, "end_lr": 0.02}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("LRLinearDecay", HOLD, [0.1, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02, 0.02]),
        (
            "LRExponentialDecay",
            {"initial_lr": 0.1, "hold_steps": 2, "decay_rate": 0.5, "min_lr": 0.03},
            [0.1, 0.1, *(0.1 * math.exp(-0.5 * passed) for passed in (1, 2)), 0.03, 0.03],
        ),
        ("LRStepDecay", {"initial_lr": 0.8, "step_size": 2, "decay_rate": 0.5}, [0.8, 0.4, 0.4, 0.2, 0.2, 0.1]),
        (
            "LRCosineDecay",
            HOLD,
            [0.1, 0.1, 0.1, *(0.02 + 0.08 * 0.5 * (1 + math.cos(math.pi * p / 4)) for p in (1, 2, 3, 4, 4))],
        ),
        (
            "LRWarmupCosineDecay",
            {"initial_lr": 0.0, "warmup_steps": 4, "max_lr": 0.4, "hold_steps": 1, "decay_steps": 2, "end_lr": 0.0},
            [0.0, 0.1, 0.2, 0.4, 0.4, 0.4, 0.2, 0.0, 0.0],
        ),
        (
            "LRCosineDecayRestarts",
            {"initial_lr": 1.0, "first_decay_steps": 2, "end_lr": 0.0, "m_mul": 0.5},
            [1.0, 0.5, 0.5, 0.25 * (1 + math.cos(math.pi / 4)), 0.25, 0.25 * (1 + math.cos(3 * math.pi / 4)), 0.25],
        ),
        (
            "LRPolynomialDecay",
            HOLD,
            [0.1, 0.1, 0.1, *(0.02 + 0.08 * (1 - p / 4) ** 0.5 for p in (1, 2, 3, 4, 4))],
        ),
        (
            "LRPolynomialDecayRestarts",
            {**HOLD, "hold_steps": 1, "power": 1.0},
            [0.1, *(0.02 + 0.08 * (1 - p) for p in (1 / 4, 2 / 4, 3 / 4, 1, 5 / 8, 6 / 8))],
        ),
        (
            "LRPiecewiseConstantDecay",
            {"boundaries": [2, 4], "values": [0.3, 0.2, 0.1]},
            [0.3, 0.3, 0.2, 0.2, 0.1, 0.1],
        ),
    ],
)
def test_the_rate_of_each_epoch(name: str, arguments: dict, expected: list[float]) -> None:
    schedule = build_schedule(name, arguments)
    assert [schedule.rate(epoch) for epoch in range(len(expected))] == pytest.approx(expected)


def test_all_nine_are_there() -> None:
    assert len(SCHEDULES) == 9


def test_exponential_decay_ends_at_its_floor() -> None:
    schedule = build_schedule(
        "LRExponentialDecay", {"initial_lr": 0.1, "hold_steps": 0, "decay_rate": 1.0, "min_lr": 0.01}
    )
    assert schedule.rate(0) == pytest.approx(0.1 * math.exp(-1))
    assert schedule.rate(50) == 0.01


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("LRLinearDecay", {}, "LRLinearDecay: the argument 'initial_lr' is required"),
        ("LRStepDecay", {"initial_lr": 0.1, "step_size": 0, "decay_rate": 0.5}, "step_size is a number of epochs"),
        ("LRStepDecay", {"initial_lr": "high", "step_size": 1, "decay_rate": 0.5}, "initial_lr must be a number"),
        ("LRStepDecay", {"initial_lr": -1, "step_size": 1, "decay_rate": 0.5}, "must not be negative"),
        ("LRStepDecay", {"step": 3}, "no argument 'step' .did you mean 'step_size'"),
        ("LRCosineDecay", {"initial_learning_rate": 0.1}, "did you mean"),
        ("LRPiecewiseConstantDecay", {"boundaries": [2], "values": [0.3]}, "one more than boundaries"),
        ("LRPiecewiseConstantDecay", {"boundaries": [4, 2], "values": [0.3, 0.2, 0.1]}, "must rise"),
    ],
)
def test_wrong_arguments_are_told(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_schedule(name, arguments)


@given(
    initial=st.floats(1e-6, 1),
    end=st.floats(0, 1e-6),
    hold=st.integers(0, 20),
    decay=st.integers(1, 30),
    name=st.sampled_from(["LRLinearDecay", "LRCosineDecay", "LRPolynomialDecay"]),
)
def test_decays_never_rise_and_end_where_they_should(initial, end, hold, decay, name) -> None:
    schedule = build_schedule(
        name, {"initial_lr": initial, "end_lr": end, "hold_steps": hold, "decay_steps": decay, "verbose": True}
    )
    rates = [schedule.rate(epoch) for epoch in range(hold + decay + 5)]
    assert all(later <= earlier + 1e-15 for earlier, later in itertools.pairwise(rates))
    assert rates[-1] == pytest.approx(end, abs=1e-12)


def test_warm_up_is_a_straight_line() -> None:
    assert [warmed_up(1.0, step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warmed_up(0.3, 0, 0) == 0.3
