"""The sections ``mlflow``, ``hydra`` and ``listeners``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reidfw_core.config.sections.base import OpenSection, Section


class MlflowSection(OpenSection):
    """Attributes of the MLflow tracker.

    Source: the user's document, section 2.11.
    """

    uri: str | None = None
    """Folder or address where MLflow keeps its files."""


class HydraRun(Section):
    """Hydra's settings of a run."""

    dir: Annotated[str, Field(min_length=1)] = "./experiments_outputs/${now:%Y_%m_%d_%H_%M_%S}"
    """Run directory; ``${now:...}`` stands for date and time."""


class HydraSection(OpenSection):
    """Hydra's settings. The run directory is the only one that has an effect here.

    Source: the user's document, section 2.11.
    """

    run: HydraRun = Field(default_factory=HydraRun)
    """Settings of a run."""


class ListenerItem(OpenSection):
    """A listener. Further attributes belong to it."""

    name: str
    """Name of an installed listener."""
    on_error: Literal["fail", "warn"] | None = None
    """Whether the run stops when the listener fails; the listener's own rule by default."""
