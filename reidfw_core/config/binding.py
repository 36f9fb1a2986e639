"""From names in the configuration to components with checked parameters.

Each *selector* attribute names a component; the rest of its block belongs to that component's ``Params``. Only the
components that the operation mode needs are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import entry_points
from typing import Any

from reidfw_core.catalog import Catalog, CatalogEntry
from reidfw_core.components import Component, ComponentParams
from reidfw_core.config.aliases import lookup
from reidfw_core.config.checking import check, field_names
from reidfw_core.config.loading import LoadedConfig
from reidfw_core.config.modes import IMAGE_GROUPS, LEARNING, Group, services
from reidfw_core.config.sections import (
    CROSS_ENTROPY,
    BenchmarkingSection,
    DatasetSection,
    DeploymentSection,
    EvaluationSection,
    HardwareSetup,
    ListenerItem,
    LossItem,
    ModelSection,
    PredictionSection,
    QuantizationSection,
    RunConfig,
    StEdgeAiTool,
    ToolsSection,
    TripletLoss,
)
from reidfw_core.config.sources import TreePath, dotted
from reidfw_core.errors import (
    ConfigError,
    DataError,
    PluginBroken,
    PluginConflict,
    PluginIncompatible,
    PluginNotFound,
    Problem,
    ReidfwError,
)
from reidfw_core.hookspecs import KINDS

MLFLOW = "mlflow"
"""The listener to which the ``mlflow`` section belongs."""

AUTOMATIC_GROUP = "reidfw.automatic_listeners"
"""Entry point group that names listeners which join every run."""


@dataclass(frozen=True, slots=True)
class BoundComponent:
    """A component with its checked parameters.

    Attributes:
        kind: its kind, as in ``reidfw list``.
        name: its registered name.
        distribution: what brought it.
        version: version of that distribution.
        component: the instance.
    """

    kind: str
    name: str
    distribution: str
    version: str
    component: Any


@dataclass(frozen=True, slots=True)
class BoundLoss:
    """A term of the training loss, with its weight in the sum."""

    component: BoundComponent
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundComponents:
    """All components of a run; None and empty where the operation mode needs none."""

    reader: BoundComponent | None = None
    augmentations: tuple[BoundComponent, ...] = ()
    backbone: BoundComponent | None = None
    losses: tuple[BoundLoss, ...] = ()
    quantizer: BoundComponent | None = None
    comparison_target: BoundComponent | None = None
    evaluation_target: BoundComponent | None = None
    prediction_target: BoundComponent | None = None
    benchmark_target: BoundComponent | None = None
    deployment_target: BoundComponent | None = None
    listeners: tuple[BoundComponent, ...] = ()

    def all(self) -> Iterator[BoundComponent]:
        """Every bound component, in the order of the fields."""
        for field in fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if item is not None:
                    yield item.component if isinstance(item, BoundLoss) else item


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A mapping from which a component takes its parameters.

    Attributes:
        path: where it stands.
        values: what it holds.
        core_names: attributes of the core in it; a component that declares one of them gets it too.
        strict: whether names that neither core nor component knows are errors.
    """

    path: TreePath
    values: Mapping[str, Any]
    core_names: frozenset[str] = frozenset()
    strict: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A selector that names a component.

    Attributes:
        field: the field of :class:`BoundComponents` that the component goes to.
        kind: kind of component.
        reference: the name given.
        path: where it stands.
        blocks: where its parameters come from, the first one first.
        prefixes: tried before the name, in this order; the empty one is the name as it is.
        weight: of a loss.
        optional: a missing distribution is a warning.
    """

    field: str
    kind: str
    reference: str
    path: TreePath
    blocks: tuple[Block, ...]
    prefixes: tuple[str, ...] = ("",)
    weight: float = 1.0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """The outcome of binding all choices.

    Attributes:
        components: what could be bound.
        bound: the same with the choices that led to them.
        problems: what could not, each with the error behind it, if it was the catalog's or the plugin's.
        warnings: what the user should know.
    """

    components: BoundComponents
    bound: tuple[tuple[Choice, BoundComponent], ...]
    problems: tuple[tuple[Problem, ReidfwError | None], ...]
    warnings: tuple[str, ...]


def bind_components(config: RunConfig, loaded: LoadedConfig, catalog: Catalog) -> BoundComponents:
    """Loads the components that a configuration names, and checks their parameters.

    Args:
        config: the checked sections.
        loaded: the values behind them.
        catalog: the installed components.

    Raises:
        ConfigError: a component is not installed or refuses its parameters; all problems at once.
        PluginBroken, PluginIncompatible: the only problem is a component that cannot be loaded.
    """
    binding = bind(loaded, services(config.operation_mode, loaded.values), catalog)
    raise_problems([], binding)
    return binding.components


def raise_problems(before: Sequence[Problem], binding: Binding | None) -> None:
    """Raises the error for the problems of the sections and those of binding, if there are any.

    A broken or outdated plugin keeps its own error class, and exit code, where nothing else is wrong.
    """
    bound = list(binding.problems) if binding else []
    problems = [*before, *(problem for problem, _ in bound)]
    problems.sort(key=lambda problem: (problem.line is None, problem.line or 0))
    if not problems:
        return
    causes = [cause for _, cause in bound if cause is not None]
    surroundings = [cause for cause in causes if isinstance(cause, PluginBroken | PluginIncompatible)]
    if len(problems) == 1 and surroundings:
        cause = surroundings[0]
        raise type(cause)(str(problems[0]), hint=cause.hint) from cause
    hints = list(dict.fromkeys(cause.hint for cause in causes if cause.hint))
    error = ConfigError(problems, hint="\n".join(hints) or None)
    if len(surroundings) == len(problems):
        error.exit_code = PluginBroken.exit_code
    raise error


def bind(loaded: LoadedConfig, groups: frozenset[Group], catalog: Catalog) -> Binding:
    """Binds what the groups of services need; collects problems instead of raising."""
    found: dict[str, list[Any]] = {}
    pairs: list[tuple[Choice, BoundComponent]] = []
    problems: list[tuple[Problem, ReidfwError | None]] = []
    warnings: list[str] = []
    named = choices(loaded.values, groups)
    for choice in [*named, *automatic_listeners(catalog, named)]:
        try:
            if choice.kind == "augmentations" and ":" in choice.reference:
                found.setdefault(choice.field, []).append(_bind_function(choice, loaded))
                continue
            entry = _find(choice, loaded, catalog)
        except _ChoiceError as refusal:
            if choice.optional and isinstance(refusal.cause, PluginNotFound):
                warnings.append(
                    f"{loaded.sources.file}: the section '{choice.path[0]}' has no effect: no installed distribution "
                    f"brings the listener '{choice.reference}' (pip install {KINDS[choice.kind].package})"
                )
                continue
            problems.append((refusal.problem, refusal.cause))
            continue
        try:
            bound = _bind_one(choice, entry, loaded, catalog)
        except _ChoiceError as refusal:
            problems.append((refusal.problem, refusal.cause))
            problems += [(problem, None) for problem in refusal.more]
            continue
        pairs.append((choice, bound))
        found.setdefault(choice.field, []).append(
            BoundLoss(bound, choice.weight) if choice.field == "losses" else bound
        )
    several = {"augmentations", "losses", "listeners"}
    slots: dict[str, Any] = {name: tuple(items) if name in several else items[0] for name, items in found.items()}
    return Binding(BoundComponents(**slots), tuple(pairs), tuple(problems), tuple(warnings))


# --- which components a configuration names -----------------------------------------------------------------------


def choices(values: Mapping[str, Any], groups: frozenset[Group]) -> list[Choice]:
    """The components that a mode with these services needs. Blocks that are no mapping are left out: they are
    reported where their sections are checked."""
    chosen: list[Choice] = []
    if groups & IMAGE_GROUPS:
        chosen += _reader(values)
    if groups & LEARNING:
        chosen += _augmentations(values)
        chosen += _losses(values)
    if "training" in groups:
        chosen += _backbone(values)
    if "quantization" in groups:
        chosen += _selected(values, ("quantization",), "quantizer", "quantizer", "quantizers", QuantizationSection)
        chosen += _comparison_target(values)
    if "evaluation" in groups:
        chosen += _scoring_target(values, "evaluation", "evaluation_target", EvaluationSection)
    if "prediction" in groups:
        chosen += _scoring_target(values, "prediction", "prediction_target", PredictionSection)
    if "benchmarking" in groups:
        chosen += _selected(
            values, ("benchmarking",), "board", "benchmark_target", "targets", BenchmarkingSection, _tools(values)
        )
    if "deployment" in groups:
        chosen += _deployment_target(values)
    chosen += _listeners(values)
    return chosen


def _block(
    values: Mapping[str, Any], path: TreePath, *, core_names: frozenset[str], strict: bool = True
) -> Block | None:
    present, block = lookup(values, path)
    if not present or block is None:
        return Block(path=path, values={}, core_names=core_names, strict=strict)
    return Block(path=path, values=block, core_names=core_names, strict=strict) if isinstance(block, Mapping) else None


def _selected(
    values: Mapping[str, Any],
    path: TreePath,
    selector: str,
    field: str,
    kind: str,
    section: type[Any],
    more: tuple[Block, ...] = (),
) -> list[Choice]:
    """The component that ``selector`` names, with the section's default."""
    block = _block(values, path, core_names=field_names(section))
    if block is None:
        return []
    reference = _text(block.values.get(selector), section, selector)
    if reference is None:
        return []
    return [Choice(field=field, kind=kind, reference=reference, path=(*path, selector), blocks=(block, *more))]


