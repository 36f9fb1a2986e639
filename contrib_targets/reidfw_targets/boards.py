"""The STM32 boards: one entry point for each, facts from one table.

Each board describes itself. Those of the series STM32N6 and STM32H7 can be deployed to; the core reads what a board can
do from the hooks that it implements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from reidfw_core.api import Component, ModelFormat, Target, TargetInfo, hookimpl, variant
from reidfw_targets.deployment.board import DEPLOY, Deployable
from reidfw_targets.facts import BOARDS, BoardFacts


class Stm32Board(Target):
    """An STM32 board; what is known about it stands in :attr:`facts`.

    Formats: those that ST Edge AI Core reads, quantized or float.
    Source: the user's document, sections 2.3 (``model_path``) and 2.9 (boards).
    """

    accepts = frozenset(ModelFormat(container) for container in ("keras", "tflite", "onnx"))
    facts: ClassVar[BoardFacts]

    @hookimpl
    def describe_target(self) -> TargetInfo:
        """Processor and memory of the board."""
        return self.facts.info


class DeployableBoard(Deployable, Stm32Board):
    """An STM32 board that applications can be built for and written to."""

    class Params(Deployable.Params, Stm32Board.Params):
        """What concerns deployment, and what concerns every board."""

    @hookimpl
    def probe_target(self, ability: str) -> str:
        """Looks whether tools, C project and board are there; see the hook's contract."""
        if ability == DEPLOY:
            return self.probe_deployment()
        others: Callable[[str], str] | None = getattr(super(), "probe_target", None)
        return others(ability) if others is not None else f"{self.facts.name}: nothing to look for"


_DEPLOYABLE = frozenset({"STM32N6", "STM32H7"})
"""Series with an application by ST, or for which a C project of the user's own is built."""


def _board(name: str, class_name: str) -> type[Component]:
    facts = BOARDS[name]
    npu = f", {facts.npu}" if facts.npu else ""
    base = DeployableBoard if facts.series in _DEPLOYABLE else Stm32Board
    return variant(base, class_name, doc=f"{name}: {facts.core}{npu}. Source: {facts.source}.", facts=facts)


BU585iIot02a = _board("B-U585I-IOT02A", "BU585iIot02a")
NucleoF401re = _board("NUCLEO-F401RE", "NucleoF401re")
NucleoG474re = _board("NUCLEO-G474RE", "NucleoG474re")
NucleoH743zi2 = _board("NUCLEO-H743ZI2", "NucleoH743zi2")
NucleoN657x0q = _board("NUCLEO-N657X0-Q", "NucleoN657x0q")
Stm32f469iDisco = _board("STM32F469I-DISCO", "Stm32f469iDisco")
Stm32f746gDisco = _board("STM32F746G-DISCO", "Stm32f746gDisco")
Stm32f769iDisco = _board("STM32F769I-DISCO", "Stm32f769iDisco")
Stm32h573iDk = _board("STM32H573I-DK", "Stm32h573iDk")
Stm32h735gDk = _board("STM32H735G-DK", "Stm32h735gDk")
Stm32h747iDisco = _board("STM32H747I-DISCO", "Stm32h747iDisco")
Stm32h7b3iDk = _board("STM32H7B3I-DK", "Stm32h7b3iDk")
Stm32h7s78Dk = _board("STM32H7S78-DK", "Stm32h7s78Dk")
Stm32l4r9iDisco = _board("STM32L4R9I-DISCO", "Stm32l4r9iDisco")
Stm32mp135fDk = _board("STM32MP135F-DK", "Stm32mp135fDk")
Stm32mp157fDk2 = _board("STM32MP157F-DK2", "Stm32mp157fDk2")
Stm32mp257fEv1 = _board("STM32MP257F-EV1", "Stm32mp257fEv1")
Stm32n6570Dk = _board("STM32N6570-DK", "Stm32n6570Dk")
