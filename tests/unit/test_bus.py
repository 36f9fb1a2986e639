"""The calling convention: one component answers, every listener hears, and contracts are enforced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reidfw_core.api import Listener, Target, TargetInfo, hookimpl
from reidfw_core.bus import HookBus
from reidfw_core.errors import PluginBroken


class Board(Target):
    """A board."""

    def __init__(self, core: str = "M4") -> None:
        super().__init__()
        self.core = core

    @hookimpl
    def describe_target(self) -> TargetInfo:
        return TargetInfo(core=self.core)


def test_exactly_the_asked_component_answers() -> None:
    bus, first, second = HookBus(), Board("M4"), Board("M7")
    bus.add(first, "first")
    bus.add(second, "second")
    assert bus.ask(first, "describe_target").core == "M4"
    assert bus.ask(second, "describe_target").core == "M7"
    assert bus.supports(first, "describe_target")
    assert not bus.supports(first, "benchmark_model")


def test_a_missing_hook_a_wrong_argument_and_no_answer_are_broken_contracts() -> None:
    class Nothing(Target):
        """Answers nothing."""

    class Misspelt(Target):
        """Takes an argument that the contract does not have."""

        @hookimpl
        def describe_target(self, board: str) -> TargetInfo:
            return TargetInfo()

    class Silent(Target):
        """Gives None."""

        @hookimpl
        def describe_target(self) -> None:
            return None

    bus = HookBus()
    with pytest.raises(PluginBroken, match="required hook describe_target"):
        bus.add(Nothing(), "nothing")
    with pytest.raises(PluginBroken, match="board"):
        bus.add(Misspelt(), "misspelt")
    silent = Silent()
    bus.add(silent, "silent")
    with pytest.raises(PluginBroken, match="gave no answer"):
        bus.ask(silent, "describe_target")
    board = Board()
    bus.add(board, "board")
    assert bus.ask(board, "describe_target").core == "M4"


def test_a_listener_may_wrap_an_answer_but_not_give_one() -> None:
    class Louder(Listener):
        """Changes what boards say."""

        @hookimpl(wrapper=True)
        def describe_target(self) -> Iterator[None]:
            info = yield
            return TargetInfo(core=info.core + "!")

    class Usurper(Listener):
        """Answers for boards."""

        @hookimpl
        def describe_target(self) -> TargetInfo:
            return TargetInfo(core="mine")

    bus, board = HookBus(), Board()
    bus.add(board, "board")
    bus.add(Louder(), "louder")
    assert bus.ask(board, "describe_target").core == "M4!"
    with pytest.raises(PluginBroken, match="wrapper"):
        bus.add(Usurper(), "usurper")


def test_one_failing_listener_harms_no_other() -> None:
    heard: list[Any] = []

    class Failing(Listener):
        """Always fails."""

        on_error = "warn"

        @hookimpl
        def step_started(self, step: str) -> None:
            raise RuntimeError(step)

    class Hearing(Listener):
        """Hears."""

        @hookimpl
        def step_started(self, step: str, number: int) -> None:
            heard.append((step, number))

    bus = HookBus()
    bus.add(Failing(), "failing")
    bus.add(Hearing(), "hearing")
    bus.tell("step_started", step="train", number=1, total=2)
    assert heard == [("train", 1)]

    class Strict(Failing):
        """Fails, and must not."""

        on_error = "fail"

    bus.add(Strict(), "strict")
    with pytest.raises(PluginBroken, match="listener 'strict' failed in step_started: RuntimeError: evaluate"):
        bus.tell("step_started", step="evaluate", number=2, total=2)