def _text(given: Any, section: type[Any], selector: str) -> str | None:
    if given is None:
        default = section.model_fields[selector].default
        return default if isinstance(default, str) else None
    return str(given) if isinstance(given, str | int | float) else None


def _reader(values: Mapping[str, Any]) -> list[Choice]:
    return _selected(values, ("dataset",), "reader", "reader", "datasets", DatasetSection)


def _backbone(values: Mapping[str, Any]) -> list[Choice]:
    return _selected(values, ("model",), "model_name", "backbone", "backbones", ModelSection)


def _augmentations(values: Mapping[str, Any]) -> list[Choice]:
    functions = values.get("data_augmentation")
    if isinstance(functions, Mapping):
        return [
            Choice(
                field="augmentations",
                kind="augmentations",
                reference=str(name),
                path=("data_augmentation", str(name)),
                blocks=(Block(path=("data_augmentation", str(name)), values=arguments or {}),),
            )
            for name, arguments in functions.items()
            if arguments is None or isinstance(arguments, Mapping)
        ]
    custom = values.get("custom_data_augmentation")
    if not isinstance(custom, Mapping) or not isinstance(custom.get("function_name"), str):
        return []
    path: TreePath = ("custom_data_augmentation",)
    block = _block(custom, ("config",), core_names=frozenset())
    if block is None:
        return []
    return [
        Choice(
            field="augmentations",
            kind="augmentations",
            reference=custom["function_name"],
            path=(*path, "function_name"),
            blocks=(Block(path=(*path, "config"), values=block.values),),
        )
    ]


