"""The ability of a board to be deployed to, mixed into the boards that have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from reidfw_core.api import (
    ApplicationSettings,
    CommandLine,
    ComponentParams,
    ConfigError,
    DeploymentReport,
    ModelFile,
    Problem,
    Progress,
    ToolNotFound,
    hookimpl,
)
from reidfw_targets.deployment.deployer import Wanted, deploy, list_steps, prepare
from reidfw_targets.deployment.flashing import find_probe
from reidfw_targets.deployment.toolbox import PROGRAMMER, Toolbox
from reidfw_targets.facts import BoardFacts
from reidfw_targets.stedgeai.executable import find_executable

DEPLOY = "deploy_model"


class Deployable:
    """Builds the C project with the model and writes it to the board.

    Its attributes are those of ``deployment`` and ``deployment.hardware_setup``, with the paths of ``tools``.

    Source: the user's document, section 2.10.
    """

    facts: ClassVar[BoardFacts]
    params: Any

    class Params(ComponentParams):
        """What concerns deployment."""

        series: ClassVar[str | None] = None
        """The board's series; None for a board of somebody's that does not say it here."""

        serie: str | None = Field(None, description="Series of the board, for example STM32N6")
        c_project_path: Path | None = Field(None, description="Folder of the C project")
        input: str | None = Field(None, description="Camera interface, where the board has several")
        output: str | None = Field(None, description="Display interface, where the board has several")
        stlink_serial_number: str | None = Field(None, description="Serial number of the ST-LINK probe")
        path_to_stedgeai: Path | None = Field(None, description="The stedgeai executable or its installation's folder")
        path_to_cubeIDE: Path | None = Field(None, description="The STM32CubeIDE executable")  # noqa: N815
        optimization: Literal["balanced", "time", "ram"] = Field(
            "balanced", description="What generated C code is optimised for, on boards without NPU"
        )
        verbosity: int = Field(1, ge=0, description="2 and more: every line that the programs print; else each step")
        flash_board: bool = Field(True, description="Write to the board; False builds and signs only")
        detector_model: Path | None = Field(
            None, description="Person detector to compile beside the network (STM32N6); None keeps the C project's"
        )

        @field_validator("serie")
        @classmethod
        def _series_of_the_board(cls, value: str | None) -> str | None:
            if value is not None and cls.series is not None and value.upper() != cls.series:
                raise ValueError(f"'{value}' is not the series of this board, which is {cls.series}")
            return value

    def probe_deployment(self) -> str:
        """Finds tools, C project and board; changes nothing. Raises as the hook ``probe_target`` does."""
        wanted = self._wanted()
        ready = prepare(wanted, Toolbox(cube_ide=wanted.cube_ide))
        told = f"ST Edge AI Core {ready.tools.version}, C project {ready.project.path}"
        if ready.tools.programmer is None:
            return told
        probe = find_probe(ready.tools.programmer, wanted.board.name, wanted.serial, None)
        return f"{told}, board on ST-LINK probe {probe.serial}"

    def describe_deployment(self) -> str:
        """Whether the programs are there, in one line; starts none of them."""
        params = self.params
        try:
            executable, _ = find_executable(params.path_to_stedgeai)
            programmer = Toolbox(cube_ide=params.path_to_cubeIDE).find(PROGRAMMER) if params.flash_board else None
        except ToolNotFound as cause:
            return f"no: {cause.message}"
        return f"with {executable}" + (f" and {programmer}" if programmer else "")

    @hookimpl
    def list_commands(self, ability: str, model: ModelFile, workdir: Path) -> Sequence[CommandLine]:
        """The commands of a deployment; for other abilities those of the board, if it tells any."""
        if ability != DEPLOY:
            others: Callable[..., Sequence[CommandLine]] | None = getattr(super(), "list_commands", None)
            return () if others is None else others(ability=ability, model=model, workdir=workdir)
        wanted = self._wanted()
        ready = prepare(wanted, Toolbox(cube_ide=wanted.cube_ide, tolerant=True), dry=True)
        return list_steps(wanted, ready, model.path, workdir)

    @hookimpl
    def deploy_model(
        self, model: ModelFile, workdir: Path, app: ApplicationSettings, progress: Progress
    ) -> DeploymentReport:
        """Deploys a model; see the hook's contract."""
        wanted = self._wanted()
        return deploy(wanted, prepare(wanted, Toolbox(cube_ide=wanted.cube_ide)), model, workdir, app, progress)

    def _wanted(self) -> Wanted:
        params = self.params
        if params.c_project_path is None:
            raise ConfigError([Problem(where="deployment.c_project_path", message="is required")])
        return Wanted(
            board=self.facts,
            project_folder=params.c_project_path,
            camera=params.input,
            output=params.output,
            serial=params.stlink_serial_number,
            stedgeai=params.path_to_stedgeai,
            cube_ide=params.path_to_cubeIDE,
            optimization=params.optimization,
            flash_board=params.flash_board,
            detector=params.detector_model,
            verbose=params.verbosity > 1,
        )
