"""Running a plan step by step."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog, fold
from reidfw_core.components import Component
from reidfw_core.config.modes import services
from reidfw_core.context import BOARD_FILES_DIR, STATE_DIR, RunContext
from reidfw_core.downloads import download, is_url
from reidfw_core.errors import ReidfwError, StepError, StorageError, ToolNotFound
from reidfw_core.files import STORAGE_ERRNOS, write_text
from reidfw_core.plan.planner import Plan, PlannedStep, make_plan, step_input
from reidfw_core.plan.sources import read_sources
from reidfw_core.plan.steps import ARTIFACTS
from reidfw_core.report.page import write_report
from reidfw_core.report.summary import SUMMARY_NAME
from reidfw_core.run.directory import (
    append_event,
    config_origin,
    create_run_dir,
    run_log,
    write_json,
    write_start,
)
from reidfw_core.run.resume import Continuation, FinishedStep
from reidfw_core.run.setup import import_frameworks, prepare_frameworks
from reidfw_core.run.summarize import summarize
from reidfw_core.services.deployment import GENERATED_DIR
from reidfw_core.services.fine_tuning import fine_tuning_settings
from reidfw_core.services.resuming import LAST_MODEL, check_resume_point
from reidfw_core.services.training import check_settings
from reidfw_core.types import BenchmarkReport, CommandLine, MemoryEstimate, ModelFile, ModelFormat

if TYPE_CHECKING:
    from reidfw_core.config import Configuration
    from reidfw_core.config.binding import BoundComponent

logger = logging.getLogger(__name__)

LOG_ONLY = {"log_only": True}
"""Marks records for the run's log file alone: the screen has shown them, or will show them in its own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step gave: its typed result, how long it took in seconds, and the model that it worked on."""

    planned: PlannedStep
    result: Any
    seconds: float
    model: ModelFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run: its folder and the results of its steps."""

    run_dir: Path
    operation_mode: str
    steps: tuple[StepResult, ...]


def open_bus(configuration: Configuration, listeners: Sequence[tuple[str, Component]] = ()) -> HookBus:
    """A bus with all components of the configuration, and with further listeners (of the command line, say).

    Raises:
        PluginBroken: a component does not keep its contract.
    """
    bus = HookBus()
    for bound in configuration.components.all():
        bus.add(bound.component, bound.name)
    for item in configuration.config.listeners:
        for bound in configuration.components.listeners:
            if fold(bound.name) == fold(item.name.rpartition("/")[2]) and item.on_error is not None:
                bus.set_error_policy(bound.component, item.on_error)
    for name, listener in listeners:
        bus.add(listener, name)
    return bus


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPrograms:
    """What a step would start.

    Attributes:
        title: the step's title.
        target: what it works with, for example a board.
        how: by what means, as the target tells it; None where it does not.
        commands: command lines and requests in their order; empty where the target lists none.
    """

    title: str
    target: str
    how: str | None
    commands: tuple[CommandLine, ...]


def planned_commands(plan: Plan, configuration: Configuration, bus: HookBus) -> tuple[PlannedPrograms, ...]:
    """The programs that the steps of a plan would start; starts none.

    Files that the run makes are named in angle brackets.
    """
    folder = Path("<run folder>")
    given = configuration.config.model.model_path
    known = {"open_runner": BOARD_FILES_DIR, "benchmark_model": BOARD_FILES_DIR, "deploy_model": GENERATED_DIR}
    told: list[PlannedPrograms] = []
    for planned in plan.steps:
        component, hook = planned.component, planned.step.hook
        if component is None or hook not in known or planned.takes is None:
            continue
        how, commands = None, ()
        if bus.supports(component.component, "describe_abilities"):
            how = bus.ask(component.component, "describe_abilities").get(hook)
        if bus.supports(component.component, "list_commands"):
            made = any(earlier.gives is not None for earlier in plan.steps[: planned.number - 1])
            path = Path(str(given)).expanduser() if given is not None and not made else None
            path = path or folder / f"<model>.{planned.takes.container}"
            commands = bus.ask(
                component.component,
                "list_commands",
                ability=hook,
                model=ModelFile(path=path, format=planned.takes, name=path.stem),
                workdir=folder / known[hook],
            )
        if how or commands:
            told.append(
                PlannedPrograms(title=planned.step.title, target=component.name, how=how, commands=tuple(commands))
            )
    return tuple(told)


def preflight(plan: Plan, configuration: Configuration, bus: HookBus) -> dict[type, Any]:
    """Finds what can be known to fail before the first minute of work.

    Reads the data sets' listings, asks targets whether they can be used, and lets Keras check optimizer and callbacks.

    Returns:
        The artifacts that the run begins with.

    Raises:
        ReidfwError: what is wrong.
    """
    for planned in plan.steps:
        if planned.component and planned.step.hook and bus.supports(planned.component.component, "probe_target"):
            found = bus.ask(planned.component.component, "probe_target", ability=planned.step.hook)
            logger.info("%s: %s", planned.component.name, found)
    config = configuration.config
    if config.dataset.check_image_files:  # decodes with TensorFlow, which must not start before its devices are set
        import_frameworks(config.general, config.training)
        artifacts = read_sources(plan, configuration, bus)
    else:  # mistakes in the data are found before the seconds that TensorFlow takes to start
        artifacts = read_sources(plan, configuration, bus)
        import_frameworks(config.general, config.training)
    check_training(configuration)
    check_fit(plan, configuration, bus)
    return artifacts


def check_fit(plan: Plan, configuration: Configuration, bus: HookBus) -> None:
    """Stops a run whose board cannot hold the model's weights; whatever else is tight is a warning.

    Raises:
        DoesNotFit: even with external memory there is no room for them.
        DataError: the model file is damaged.
    """
    from reidfw_core.services.fit import judge, require_weights_fit

    boards = [
        (planned.component, planned.step.hook)
        for planned in plan.steps
        if planned.component is not None and planned.step.hook in ("benchmark_model", "deploy_model")
    ]
    needed = _needed_memory(plan, configuration, bus) if boards else None
    if needed is None:
        return
    for board, step_hook in boards:
        info = bus.ask(board.component, "describe_target")
        require_weights_fit(board.name, info, needed)
        planned = _planned_by_tool(board, step_hook, plan, configuration, bus)
        for estimate in planned or (needed,):
            for reason in judge(info, estimate).reasons:
                logger.warning("%s: %s (%s)", board.name, reason, estimate.method)


def _planned_by_tool(
    board: BoundComponent, hook: str | None, plan: Plan, configuration: Configuration, bus: HookBus
) -> Sequence[MemoryEstimate]:
    """What the tool that will measure plans for the model file; empty where it does not tell, or there is none yet."""
    path = configuration.config.model.model_path
    quantizes = any(planned.step.name == "quantize" for planned in plan.steps)
    if hook != "benchmark_model" or path is None or is_url(str(path)) or quantizes:
        return ()
    if not bus.supports(board.component, "estimate_by_tool"):
        return ()
    found: Sequence[MemoryEstimate] = bus.ask(
        board.component, "estimate_by_tool", model=_local_model(str(path)), chosen_only=True
    )
    return found


def _needed_memory(plan: Plan, configuration: Configuration, bus: HookBus) -> MemoryEstimate | None:
    """What the board will have to hold: known from the model file, or from the architecture that is to be trained.

    None where it is not: the file is yet to be downloaded, or a package that reads it is not installed.
    """
    from reidfw_core.services.fit import after_quantization, estimate_architecture, estimate_file, installed_targets

    backbone, config = configuration.components.backbone, configuration.config
    quantizes = any(planned.step.name == "quantize" for planned in plan.steps)
    if backbone is not None and config.model.model_path is None and config.model.input_shape is not None:
        network = bus.ask(
            backbone.component,
            "build_backbone",
            input_shape=config.model.input_shape,
            pretrained=False,
            seed=config.general.global_seed,
        )
        return estimate_architecture(network, to_be_quantized=quantizes)
    if config.model.model_path is None or is_url(str(config.model.model_path)):
        return None
    model = _local_model(str(config.model.model_path))
    readers = HookBus()
    targets = [component for _, component in installed_targets(Catalog(), readers)]
    try:
        needed = estimate_file(model, readers, targets, to_be_quantized=quantizes)
    except ToolNotFound as cause:
        logger.info("Whether the model fits is not known before the board's tool is asked: %s", cause)
        return None
    return after_quantization(needed) if quantizes and model.format.container != "keras" else needed


def _local_model(text: str) -> ModelFile:
    path = Path(text).expanduser().absolute()
    return ModelFile(path=path, format=ModelFormat.of_file(path), name=path.stem)


def check_training(configuration: Configuration) -> None:
    """Checks what only Keras knows of the ``training`` section, where the mode trains or fine-tunes.

    Raises:
        DataError: an optimizer or a callback that Keras refuses, or a saved training that cannot be resumed.
    """
    config = configuration.config
    if config.training is None:
        return
    running = services(config.operation_mode, configuration.loaded.values)
    losses = configuration.components.losses
    knows_validation = config.dataset.validation_split_by == "image" or config.dataset.validation_path is not None
    if "training" in running:
        check_resume_point(config.training, config.model)
        check_settings(config.training, losses, knows_validation=knows_validation)
    if "fine_tuning" in running and config.quantization is not None:
        settings = fine_tuning_settings(config.training, config.quantization.qat)
        check_settings(settings, losses, knows_validation=knows_validation)


def given_model(configuration: Configuration, run_dir: Path) -> ModelFile | None:
    """The model of ``model.model_path``; one that is named by an address is downloaded into the run folder.

    Raises:
        ServiceError: the download fails.
    """
    text = configuration.config.model.model_path
    if text is None:
        return None
    return _local_model(str(download(str(text), run_dir) if is_url(str(text)) else text))


def run(
    configuration: Configuration,
    listeners: Sequence[tuple[str, Component]] = (),
    *,
    continued: Continuation | None = None,
) -> RunResult:
    """Plans, checks and runs.

    Nothing is written before plan and preflight are fine. After that the run folder tells how far the run came
    (``reidfw/status.json`` and ``reidfw/events.jsonl``), whatever happens.

    Args:
        configuration: the checked configuration.
        listeners: further listeners, each with its name.
        continued: the interrupted run to go on with, in its own folder.

    Raises:
        ReidfwError: see :mod:`reidfw_core.errors`; unexpected errors of a component become a StepError.
        KeyboardInterrupt: Ctrl-C, after the state has been written.
    """
    bus = open_bus(configuration, listeners)
    plan = make_plan(configuration, bus)
    for note in plan.notes:
        logger.warning(note)
    artifacts = preflight(plan, configuration, bus)
    general = configuration.config.general
    run_dir = continued.run_dir if continued else create_run_dir(_wanted_dir(configuration))
    context = RunContext(
        run_dir=run_dir,
        saved_models_dir=run_dir / general.saved_models_dir,
        logs_dir=run_dir / general.logs_dir,
        seed=general.global_seed,
        bus=bus,
    )
    with run_log(run_dir):
        if continued is None:
            write_start(run_dir, configuration, plan)
        for warning in configuration.warnings:
            logger.warning(warning, extra=LOG_ONLY)  # the screen showed it before the folder existed
        logger.info("operation_mode: %s", plan.operation_mode)
        logger.info("Run folder: %s", run_dir)
        prepare_frameworks(general)
        model = given_model(configuration, run_dir)
        if model is not None:
            artifacts[ModelFile] = model
        return _run_steps(plan, configuration, artifacts, context, continued.finished if continued else {})


def _wanted_dir(configuration: Configuration) -> Path:
    """``hydra.run.dir``; each computer of a training on several has a folder of its own."""
    wanted = Path(configuration.config.hydra.run.dir)
    training = configuration.config.training
    if training is None or training.distribution != "multi_worker":
        return wanted
    from reidfw_core._keras.distribution import worker_place

    place, _ = worker_place()
    return wanted if place == 0 else wanted.with_name(f"{wanted.name}_worker{place}")


def _run_steps(
    plan: Plan,
    configuration: Configuration,
    artifacts: dict[type, Any],
    context: RunContext,
    finished: Mapping[str, FinishedStep],
) -> RunResult:
    bus, run_dir = context.bus, context.run_dir
    done: list[StepResult] = []
    status = "failed"
    current: PlannedStep | None = None
    started = datetime.now(UTC)
    _write_status(run_dir, plan, "running", done, None)
    try:
        bus.tell(
            "run_started",
            run_dir=run_dir,
            project=configuration.config.general.project_name,
            operation_mode=plan.operation_mode,
            config=configuration.resolved,
            origin=config_origin(configuration),
        )
        for current in plan.steps:
            before = finished.get(current.key)
            if before is None:
                done.append(_run_step(current, len(plan.steps), configuration, artifacts, context))
            else:
                done.append(_take_over(current, before, artifacts))
        status = "finished"
        _write_status(run_dir, plan, status, done, None)
        _write_summary(done, configuration, context, status, started)
        logger.info("operation finished: %s", plan.operation_mode)
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        _note_failure(current, plan, done, status, error, context)
        try:
            _write_summary(done, configuration, context, status, started)
        except (OSError, ReidfwError) as cause:  # must not hide the error itself
            logger.warning("The summary of the run could not be written: %s", cause)
        raise
    finally:
        bus.tell("run_finished", run_dir=run_dir, status=status)
    return RunResult(run_dir=run_dir, operation_mode=plan.operation_mode, steps=tuple(done))


def _run_step(
    planned: PlannedStep, total: int, configuration: Configuration, artifacts: dict[type, Any], context: RunContext
) -> StepResult:
    step = planned.step
    context.bus.tell("step_started", step=planned.key, number=planned.number, total=total)
    append_event(context.run_dir, "step_started", step=planned.key)
    started = time.perf_counter()
    try:
        result = step.service(step_input(planned, artifacts, configuration), context)
    except ReidfwError:
        raise
    except OSError as cause:
        if cause.errno in STORAGE_ERRNOS:
            raise StorageError(f"{step.title}: cannot write to {context.run_dir}: {cause.strerror}") from cause
        raise _step_error(planned, cause) from cause
    except Exception as cause:
        raise _step_error(planned, cause) from cause
    seconds = time.perf_counter() - started
    worked_on = artifacts.get(ModelFile)
    if type(result) in ARTIFACTS:
        artifacts[type(result)] = result
    model = step.model_of(result)
    if model is not None:
        artifacts[ModelFile] = model
    write_json(
        context.run_dir / STATE_DIR / f"{planned.number:02d}-{planned.key}.json",
        {"step": planned.key, "seconds": seconds, "result": result},
    )
    metrics = step.metrics_of(result)
    if metrics:
        params = {planned.component.kind.rstrip("s"): planned.component.name} if planned.component else {}
        params |= step.labels_of(result)
        context.bus.tell("metrics_reported", step=planned.key, metrics=metrics, params=params)
    append_event(context.run_dir, "step_finished", step=planned.key, seconds=round(seconds, 3))
    context.bus.tell("step_finished", step=planned.key, seconds=seconds)
    logger.info("%s complete.", step.title)
    return StepResult(planned=planned, result=result, seconds=seconds, model=worked_on)


def _take_over(planned: PlannedStep, before: FinishedStep, artifacts: dict[type, Any]) -> StepResult:
    """The result of a step that an earlier, interrupted run had finished."""
    logger.info("%s was finished before.", planned.step.title)
    worked_on = artifacts.get(ModelFile)
    model = planned.step.model_of(before.result)
    if model is not None:
        artifacts[ModelFile] = model
    return StepResult(planned=planned, result=before.result, seconds=before.seconds, model=worked_on)


def _write_summary(
    done: Sequence[StepResult], configuration: Configuration, context: RunContext, status: str, started: datetime
) -> None:
    """Writes ``summary.json`` and, from it, ``report.html``."""
    boards = {
        step.planned.key: context.bus.ask(step.planned.component.component, "describe_target")
        for step in done
        if isinstance(step.result, BenchmarkReport) and step.planned.component is not None
    }
    summary = summarize(done, configuration, context.run_dir, status=status, started=started, boards=boards)
    write_text(context.run_dir / SUMMARY_NAME, summary.model_dump_json(indent=1) + "\n")
    context.bus.tell("artifact_saved", path=context.run_dir / SUMMARY_NAME, description="summary")
    page = write_report(context.run_dir)
    context.bus.tell("artifact_saved", path=page, description="report")


def _step_error(planned: PlannedStep, cause: Exception) -> StepError:
    who = (
        f", {planned.component.kind} '{planned.component.name}' of {planned.component.distribution}"
        if planned.component
        else ""
    )
    text = str(cause).strip() or "no message"
    return StepError(
        f"Step {planned.number} '{planned.key}'{who} failed: {type(cause).__name__}: {text}",
        hint="Run again with --debug to see the traceback.",
    )


def _note_failure(
    planned: PlannedStep | None,
    plan: Plan,
    done: list[StepResult],
    status: str,
    error: BaseException,
    context: RunContext,
) -> None:
    # The disk may be full or gone: what cannot be written now must not hide the error itself.
    step = planned.key if planned else "start"
    try:
        _write_status(context.run_dir, plan, status, done, step, str(error) or type(error).__name__)
        append_event(context.run_dir, f"step_{status}", step=step, error=f"{type(error).__name__}: {error}")
    except (OSError, StorageError) as cause:
        logger.warning("The state of the run could not be written: %s", cause)
    reason = str(error) or ("Ctrl-C" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
    hint = f"\nHint: {error.hint}" if isinstance(error, ReidfwError) and error.hint else ""
    logger.error("Step '%s' %s: %s%s", step, status, reason, hint, extra=LOG_ONLY)
    if planned is not None:
        logger.info("%s", _how_to_go_on(done, context))
        context.bus.tell("step_failed", step=planned.key, error=error)


def _how_to_go_on(done: list[StepResult], context: RunContext) -> str:
    trained = any(step.planned.step.name == "train" for step in done)
    if trained or (context.saved_models_dir / LAST_MODEL).is_file():
        what = "Training is done and kept." if trained else "The training is kept up to its last whole epoch."
        return f"{what} To go on: reidfw resume {shlex.quote(str(context.run_dir))}"
    config = shlex.quote(str(context.run_dir / STATE_DIR / "config.resolved.yaml"))
    return f"To start over with the same configuration: reidfw run {config} '~hydra'"


def _write_status(
    run_dir: Path, plan: Plan, status: str, done: list[StepResult], failed: str | None, error: str | None = None
) -> None:
    write_json(
        run_dir / STATE_DIR / "status.json",
        {
            "status": status,
            "process": os.getpid(),
            "computer": platform.node(),
            "operation_mode": plan.operation_mode,
            "finished_steps": [step.planned.key for step in done],
            "failed_step": failed,
            "error": error,
            "remaining_steps": [planned.key for planned in plan.steps[len(done) :]],
        },
    )
