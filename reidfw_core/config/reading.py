"""Reading a configuration completely: values, sections, components, paths; all problems at once."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, RootModel

from reidfw_core.catalog import Catalog
from reidfw_core.config.aliases import has
from reidfw_core.config.binding import Binding, BoundComponents, bind, raise_problems
from reidfw_core.config.checking import check, surplus_attributes, unknown_attributes
from reidfw_core.config.expressions import layer_slices_note
from reidfw_core.config.loading import LoadedConfig, load_config
from reidfw_core.config.modes import (
    IGNORED_SECTIONS,
    IMAGE_GROUPS,
    LEARNING,
    OPERATION_MODES,
    WITH_DEFAULTS,
    Group,
    OperationMode,
    is_needed,
    is_required,
    services,
)
from reidfw_core.config.sections import (
    AppSection,
    BenchmarkingSection,
    CustomDataAugmentationSection,
    DataAugmentationSection,
    DatasetSection,
    DeploymentSection,
    EvaluationSection,
    GeneralSection,
    HydraSection,
    ListenerItem,
    MlflowSection,
    ModelSection,
    PredictionSection,
    PreprocessingSection,
    QuantizationSection,
    RunConfig,
    ToolsSection,
    TrainingSection,
)
from reidfw_core.config.sources import TreePath, dotted
from reidfw_core.errors import Problem, nearest_match
from reidfw_core.types import Role

SECTION_MODELS: Mapping[str, type[BaseModel]] = {
    "general": GeneralSection,
    "model": ModelSection,
    "dataset": DatasetSection,
    "preprocessing": PreprocessingSection,
    "data_augmentation": DataAugmentationSection,
    "custom_data_augmentation": CustomDataAugmentationSection,
    "training": TrainingSection,
    "quantization": QuantizationSection,
    "evaluation": EvaluationSection,
    "prediction": PredictionSection,
    "tools": ToolsSection,
    "benchmarking": BenchmarkingSection,
    "deployment": DeploymentSection,
    "app": AppSection,
    "mlflow": MlflowSection,
    "hydra": HydraSection,
}
"""The model of each section, in the order in which complaints are shown where lines do not tell."""

RETRIEVAL_METRICS = frozenset({"val_map", "val_rank1"})
"""Metrics of a validation set, in lower case, that mean something only for identities that were not trained on."""

TOP_LEVEL = frozenset({"operation_mode", "listeners", *SECTION_MODELS, *IGNORED_SECTIONS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A checked configuration with its components.

    Attributes:
        config: the sections.
        components: the components that they name.
        loaded: the values behind them, and where each was written.
        warnings: what the user should know, one line each.
        resolved: plain values, for saving and for trackers; reading them again gives the same configuration.
    """

    config: RunConfig
    components: BoundComponents
    loaded: LoadedConfig
    warnings: tuple[str, ...]
    resolved: dict[str, Any]


def read_config(
    path: Path | None, overrides: Sequence[str], catalog: Catalog, *, check_paths: bool = True
) -> Configuration:
    """Reads and checks a configuration.

    Args:
        path: the YAML file; None begins with nothing.
        overrides: in Hydra's syntax.
        catalog: the installed components.
        check_paths: whether files and folders must exist.

    Raises:
        ConfigError: anything is wrong; holds all problems, sorted by line.
        PluginBroken, PluginIncompatible: the only problem is a component that cannot be loaded.
    """
    loaded = load_config(path, overrides)
    review = _Review(loaded)
    review.check_top_level()
    mode = review.operation_mode()
    binding: Binding | None = None
    if mode is None:
        review.check_sections("no valid operation_mode", frozenset())
    else:
        groups = services(mode, loaded.values)
        review.check_sections(mode, groups)
        review.check_combinations(mode, groups)
        binding = bind(loaded, groups, catalog)
        review.check_data_sets(mode, groups, binding.components)
        if check_paths:
            review.check_paths(groups, binding.components)
        binding = replace(binding, problems=_not_yet_told(binding, review.problems))
    raise_problems(review.problems, binding)
    assert mode is not None
    assert binding is not None
    config = review.run_config(mode)
    return Configuration(
        config=config,
        components=binding.components,
        loaded=loaded,
        warnings=(*loaded.warnings, *review.warnings, *binding.warnings),
        resolved=resolved_values(loaded.values, config, binding),
    )