def _losses(values: Mapping[str, Any]) -> list[Choice]:
    training = values.get("training")
    training = training if isinstance(training, Mapping) else {}
    items = training.get("losses")
    if isinstance(items, list):
        return [
            Choice(
                field="losses",
                kind="losses",
                reference=str(item["name"]),
                path=("training", "losses", number, "name"),
                blocks=(Block(path=("training", "losses", number), values=item, core_names=field_names(LossItem)),),
                weight=_weight(item.get("weight")),
            )
            for number, item in enumerate(items)
            if isinstance(item, Mapping) and item.get("name") is not None
        ]
    chosen = [Choice(field="losses", kind="losses", reference=CROSS_ENTROPY, path=("training", "losses"), blocks=())]
    if "triplet_loss" in training:
        path: TreePath = ("training", "triplet_loss")
        triplet = _selected(values, path, "strategy", "losses", "losses", TripletLoss)
        chosen += [replace(choice, prefixes=("triplet_", "")) for choice in triplet]
    return chosen


def _weight(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 1.0


def _tools(values: Mapping[str, Any]) -> tuple[Block, ...]:
    """The ``tools`` section, and what is below ``stedgeai`` in it: a target takes from them what it declares."""
    outer = _block(values, ("tools",), core_names=field_names(ToolsSection), strict=False)
    inner = _block(values, ("tools", "stedgeai"), core_names=field_names(StEdgeAiTool), strict=False)
    return tuple(block for block in (outer, inner) if block is not None)


def _scoring_target(values: Mapping[str, Any], name: str, field: str, section: type[Any]) -> list[Choice]:
    return _selected(values, (name,), "target", field, "targets", section, _tools(values))


def _comparison_target(values: Mapping[str, Any]) -> list[Choice]:
    section = values.get("quantization")
    default = QuantizationSection.model_fields["compare_on"].default
    name = section.get("compare_on", default) if isinstance(section, Mapping) else None
    if not isinstance(name, str):
        return []
    path: TreePath = ("quantization", "compare_on")
    return [Choice(field="comparison_target", kind="targets", reference=name, path=path, blocks=())]


def _deployment_target(values: Mapping[str, Any]) -> list[Choice]:
    section = _block(values, ("deployment",), core_names=field_names(DeploymentSection))
    more = _tools(values) if section is None else (section, *_tools(values))
    return _selected(
        values, ("deployment", "hardware_setup"), "board", "deployment_target", "targets", HardwareSetup, more
    )


def _listeners(values: Mapping[str, Any]) -> list[Choice]:
    chosen: list[Choice] = []
    if MLFLOW in values:
        block = _block(values, (MLFLOW,), core_names=frozenset())
        if block is not None:
            chosen.append(
                Choice(
                    field="listeners",
                    kind="listeners",
                    reference=MLFLOW,
                    path=(MLFLOW,),
                    blocks=(block,),
                    optional=True,
                )
            )
    items = values.get("listeners")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, Mapping) and item.get("name") is not None:
            path: TreePath = ("listeners", number)
            chosen.append(
                Choice(
                    field="listeners",
                    kind="listeners",
                    reference=str(item["name"]),
                    path=(*path, "name"),
                    blocks=(Block(path=path, values=item, core_names=field_names(ListenerItem)),),
                )
            )
    return chosen


