"""Contract of targets: boards and this computer (entry point group ``reidfw.targets``)."""

from __future__ import annotations

from pathlib import Path

from reidfw_core.markers import hookspec
from reidfw_core.types import BenchmarkReport, DeploymentReport, EmbeddingRunner, ModelFile, TargetInfo


@hookspec(firstresult=True)
def describe_target() -> TargetInfo | None:
    """Facts on the target; cheap, no connection to it."""


@hookspec(firstresult=True)
def probe_target(ability: str) -> str | None:
    """Optional: checks before the first minute of work that the target can be used.

    Args:
        ability: the hook that will be called: ``open_runner``, ``benchmark_model`` or ``deploy_model``.

    Returns:
        One line on what was found, for example a tool's version.

    Raises:
        ToolNotFound, BoardNotFound, ServiceError: it cannot, and what to do.
    """


@hookspec(firstresult=True)
def open_runner(model: ModelFile, num_threads: int) -> EmbeddingRunner | None:
    """Optional: makes the target ready to compute embeddings (evaluation, prediction).

    Args:
        model: a model whose format the target ``accepts``.
        num_threads: threads that it may use.

    Raises:
        DataError: the file is not a model of its format, or has no single image input and embedding output.
    """


@hookspec(firstresult=True)
def benchmark_model(model: ModelFile, workdir: Path) -> BenchmarkReport | None:
    """Optional: measures memory and time of a model on the target.

    Args:
        model: a model whose format the target ``accepts``.
        workdir: existing folder for logs and reports.
    """


@hookspec(firstresult=True)
def deploy_model(model: ModelFile, workdir: Path) -> DeploymentReport | None:
    """Optional: builds the application with the model and writes it to the board.

    Args:
        model: a model whose format the target ``accepts``.
        workdir: existing folder for generated files and logs.
    """