def resolved_values(values: Mapping[str, Any], config: RunConfig, binding: Binding) -> dict[str, Any]:
    """The values with the defaults of the sections that are read, and of their components, filled in.

    A run can be repeated from them although defaults may change in a later version. Attributes that are switched off by
    default are left out.
    """
    resolved: dict[str, Any] = {name: copy.deepcopy(value) for name, value in values.items()}
    for name in SECTION_MODELS:
        section = getattr(config, name)
        if isinstance(section, BaseModel) and not isinstance(section, RootModel):
            resolved[name] = _with_defaults(resolved.get(name), section)
    for choice, bound in binding.bound:
        if choice.blocks:
            owned = frozenset[str]().union(*({*block.core_names, *block.values} for block in choice.blocks[1:]))
            _fill_block(resolved, choice.blocks[0].path, bound.component.params, owned)
    return resolved


def _with_defaults(values: Any, model: BaseModel, besides: frozenset[str] = frozenset()) -> dict[str, Any]:
    filled: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        given = filled.get(name)
        if isinstance(value, BaseModel) and (given is None or isinstance(given, Mapping)) and name != "optimizer":
            inner = _with_defaults(given, value)
            if inner:
                filled[name] = inner
        elif given is None and name not in besides and isinstance(value, str | bool | int | float | Path):
            filled[name] = str(value) if isinstance(value, Path) else value
    return filled


def _fill_block(resolved: dict[str, Any], path: TreePath, params: BaseModel, besides: frozenset[str]) -> None:
    holder: Any = resolved
    for step in path[:-1]:
        if not has(holder, step):
            return
        holder = holder[step]
    last = path[-1]
    if isinstance(holder, dict) or has(holder, last):
        given = holder[last] if has(holder, last) else None
        filled = _with_defaults(given, params, besides)
        if filled or given is not None:
            holder[last] = filled


def _not_yet_told(binding: Binding, problems: Sequence[Problem]) -> tuple[tuple[Problem, Any], ...]:
    """Where the core and a component refuse the same value, one complaint is enough."""
    told = {problem.where for problem in problems}
    return tuple((problem, cause) for problem, cause in binding.problems if problem.where not in told)