def automatic_listeners(catalog: Catalog, named: Sequence[Choice]) -> list[Choice]:
    """Installed listeners that join every run (group ``reidfw.automatic_listeners``), unless they are named anyway."""
    installed = {entry.name for entry in catalog.entries("listeners")}
    given = {choice.reference.rpartition("/")[2] for choice in named if choice.kind == "listeners"}
    joining = sorted({point.name for point in entry_points(group=AUTOMATIC_GROUP)} & installed - given)
    return [
        Choice(field="listeners", kind="listeners", reference=name, path=("listeners",), blocks=()) for name in joining
    ]


# --- loading and parameters -----------------------------------------------------------------------------------------


class _ChoiceError(Exception):
    """A choice that cannot be bound."""

    def __init__(self, problem: Problem, cause: ReidfwError | None, more: Sequence[Problem] = ()) -> None:
        super().__init__(problem.message)
        self.problem, self.cause, self.more = problem, cause, tuple(more)


def _find(choice: Choice, loaded: LoadedConfig, catalog: Catalog) -> CatalogEntry:
    first: PluginNotFound | None = None
    for prefix in choice.prefixes:
        distribution, slash, name = choice.reference.rpartition("/")
        try:
            return catalog.find(choice.kind, f"{distribution}{slash}{prefix}{name}")
        except PluginNotFound as cause:
            first = first or cause
        except (PluginConflict, PluginIncompatible) as cause:
            raise _ChoiceError(loaded.sources.problem(choice.path, cause.message), cause) from cause
    assert first is not None
    names = sorted({entry.name for entry in catalog.entries(choice.kind)}, key=str.lower)
    prefix = choice.prefixes[0]
    shown = [name.removeprefix(prefix) for name in names if name.startswith(prefix)] if prefix else names
    kind = KINDS[choice.kind]
    if not names:
        message = f"needs '{choice.reference}', but no {kind.name} are installed at all"
    else:
        message = f"there is no '{choice.reference}' among the installed {kind.name}"
    problem = loaded.sources.problem(choice.path, message, allowed=shown, given=choice.reference)
    absent = PluginNotFound(message, hint=f"pip install {kind.package}" if not names else None)
    raise _ChoiceError(problem, absent) from first


