"""The sections ``benchmarking``, ``deployment`` and ``app``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from reidfw_core.config.sections.base import Integer, Number, OpenSection, PositiveInt, Section


class BenchmarkingSection(OpenSection):
    """Where the model is benchmarked. Further attributes belong to the board.

    Source: the user's document, section 2.9.
    """

    board: str
    """Name of the board. Required."""


class HardwareSetup(OpenSection):
    """The board and what is connected to it. Further attributes belong to the board."""

    serie: str
    """Series of the board, for example ``STM32N6``. Required."""
    board: str
    """Name of the board. Required."""
    input: str | None = None
    """Camera interface, where the board has several."""
    output: str | None = None
    """Display interface, where the board has several."""
    stlink_serial_number: str | None = None
    """Serial number of the ST-LINK probe, where several boards are connected."""


class DeploymentSection(OpenSection):
    """The application that is built for the board. Further attributes belong to the board.

    Source: the user's document, section 2.10.
    """

    c_project_path: Path
    """Folder of the C project. Required."""
    IDE: Literal["GCC"] = "GCC"
    """Tool chain; ``GCC`` is the only one."""
    verbosity: Annotated[Integer, Field(ge=0)] = 1
    """How much a deployment reports: each step, or from 2 on every line that its programs print. Defaults to 1."""
    hardware_setup: HardwareSetup
    """The board. Required."""
    board_deploy_path: str | None = None
    """Folder on a board with Linux."""


class AppSection(Section):
    """Settings that are compiled into the application."""

    max_object_detect: PositiveInt = 20
    """Most people kept from the detector. Defaults to 20."""
    max_object_tracking: PositiveInt = 10
    """Most identities tracked. Defaults to 10."""
    score_threshold: Annotated[Number, Field(ge=0, le=1)] | Path | None = None
    """Largest cosine distance that counts as the same person, 0 to 1, or the threshold file of an evaluation. By
    default that of an evaluation of the same model file, where one lies in its run folder, else 0.5."""
    lost_time_in_ms: PositiveInt = 60000
    """Absence after which an identity is forgotten, in milliseconds. Defaults to 60000."""
    start_tracking_conf_threshold: Annotated[Number, Field(ge=0, le=1)] = 0.9
    """Detector confidence that opens a new identity, 0 to 1. Defaults to 0.9."""
