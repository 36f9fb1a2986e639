"""Contract of targets: boards and this computer (entry point group ``reidfw.targets``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reidfw_core.markers import hookspec
from reidfw_core.types import (
    ApplicationSettings,
    BenchmarkReport,
    CommandLine,
    DeploymentReport,
    EmbeddingRunner,
    MemoryEstimate,
    ModelFile,
    Progress,
    TargetInfo,
)


@hookspec(firstresult=True)
def describe_target() -> TargetInfo | None:
    """Facts on the target; cheap, no connection to it."""


@hookspec(firstresult=True)
def describe_abilities() -> Mapping[str, str] | None:
    """Optional: what the target can do here and now, for listings; starts no program, connects to nothing.

    Returns:
        One line by ability (the hook's name), for example the tool that was found.
    """


@hookspec(firstresult=True)
def estimate_memory(model: ModelFile) -> MemoryEstimate | None:
    """Optional: estimates from the file alone what a model takes, on whatever board.

    Args:
        model: a model whose format the target ``accepts``.

    Raises:
        DataError: the file is damaged.
    """


@hookspec(firstresult=True)
def estimate_by_tool(model: ModelFile, chosen_only: bool) -> Sequence[MemoryEstimate] | None:
    """Optional: what tools for this very target would make of a model, planned from the file within seconds.

    Args:
        model: a model whose format the target ``accepts``.
        chosen_only: ask the tool that would measure here and now, else every installed one.

    Returns:
        An estimate for each tool that can tell, whose ``method`` begins with the tool's name.
    """


@hookspec(firstresult=True)
def published_figures(model: ModelFile) -> Sequence[str] | None:
    """Optional: figures that somebody published for such a model on this target; never a measurement of this file.

    Args:
        model: the model; its name and the size of its image are looked at.

    Returns:
        One line a figure, each beginning with ``published`` and ending with its source and the tool's version.
    """


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
def open_runner(model: ModelFile, num_threads: int, workdir: Path, progress: Progress) -> EmbeddingRunner | None:
    """Optional: makes the target ready to compute embeddings (evaluation, prediction).

    Args:
        model: a model whose format the target ``accepts``.
        num_threads: threads that it may use.
        workdir: folder for logs and generated files; a target that writes any makes it.
        progress: told of long work.

    Raises:
        DataError: the file is not a model of its format, or has no single image input and embedding output.
    """


@hookspec(firstresult=True)
def benchmark_model(model: ModelFile, workdir: Path, progress: Progress) -> BenchmarkReport | None:
    """Optional: measures memory and time of a model on the target.

    Args:
        model: a model whose format the target ``accepts``.
        workdir: existing folder for logs and reports.
        progress: told of long work.
    """


@hookspec(firstresult=True)
def deploy_model(
    model: ModelFile, workdir: Path, app: ApplicationSettings, progress: Progress
) -> DeploymentReport | None:
    """Optional: builds the application with the model and writes it to the board.

    Args:
        model: a model whose format the target ``accepts``.
        workdir: existing folder for generated files and logs.
        app: what is compiled into the application.
        progress: told of long work.

    Raises:
        DataError: the model or the C project is not what the board needs.
        ToolNotFound, ToolFailed, BoardNotFound, DoesNotFit: the surroundings, with the cause; where something was
            written to the board, the message says what state it is in.
        KeyboardInterrupt: Ctrl-C; its text says what state the board is in.
    """


@hookspec(firstresult=True)
def list_commands(ability: str, model: ModelFile, workdir: Path) -> Sequence[CommandLine] | None:
    """Optional: tells which programs would be started, for ``reidfw run --dry-run``. Starts none of them.

    Args:
        ability: the hook that would be called.
        model: the model, which may not exist yet.
        workdir: the folder for generated files, which may not exist yet.

    Returns:
        The command lines in their order; what only the run itself can know stands in angle brackets.
    """


@hookspec(firstresult=True)
def compile_model(
    model: ModelFile, output: Path, input_mode: str | None, ram_limit_kib: float | None, kernels: str, verify: int
) -> DeploymentReport | None:
    """Optional: writes a model as source code that can be built into any firmware.

    Args:
        model: a model whose format the target ``accepts``.
        output: folder for the code; it exists.
        input_mode: ``resident`` for the whole image in memory, ``rows`` for one row after another, None for either.
        ram_limit_kib: the most working memory in KiB, None for no limit.
        kernels: which implementation of the heavy operators; ``plain`` runs everywhere.
        verify: with how many images the code is compared with the model.

    Returns:
        ``details`` hold what to tell the user, ``next_steps`` what to do with the code.

    Raises:
        DataError: the model is not one that can be written as code.
        DoesNotFit: it needs more memory than allowed.
        ToolNotFound: something that comparing needs is not installed.
    """