def _bind_one(choice: Choice, entry: CatalogEntry, loaded: LoadedConfig, catalog: Catalog) -> BoundComponent:
    try:
        component_class = catalog.load(choice.kind, entry.reference)
    except (PluginBroken, PluginConflict, PluginIncompatible, PluginNotFound) as cause:
        raise _ChoiceError(loaded.sources.problem(choice.path, cause.message), cause) from cause
    params = _params(choice, component_class, loaded)
    try:
        component: Component = component_class(params)
    except Exception as cause:
        broken = PluginBroken(
            f"{choice.kind} '{entry.name}' of {entry.distribution} {entry.version} cannot be made: "
            f"{type(cause).__name__}: {cause}",
            hint="Report this to the maintainers of the plugin.",
        )
        raise _ChoiceError(loaded.sources.problem(choice.path, broken.message), broken) from cause
    return BoundComponent(entry.kind, entry.name, entry.distribution, entry.version, component)


def _bind_function(choice: Choice, loaded: LoadedConfig) -> BoundComponent:
    """An augmentation function of the user's own as a component."""
    from reidfw_core.custom_augmentation import CustomAugmentation

    try:
        component = CustomAugmentation.of(choice.reference, choice.blocks[0].values)
    except DataError as cause:
        raise _ChoiceError(loaded.sources.problem(choice.path, cause.message), cause) from cause
    return BoundComponent("augmentations", choice.reference, "a function of your own", "", component)


def _params(choice: Choice, component_class: type[Component], loaded: LoadedConfig) -> ComponentParams:
    declared = field_names(component_class.Params)
    blocks = choice.blocks or (Block(path=choice.path[:-1], values={}),)
    known = frozenset[str]().union(*(block.core_names for block in blocks if block.strict))
    values: dict[str, Any] = {}
    origin: dict[str, TreePath] = {}
    for block in blocks:
        for name, value in block.values.items():
            if name in values:
                continue
            if name in declared or (block.strict and name not in block.core_names):
                values[name], origin[name] = value, (*block.path, name)
    main = blocks[0].path
    sources = loaded.sources
    for name, path in origin.items():  # the parameters of all blocks are checked as if they stood in the first one
        if path[:-1] != main:
            sources = sources.copied(path, (*main, name))
    checked = check(component_class.Params, values, main, sources, also_known=known)
    if checked.value is None:
        problems = [_at_home(problem, origin, main) for problem in checked.problems]
        raise _ChoiceError(problems[0], None, problems[1:])
    return checked.value


def _at_home(problem: Problem, origin: Mapping[str, TreePath], main: TreePath) -> Problem:
    """Names the block in which the user wrote the attribute."""
    for name, path in origin.items():
        shown = dotted((*main, name))
        if path[:-1] != main and (problem.where == shown or problem.where.startswith((f"{shown}.", f"{shown}["))):
            return replace(problem, where=dotted(path) + problem.where[len(shown) :])
    return problem