class _Review:
    """Collects the problems of one configuration."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self.loaded = loaded
        self.values = loaded.values
        self.sources = loaded.sources
        self.problems: list[Problem] = list(loaded.problems)
        self.warnings: list[str] = []
        self.sections: dict[str, Any] = {}
        self.placeholders: dict[TreePath, str] = {}

    def complain(self, path: TreePath, message: str, **details: Any) -> None:
        """Adds a problem, unless one was found at that place, or below it, before."""
        where = dotted(path)
        if path in self.placeholders:
            message = f"is still the placeholder {self.placeholders[path]}; give the real value"
        if not any(problem.where.startswith((f"{where}.", f"{where}[")) for problem in self.problems):
            self._add([self.sources.problem(path, message, **details)])

    def _add(self, problems: Sequence[Problem]) -> None:
        told = {problem.where for problem in self.problems}
        self.problems += [problem for problem in problems if problem.where not in told]

    def warn(self, path: TreePath, message: str) -> None:
        """Adds a warning with the attribute's place."""
        place = self.sources.place(path)
        where = place.file if place.line is None else f"{place.file}:{place.line}"
        self.warnings.append(f"{where}: {dotted(path)} {message}")

    # --- top level ---

    def check_top_level(self) -> None:
        """Unknown and ignored top-level attributes."""
        for name in self.values:
            if name in IGNORED_SECTIONS:
                self.warn((name,), "is accepted and has no effect")
            elif name not in TOP_LEVEL:
                self.complain((name,), "is no section", allowed=sorted(TOP_LEVEL - IGNORED_SECTIONS), given=name)
        if "mlflow" not in self.values:
            self.warnings.append(f"{self.sources.file}: there is no 'mlflow' section: MLflow does not track this run")

    def operation_mode(self) -> OperationMode | None:
        """The operation mode, None where it is absent or unknown."""
        given = self.values.get("operation_mode")
        if given is None:
            message = "is required and needs a value" if "operation_mode" in self.values else "is required and missing"
            self.complain(("operation_mode",), message, allowed=OPERATION_MODES)
            return None
        for mode in OPERATION_MODES:
            if str(given).lower() == mode:
                return mode
        self.complain(("operation_mode",), f"'{given}' is not allowed", allowed=OPERATION_MODES, given=str(given))
        return None

    # --- sections ---

    def check_sections(self, mode: str, groups: frozenset[Group]) -> None:
        """Each section that the mode needs against its model; the names alone in the others."""
        for name, model in SECTION_MODELS.items():
            if is_needed(name, groups):
                self._check_section(name, model, mode, groups)
            elif name in self.values:
                for problem in unknown_attributes(model, self.values[name], (name,), self.sources):
                    near = f" (did you mean '{problem.nearest}'?)" if problem.nearest else ""
                    place = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
                    self.warnings.append(f"{place}: {problem.where} {problem.message}{near}; {mode} does not read it")
        self._check_listeners()

    def _check_section(self, name: str, model: type[BaseModel], mode: str, groups: frozenset[Group]) -> None:
        values = self._with_dependent_defaults(name, self.values.get(name))
        if values is None or values == {}:
            if is_required(name, groups):
                what = "is empty" if name in self.values else "is missing"
                self.complain((name,), f"this section {what}; {_asker(mode, groups, name)} needs it")
                return
            if name not in WITH_DEFAULTS:
                return
        checked = check(model, values or {}, (name,), self.sources)
        self._add(checked.problems)
        self.placeholders |= checked.placeholders
        for path, text in checked.placeholders.items():
            if not any(problem.where == dotted(path) for problem in checked.problems):
                self.warn(path, f"is the placeholder {text}, which counts as not given")
        if checked.value is not None:
            self.sections[name] = checked.value
        elif isinstance(values, Mapping):
            # The sound attributes alone, so that the rules between sections find what else is wrong.
            faulty = {
                problem.where.split(".")[1].partition("[")[0] for problem in checked.problems if "." in problem.where
            }
            sound = check(
                model, {key: value for key, value in values.items() if key not in faulty}, (name,), self.sources
            )
            if faulty and sound.value is not None:
                self.sections[name] = sound.value

    def _with_dependent_defaults(self, name: str, values: Any) -> Any:
        """Defaults that follow from other sections.

        A training that is judged by retrieval holds whole identities out; and held-out identities cannot be scored by
        the classifier, so that the best epoch is then told by the mAP.
        """
        if name == "dataset" and isinstance(values, Mapping) and values.get("validation_split_by") is None:
            return {**values, "validation_split_by": "identity" if self._watches_retrieval() else "image"}
        dataset = self.sections.get("dataset")
        if name != "training" or not isinstance(values, Mapping) or dataset is None:
            return values
        if dataset.validation_split_by == "identity" and dataset.validation_path is None:
            return {**values, "checkpoint_monitor": values.get("checkpoint_monitor") or "val_mAP"}
        return values

    def _watches_retrieval(self) -> bool:
        training = self.values.get("training")
        training = training if isinstance(training, Mapping) else {}
        callbacks = training.get("callbacks")
        watched = [training.get("checkpoint_monitor")] + [
            arguments.get("monitor")
            for arguments in (callbacks.values() if isinstance(callbacks, Mapping) else ())
            if isinstance(arguments, Mapping)
        ]
        return any(str(metric).lower() in RETRIEVAL_METRICS for metric in watched)

    def _check_listeners(self) -> None:
        items = self.values.get("listeners")
        if items is None:
            return
        if not isinstance(items, list):
            self.complain(("listeners",), "a list is expected, each item with a name")
            return
        checked = [check(ListenerItem, item, ("listeners", number), self.sources) for number, item in enumerate(items)]
        for one in checked:
            self._add(one.problems)
        self.sections["listeners"] = tuple(one.value for one in checked)

    # --- rules between sections ---

    def check_combinations(self, mode: OperationMode, groups: frozenset[Group]) -> None:
        """What concerns more than one attribute, or the mode."""
        model: ModelSection | None = self.sections.get("model")
        if model is not None and "training" not in groups and model.model_path is None:
            self.complain(
                ("model", "model_path"),
                f"is required: operation_mode {mode} works on a model file, only training builds a model from a name",
            )
        if model is not None and ("training" not in groups or model.model_name is None):
            self._add(surplus_attributes(model, ("model",), self.sources))
        dataset: DatasetSection | None = self.sections.get("dataset")
        if dataset is not None and not groups & IMAGE_GROUPS:
            for problem in surplus_attributes(dataset, ("dataset",), self.sources):
                self.warn(("dataset", problem.where.partition(".")[2]), f"has no effect in operation_mode {mode}")
        if model is not None and model.alpha is not None:
            self.warn(("model", "alpha"), "has no effect: a backbone's width is part of its name")
        if groups & LEARNING and self.values.get("data_augmentation") and self.values.get("custom_data_augmentation"):
            self.complain(("custom_data_augmentation",), "excludes data_augmentation; keep one of the two sections")
        preprocessing: PreprocessingSection | None = self.sections.get("preprocessing")
        if preprocessing is not None and preprocessing.rescaling is None and groups & IMAGE_GROUPS:
            self.complain(("preprocessing", "rescaling"), f"is required in operation_mode {mode}: scale and offset")
        training = self.values.get("training")
        if "training" in self.sections and isinstance(training, Mapping):
            note = layer_slices_note(training.get("frozen_layers"))
            if note:
                self.warn(("training", "frozen_layers"), note)
            if self.sections["training"].resume_training_from is True and model is not None and not model.model_path:
                self.complain(
                    ("training", "resume_training_from"),
                    "is True, so model.model_path must be the last_augmented_model.keras to go on from; or give its "
                    "path here",
                )

    def check_data_sets(self, mode: OperationMode, groups: frozenset[Group], components: BoundComponents) -> None:
        """The data sets without which the mode cannot run; a reader that needs no folders is not asked for any."""
        dataset: DatasetSection | None = self.sections.get("dataset")
        if dataset is None or components.reader is None or not components.reader.component.needs_paths:
            return
        by_mode = "evaluation" in groups
        groups = self._with_scoring(groups)
        for role in _required_roles(groups, self.sections.get("prediction")):
            if dataset.path_of(role) is None:
                instead = ", or prediction.gallery_index instead" if role == "prediction_gallery" else ""
                asker = "quantization_type QAT" if groups & LEARNING == {"fine_tuning"} else f"operation_mode {mode}"
                self.complain(("dataset", f"{role}_path"), f"is required in {asker}{instead}")
        if "evaluation" in groups and "training" not in groups:
            roles: tuple[Role, ...] = ("test_query", "test_gallery", "validation", "training")
            if all(dataset.path_of(role) is None for role in roles):
                self.complain(
                    ("dataset",) if by_mode else ("quantization", "max_map_drop"),
                    f"operation_mode {mode} needs images to evaluate"
                    if by_mode
                    else "needs images to measure mAP with",
                    allowed="test_query_path with test_gallery_path, or validation_path, or training_path",
                )
        one, other = "test_query_path", "test_gallery_path"
        if (dataset.test_query_path is None) != (dataset.test_gallery_path is None) and groups & {
            "training",
            "evaluation",
        }:
            given, absent = (one, other) if dataset.test_gallery_path is None else (other, one)
            self.complain(("dataset", absent), f"is required beside {given}: queries are searched in the gallery")

    def _with_scoring(self, groups: frozenset[Group]) -> frozenset[Group]:
        """A limit on the loss of mAP reads the images of an evaluation, in each mode that quantizes."""
        section: QuantizationSection | None = self.sections.get("quantization")
        limited = "quantization" in groups and section is not None and section.max_map_drop is not None
        return groups | {"evaluation"} if limited else groups

    # --- paths ---

    def check_paths(self, groups: frozenset[Group], components: BoundComponents) -> None:
        """Files and folders that the mode reads."""
        groups = self._with_scoring(groups)
        for path, value, is_folder in self._paths(groups, components):
            absolute = value.expanduser().absolute()
            if absolute.is_dir() if is_folder else absolute.is_file():
                continue
            if absolute.exists():
                what = f"is no {'folder' if is_folder else 'file'}: {absolute}"
                self.complain(path, what)
                continue
            siblings = [item.name for item in absolute.parent.iterdir()] if absolute.parent.is_dir() else []
            near = nearest_match(absolute.name, siblings)
            known = next(parent for parent in absolute.parents if parent.is_dir())
            what = "folder" if is_folder else "file"
            self._add(
                [
                    Problem(
                        where=dotted(path),
                        message=f"there is no {what} {absolute}"
                        + (f"; {known} is the last folder on the way that exists" if known != absolute.parent else ""),
                        nearest=near,
                        file=self.sources.place(path).file,
                        line=self.sources.place(path).line,
                    )
                ]
            )

    def _paths(self, groups: frozenset[Group], components: BoundComponents) -> Iterator[tuple[TreePath, Path, bool]]:
        model: ModelSection | None = self.sections.get("model")
        if model is not None and model.model_path is not None and not model.is_url:
            yield ("model", "model_path"), Path(model.model_path), False
        if model is not None and "training" in groups and isinstance(model.pretrained, Path):
            name = "pretrained" if model.pretrained_weights is None else "pretrained_weights"
            yield ("model", name), model.pretrained, False
        dataset: DatasetSection | None = self.sections.get("dataset")
        reader = components.reader
        if dataset is not None and (reader is None or reader.component.needs_paths):
            for role in _read_roles(groups, dataset):
                folder = dataset.path_of(role)
                if folder is not None:
                    single = role == "prediction_query" and Path(folder).is_file()
                    yield ("dataset", f"{role}_path"), folder, not single
        training: TrainingSection | None = self.sections.get("training")
        if training is not None and "training" in groups and isinstance(training.resume_training_from, Path):
            resumed = training.resume_training_from
            yield ("training", "resume_training_from"), resumed, resumed.expanduser().is_dir()
        prediction: PredictionSection | None = self.sections.get("prediction")
        if prediction is not None and "prediction" in groups:
            if prediction.gallery_index is not None:
                yield ("prediction", "gallery_index"), prediction.gallery_index, False
            if isinstance(prediction.threshold, Path):
                yield ("prediction", "threshold"), prediction.threshold, False
        yield from self._tool_paths(groups)

    def _tool_paths(self, groups: frozenset[Group]) -> Iterator[tuple[TreePath, Path, bool]]:
        tools: ToolsSection | None = self.sections.get("tools")
        if tools is not None and not tools.stedgeai.on_cloud and groups & {"benchmarking", "deployment"}:
            tool = tools.stedgeai.path_to_stedgeai
            if tool is not None and shutil.which(str(tool)) is None and not tool.expanduser().is_dir():
                yield ("tools", "stedgeai", "path_to_stedgeai"), tool, False
        if tools is not None and "deployment" in groups and tools.path_to_cubeIDE is not None:
            yield ("tools", "path_to_cubeIDE"), tools.path_to_cubeIDE, False
        deployment: DeploymentSection | None = self.sections.get("deployment")
        if deployment is not None:
            yield ("deployment", "c_project_path"), deployment.c_project_path, True

    # --- the result ---

    def run_config(self, mode: OperationMode) -> RunConfig:
        """The sections together."""
        return RunConfig(operation_mode=mode, **self.sections)


def _asker(mode: str, groups: frozenset[Group], section: str) -> str:
    """What asks for a section that is required."""
    return f"operation_mode {mode}" if is_required(section, groups - {"fine_tuning"}) else "quantization_type QAT"


def _required_roles(groups: frozenset[Group], prediction: PredictionSection | None) -> tuple[Role, ...]:
    if groups & LEARNING:
        return ("training",)
    if "prediction" in groups:
        by_index = prediction is not None and prediction.gallery_index is not None
        return ("prediction_query",) if by_index else ("prediction_query", "prediction_gallery")
    return ()


def _read_roles(groups: frozenset[Group], dataset: DatasetSection) -> tuple[Role, ...]:
    """The data sets that a mode reads, where they are given."""
    roles: list[Role] = []
    if groups & LEARNING:
        roles += ["training", "validation"]
    if groups & {"training", "evaluation"}:
        roles += ["test_query", "test_gallery"]
        if dataset.test_query_path is None:
            roles += ["validation", "training"]
    if "quantization" in groups:
        roles += ["quantization"] if dataset.quantization_path is not None else ["training"]
    if "prediction" in groups:
        roles += ["prediction_query", "prediction_gallery"]
    return tuple(dict.fromkeys(roles))
