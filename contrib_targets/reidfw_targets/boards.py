"""The STM32 boards: one entry point for each, facts from one table.

Those of the series STM32N6 and STM32H7 can be deployed to, the others cannot; the core reads that from their hooks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from reidfw_core.api import (
    BenchmarkReport,
    CommandLine,
    Component,
    ComponentParams,
    MemoryEstimate,
    ModelFile,
    ModelFormat,
    Progress,
    ReidfwError,
    Target,
    TargetInfo,
    ToolNotFound,
    hookimpl,
    no_progress,
    variant,
)
from reidfw_targets.board_tools import (
    AUTO,
    BoardTool,
    Optimization,
    ToolSettings,
    automatic_tool,
    make_tool,
    tool_entries,
)
from reidfw_targets.deployment.board import DEPLOY, Deployable
from reidfw_targets.facts import BOARDS, BoardFacts
from reidfw_targets.model_io import image_shape
from reidfw_targets.published import PublishedFigure, figures_for, with_published

logger = logging.getLogger(__name__)

BENCHMARK = "benchmark_model"


class Stm32Board(Target):
    """An STM32 board; what is known about it stands in :attr:`facts`.

    Formats: those that ST Edge AI Core reads, quantized or float.
    Source: the user's document, sections 2.3 (``model_path``) and 2.9 (boards).
    """

    accepts = frozenset(ModelFormat(container) for container in ("keras", "tflite", "onnx"))
    facts: ClassVar[BoardFacts]

    class Params(ComponentParams):
        """What measures, from ``benchmarking``, and where it is, from ``tools.stedgeai``."""

        tool: str = Field(
            AUTO,
            description="What measures: stedgeai, stedgeai_cloud, another installed board tool, or auto: the cloud "
            "with tools.stedgeai.on_cloud, else a local stedgeai where there is one, else portable_c",
        )
        tool_options: dict[str, Any] = Field(default_factory=dict, description="Options of that tool")
        optimization: Optimization = Field("balanced", description="What generated C code is optimised for")
        on_cloud: bool = Field(False, description="Use ST's developer cloud")
        path_to_stedgeai: Path | None = Field(
            None, description="The stedgeai executable or its installation's folder; None looks for it"
        )
        version: str | None = Field(None, description="Version that the cloud shall use; None takes its latest")

        @model_validator(mode="after")
        def _known_tool(self) -> Stm32Board.Params:
            if self.tool != AUTO:
                try:
                    make_tool(self.tool, self.settings, self.tool_options)
                except ToolNotFound as cause:
                    raise ValueError(f"{cause.message}. {cause.hint or ''}".rstrip()) from cause
            return self

        @property
        def settings(self) -> ToolSettings:
            """What tools take from it."""
            return ToolSettings(
                optimization=self.optimization,
                on_cloud=self.on_cloud,
                path_to_stedgeai=self.path_to_stedgeai,
                version=self.version,
            )

    @hookimpl
    def describe_target(self) -> TargetInfo:
        """Processor and memory of the board."""
        return self.facts.info

    @hookimpl
    def describe_abilities(self) -> Mapping[str, str]:
        """What would measure here and now; starts no program."""
        try:
            name, why = self._tool_name()
        except ReidfwError as cause:
            return {BENCHMARK: f"no: {cause.message}"}
        return {BENCHMARK: f"{name} ({why})"}

    @hookimpl
    def probe_target(self, ability: str) -> str:
        """Looks whether the tool can measure for this board; see the hook's contract."""
        tool, why = self._tool(no_progress)
        return f"{ability.partition('_')[0]} with {tool.name} ({why}): {tool.find(self.facts)}"

    @hookimpl
    def estimate_by_tool(self, model: ModelFile, chosen_only: bool) -> Sequence[MemoryEstimate]:
        """What tools plan for the model on this board; see the hook's contract."""
        tools = [self._tool(no_progress)[0]] if chosen_only else self._all_tools()
        estimates = [tool.estimate(self.facts, model) for tool in tools]
        return [estimate for estimate in estimates if estimate is not None]

    @hookimpl
    def published_figures(self, model: ModelFile) -> Sequence[str]:
        """What ST published for such a model on this board; see the hook's contract."""
        return [str(figure) for figure in self._figures(model)]

    @hookimpl
    def list_commands(self, ability: str, model: ModelFile, workdir: Path) -> Sequence[CommandLine]:
        """What the chosen tool would start or send; see the hook's contract."""
        if ability != BENCHMARK:
            return ()
        tool, _ = self._tool(no_progress)
        return tool.list_commands(self.facts, model, workdir)

    @hookimpl
    def benchmark_model(self, model: ModelFile, workdir: Path, progress: Progress) -> BenchmarkReport:
        """Measures with the chosen tool; see the hook's contract."""
        tool, why = self._tool(progress)
        logger.info("%s is measured with %s (%s)", self.facts.name, tool.name, why)
        return with_published(tool.benchmark(self.facts, model, workdir), self._figures(model))

    def _figures(self, model: ModelFile) -> tuple[PublishedFigure, ...]:
        return figures_for(self.facts.name, model.name, image_shape(model))

    def _all_tools(self) -> Iterator[BoardTool]:
        """Every installed tool that can be made without options."""
        for name in tool_entries():
            try:
                yield make_tool(name, self.params.settings, {})
            except (ToolNotFound, ValueError) as cause:
                logger.debug("%s is not asked: %s", name, cause)

    def _tool_name(self) -> tuple[str, str]:
        """The tool's name, and why this one. Raises ToolNotFound where there is none."""
        if self.params.tool != AUTO:
            return self.params.tool, "benchmarking.tool"
        return automatic_tool(self.facts, self.params.settings)

    def _tool(self, progress: Progress) -> tuple[BoardTool, str]:
        """The tool, and why this one.

        Raises:
            ToolNotFound: there is none, or it does not take the options.
        """
        name, why = self._tool_name()
        try:
            return make_tool(name, self.params.settings, self.params.tool_options, progress), why
        except ValueError as cause:
            raise ToolNotFound(str(cause)) from cause


class DeployableBoard(Deployable, Stm32Board):
    """An STM32 board that applications can be built for and written to."""

    class Params(Deployable.Params, Stm32Board.Params):
        """What concerns deployment, and what concerns every board."""

    @hookimpl
    def describe_abilities(self) -> Mapping[str, str]:
        """What would measure, and whether the programs of a deployment are there; starts no program."""
        return {**super().describe_abilities(), DEPLOY: self.describe_deployment()}

    @hookimpl
    def probe_target(self, ability: str) -> str:
        """Looks whether tools, C project and board are there; see the hook's contract."""
        return self.probe_deployment() if ability == DEPLOY else super().probe_target(ability)


_DEPLOYABLE = frozenset({"STM32N6", "STM32H7"})
"""Series with an application by ST, or for which a C project of the user's own is built."""


def _board(name: str, class_name: str) -> type[Component]:
    facts = BOARDS[name]
    npu = f", {facts.npu}" if facts.npu else ""
    doc = f"{name}: {facts.core}{npu}. Source: {facts.source}."
    if facts.series not in _DEPLOYABLE:
        return variant(Stm32Board, class_name, doc=doc, facts=facts)
    of_series = {"series": facts.series, "__module__": __name__, "__doc__": DeployableBoard.Params.__doc__}
    params = type("Params", (DeployableBoard.Params,), of_series)
    return variant(DeployableBoard, class_name, doc=doc, facts=facts, Params=params)


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
