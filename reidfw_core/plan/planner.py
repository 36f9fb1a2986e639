"""Making the plan of a run: which steps, with which components, on which model formats.

Pure: reads the configuration and the components' class facts, opens no file, imports no framework.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog
from reidfw_core.config.modes import QUANTIZATION_AWARE
from reidfw_core.errors import PlanError, ReidfwError
from reidfw_core.hookspecs import KINDS
from reidfw_core.imaging.spec import CHANNELS
from reidfw_core.plan.chains import CHAINS
from reidfw_core.plan.steps import ARTIFACTS, STEPS, Step
from reidfw_core.types import ModelFile, ModelFormat, Role

if TYPE_CHECKING:
    from reidfw_core.config import Configuration
    from reidfw_core.config.binding import BoundComponent


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step of a plan.

    Attributes:
        number: its place, from 1.
        step: what it is.
        component: what does the work, None where the core does.
        takes, gives: model formats before and after, None where there is no model.
        key: unique name within the plan, ``evaluate`` or ``evaluate_2``.
        data: what it reads, for people.
    """

    number: int
    key: str
    step: Step
    component: BoundComponent | None
    takes: ModelFormat | None
    gives: ModelFormat | None
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked list of steps.

    Attributes:
        operation_mode: the mode that it was made for.
        steps: the steps in order.
        roles: the data sets that will be read.
        notes: what the user should know before it starts.
    """

    operation_mode: str
    steps: tuple[PlannedStep, ...]
    roles: tuple[Role, ...]
    notes: tuple[str, ...]


def make_plan(configuration: Configuration, bus: HookBus) -> Plan:
    """Plans a run.

    Args:
        configuration: the checked configuration.
        bus: holds all bound components; asked what they support.

    Raises:
        PlanError: a step lacks an input, a component cannot do what its step needs, or formats do not fit together.
    """
    mode = configuration.config.operation_mode
    available = available_roles(configuration)
    current = _given_model(configuration)
    prediction = configuration.config.prediction
    index = prediction.gallery_index if prediction is not None else None
    steps: list[PlannedStep] = []
    notes = [*_pixel_range_notes(configuration), *_unused_quantization_notes(configuration)]
    if index is not None and mode == "prediction" and configuration.config.dataset.prediction_gallery_path:
        notes.append("prediction.gallery_index is searched; dataset.prediction_gallery_path has no effect beside it")
    for place, name in enumerate(CHAINS[mode]):
        step = STEPS[name.rstrip("?")]
        if name.endswith("?") and not _has_inputs(step, configuration, available, steps, notes):
            continue
        where = f"{mode}, step {len(steps) + 1} '{step.name}'"
        component = _component(configuration, bus, step, where)
        if current is None and step.name != "train":
            raise PlanError(
                f"{where}: needs a model", hint="Give model.model_path, or a chain that begins with training."
            )
        if step.name == "evaluate" and "quantize" in CHAINS[mode][place:]:
            component = _float_target(configuration, component, current, where, notes)
        data = _data(step, available, where, index, allow_random=configuration.config.dataset.quantization_allow_random)
        takes = None if step.name == "train" and configuration.config.model.model_path is None else current
        file = configuration.config.model.model_path if not steps else None
        if step.name == "quantize" and map_is_limited(configuration):
            data += f"; {_scored_images(available, where)}"
            _check_search(configuration, bus, component, current, available, where)
        gives = _follow_format(step, component, takes, f"{where} on {file}" if file else where)
        same = sum(planned.step is step for planned in steps)
        steps.append(
            PlannedStep(
                number=len(steps) + 1,
                key=step.name if not same else f"{step.name}_{same + 1}",
                step=step,
                component=component,
                takes=takes,
                gives=gives,
                data=data,
            )
        )
        current = gives or current
    _check_instances(configuration)
    _check_input(configuration)
    if any(planned.step.name == "evaluate" for planned in steps):
        _check_evaluation(configuration, available)
    roles = _roles(steps, available, index, scores=map_is_limited(configuration))
    return Plan(operation_mode=mode, steps=tuple(steps), roles=roles, notes=tuple(notes))


def map_is_limited(configuration: Configuration) -> bool:
    """Whether ``quantization.max_map_drop`` limits what quantization may cost."""
    section = configuration.config.quantization
    return section is not None and section.max_map_drop is not None


def available_roles(configuration: Configuration) -> tuple[Role, ...]:
    """The data sets that the configuration gives: those with a path, or all that a path-less reader makes."""
    reader = configuration.components.reader
    if reader is None:
        return ()
    dataset = configuration.config.dataset
    roles: tuple[Role, ...] = (
        "training",
        "validation",
        "test_query",
        "test_gallery",
        "quantization",
        "prediction_query",
        "prediction_gallery",
    )
    if not reader.component.needs_paths:
        return tuple(role for role in roles if role != "validation")
    return tuple(role for role in roles if getattr(dataset, f"{role}_path", None))


def _has_inputs(
    step: Step, configuration: Configuration, available: Sequence[Role], steps: Sequence[PlannedStep], notes: list[str]
) -> bool:
    """Whether an optional step can be done; a comparison that cannot is worth a note."""
    if step.name == "fine_tune":
        section = configuration.config.quantization
        return section is not None and section.quantization_type == QUANTIZATION_AWARE
    if step.name != "compare":
        return {"test_query", "test_gallery"} <= set(available)
    bound = configuration.components.comparison_target
    if bound is None:
        return False
    if not {"quantization", "training"} & set(available):
        notes.append(
            "Calibration with random noise (dataset.quantization_allow_random): the quantized model shows "
            "size and speed, it does not recognise anyone; it is not compared with the float model"
        )
        return False
    quantized = steps[-1]
    for model in (quantized.takes, quantized.gives):
        if model is not None and not _takes(bound, model):
            notes.append(
                f"quantization.compare_on: {bound.name} does not run {model} models; float and quantized model are not "
                "compared"
            )
            return False
    return True


def _given_model(configuration: Configuration) -> ModelFormat | None:
    path = configuration.config.model.model_path
    return ModelFormat.of_file(Path(str(path))) if path else None


def _component(configuration: Configuration, bus: HookBus, step: Step, where: str) -> BoundComponent | None:
    if step.component is None:
        return None
    bound: BoundComponent | None = getattr(configuration.components, step.component)
    if bound is None:
        raise PlanError(f"{where}: the configuration names no {step.component.replace('_', ' ')}")
    if step.hook and not bus.supports(bound.component, step.hook):
        able = KINDS[bound.kind]
        raise PlanError(
            f"{where}: {able.name} '{bound.name}' of {bound.distribution} {bound.version} cannot do this "
            f"(it does not implement {step.hook})",
            hint="Choose another one (reidfw list " + able.name + "), or install a plugin that brings this ability.",
        )
    return bound


def _float_target(
    configuration: Configuration,
    chosen: BoundComponent | None,
    model: ModelFormat | None,
    where: str,
    notes: list[str],
) -> BoundComponent | None:
    """What scores the model before it is quantized: ``evaluation.target``, or what compares both models where that
    takes quantized ones only."""
    other = configuration.components.comparison_target
    if chosen is None or other is None or model is None or _takes(chosen, model) or not _takes(other, model):
        return chosen
    notes.append(
        f"{where}: evaluation.target '{chosen.name}' does not take {model} models; this one is scored on "
        f"'{other.name}' (quantization.compare_on), the quantized one on '{chosen.name}'"
    )
    return other


def _takes(target: BoundComponent, model: ModelFormat) -> bool:
    return any(model.fits(accepted) for accepted in target.component.accepts)


def _data(step: Step, available: Sequence[Role], where: str, index: Path | None, *, allow_random: bool) -> str:
    if step.name in ("train", "fine_tune"):
        if "training" not in available:
            raise PlanError(f"{where}: needs training images", hint="Give dataset.training_path.")
        return "training set" + (", validation set" if "validation" in available else ", split for validation")
    if step.name == "evaluate":
        return _scored_images(available, where)
    if step.name == "quantize":
        if "quantization" in available:
            return "quantization set"
        if "training" in available:
            return "training set"
        if allow_random:
            return "random noise"
        raise PlanError(
            f"{where}: needs calibration images",
            hint="Give dataset.quantization_path or dataset.training_path.",
        )
    if step.name == "compare":
        return "test images where they are evaluated, else calibration images"
    if step.name == "predict":
        for role in ("prediction_query",) if index is not None else ("prediction_query", "prediction_gallery"):
            if role not in available:
                raise PlanError(f"{where}: dataset.{role}_path is missing")
        return "prediction query, " + ("gallery index" if index is not None else "prediction gallery")
    return "-"


def _scored_images(available: Sequence[Role], where: str) -> str:
    pair = [role for role in ("test_query", "test_gallery") if role in available]
    if len(pair) == 2:
        return "test query, test gallery"
    if len(pair) == 1:
        missing = "test_gallery" if pair[0] == "test_query" else "test_query"
        raise PlanError(f"{where}: dataset.{pair[0]}_path is given, dataset.{missing}_path is missing")
    if "validation" in available:
        return "validation set, each against the others"
    if "training" in available:
        return "validation split, each against the others"
    raise PlanError(
        f"{where}: needs test images",
        hint="Give dataset.test_query_path and dataset.test_gallery_path (or a validation or training set).",
    )


def _check_search(
    configuration: Configuration,
    bus: HookBus,
    quantizer: BoundComponent | None,
    model: ModelFormat | None,
    available: Sequence[Role],
    where: str,
) -> None:
    """What ``quantization.max_map_drop`` needs: variants of the model, and something that runs them on real images."""
    assert quantizer is not None
    if not bus.supports(quantizer.component, "open_variants"):
        raise PlanError(
            f"{where}: quantization.max_map_drop: quantizers '{quantizer.name}' of {quantizer.distribution} "
            f"{quantizer.version} cannot leave single layers at a higher precision (it does not implement "
            "open_variants)",
            hint="Leave max_map_drop out, or choose another quantizer (reidfw list quantizers).",
        )
    section = configuration.config.quantization
    wanted, offered = section.keep_layers_at if section else None, quantizer.component.keeps_layers_at
    if wanted and offered and wanted not in offered:
        raise PlanError(
            f"{where}: quantization.keep_layers_at: {quantizer.name} cannot keep layers at {wanted}, only at "
            f"{' or '.join(offered)}",
            hint="Choose another number format or another quantizer, or leave keep_layers_at out.",
        )
    target = configuration.components.comparison_target
    if target is None:
        raise PlanError(f"{where}: quantization.max_map_drop needs quantization.compare_on, which runs the models")
    for one in (model, quantizer.component.produces):
        if one is not None and not _takes(target, one):
            raise PlanError(f"{where}: quantization.max_map_drop: {target.name} (compare_on) does not run {one} models")
    if not {"quantization", "training"} & set(available):
        raise PlanError(f"{where}: quantization.max_map_drop says nothing of a model calibrated with random noise")


def _follow_format(
    step: Step, component: BoundComponent | None, takes: ModelFormat | None, where: str
) -> ModelFormat | None:
    if step.name == "train":
        if takes is not None and takes.container != "keras":
            raise PlanError(f"{where}: model.model_path must be a .keras or .h5 model, got {takes.container}")
        return ModelFormat("keras", "float32")
    if component is None or takes is None:
        return None
    if step.name == "fine_tune" and takes.container != "keras":
        raise PlanError(
            f"{where}: quantization_type QAT trains a Keras model, got {takes.container}",
            hint="Give a .keras or .h5 model, or set quantization_type: PTQ.",
        )
    if step.name in ("fine_tune", "quantize"):
        accepted = component.component.consumes
        result: ModelFormat | None = component.component.produces if step.name == "quantize" else takes
    else:
        accepted = component.component.accepts
        result = None
    if not any(takes.fits(one) for one in accepted):
        listed = ", ".join(sorted(str(one) for one in accepted))
        article = "an" if str(takes)[0] in "aeiou" else "a"
        given = f"{article} {takes} model" if takes.container else "a file without an ending such as .tflite"
        others = _quantizers_that_take(takes) if step.name == "quantize" else ""
        raise PlanError(
            f"{where}: {component.kind} '{component.name}' does not take {given}; it takes {listed}",
            hint=f"Choose another model file or another component{others}.",
        )
    return result


def _quantizers_that_take(model: ModelFormat) -> str:
    """The installed ones that read a format, for a hint; empty where there are none."""
    catalog, names = Catalog(), []
    for entry in catalog.entries("quantizers"):
        try:
            facts: Any = catalog.load("quantizers", entry.reference)
        except ReidfwError:
            continue  # `reidfw list --check` tells what is wrong with it
        if any(model.fits(one) for one in facts.consumes):
            names.append(entry.name)
    return f" (quantization.quantizer: {' or '.join(names)})" if names else ""


def _check_instances(configuration: Configuration) -> None:
    training = configuration.config.training
    if training is None:
        return
    for bound in configuration.components.losses:
        needed = bound.component.component.min_instances
        if training.instances_per_identity < needed:
            raise PlanError(
                f"training.instances_per_identity is {training.instances_per_identity}, but the loss "
                f"'{bound.component.name}' needs at least {needed} images of each identity in a batch"
            )


def _check_evaluation(configuration: Configuration, available: Sequence[Role]) -> None:
    """Options that the data cannot serve, found before hours of training."""
    section = configuration.config.evaluation
    if section is None:
        return
    if not {"test_query", "test_gallery"} <= set(available):
        for name in ("rerank", "multi_query"):
            if getattr(section, name):
                raise PlanError(
                    f"evaluation.{name} needs query images apart from the gallery; without test images each image is "
                    "compared with all others",
                    hint="Give dataset.test_query_path and dataset.test_gallery_path.",
                )


def _check_input(configuration: Configuration) -> None:
    """The input's size against the backbone, its colours against the augmentations."""
    config, components = configuration.config, configuration.components
    shape = config.model.input_shape
    if components.backbone is not None and shape is not None:
        least = components.backbone.component.min_input_px
        if min(shape[:2]) < least:
            raise PlanError(
                f"model.input_shape {shape}: {components.backbone.name} needs at least {least} pixels each way"
            )
        mode = config.preprocessing.color_mode if config.preprocessing else None
        if mode is not None and shape[2] not in CHANNELS[mode]:
            raise PlanError(
                f"model.input_shape {shape} has {shape[2]} channels, but preprocessing.color_mode is {mode}"
            )
        colored = [bound.name for bound in components.augmentations if bound.component.color_only]
        if shape[2] == 1 and colored:
            raise PlanError(f"data_augmentation: {', '.join(colored)} need colours, but model.input_shape is {shape}")


def _pixel_range_notes(configuration: Configuration) -> list[str]:
    config, backbone = configuration.config, configuration.components.backbone
    if backbone is None or backbone.component.expects is None or not config.model.pretrained:
        return []
    if config.preprocessing is None or config.preprocessing.rescaling is None:
        return []
    rescaling = config.preprocessing.rescaling
    low, high = sorted((rescaling.offset, 255 * rescaling.scale + rescaling.offset))
    expected = backbone.component.expects
    if abs(low - expected.low) + abs(high - expected.high) < 0.05 * (expected.high - expected.low):
        return []
    given = f"[{low:g}, {high:g}]"
    return [
        f"The pretrained weights of {backbone.name} expect pixels in {expected}; preprocessing.rescaling gives {given}"
    ]


def _unused_quantization_notes(configuration: Configuration) -> Iterator[str]:
    """What was asked of a quantization and has no effect on it."""
    section, dataset = configuration.config.quantization, configuration.config.dataset
    if section is None or "quantize" not in CHAINS[configuration.config.operation_mode]:
        return
    if section.keep_layers_at and section.max_map_drop is None:
        yield "quantization.keep_layers_at has no effect without quantization.max_map_drop"
    if "qat" in section.model_fields_set and section.quantization_type != QUANTIZATION_AWARE:
        yield f"quantization.qat has no effect without quantization.quantization_type: {QUANTIZATION_AWARE}"
    given = next((name for name in ("quantization_path", "training_path") if getattr(dataset, name)), None)
    if dataset.quantization_allow_random and given:
        yield (
            f"dataset.quantization_allow_random has no effect beside dataset.{given}: noise takes the place of images "
            "where no folder is given, not where one is empty"
        )


def _roles(
    steps: Sequence[PlannedStep], available: Sequence[Role], index: Path | None, *, scores: bool
) -> tuple[Role, ...]:
    names = {planned.step.name for planned in steps}
    wanted: set[Role] = set()
    has_test = {"test_query", "test_gallery"} <= set(available)
    if names & {"train", "fine_tune"}:
        wanted |= {"training", "validation"}
    if "evaluate" in names or (scores and "quantize" in names):
        wanted |= {"test_query", "test_gallery"} if has_test else {"validation"}
        if not has_test and "validation" not in available:
            wanted |= {"training"}
    if "quantize" in names:
        wanted |= {"quantization"} if "quantization" in available else {"training"}
    if "predict" in names:
        wanted |= {"prediction_query"} if index is not None else {"prediction_query", "prediction_gallery"}
    return tuple(role for role in available if role in wanted)


def step_input(planned: PlannedStep, artifacts: dict[type, Any], configuration: Configuration) -> Any:
    """Fills a step's input dataclass.

    Fields of an artifact type take the newest artifact of it; a field ``target`` takes the step's component; all
    other fields take the section or the component(s) of that name from the configuration.
    """
    values: dict[str, Any] = {}
    hints = get_type_hints(planned.step.input_type, localns=_hint_names())
    for field in fields(planned.step.input_type):
        kind = hints[field.name]
        kind = next((option for option in get_args(kind) if option in ARTIFACTS), kind)
        if kind in artifacts:
            values[field.name] = artifacts[kind]
        elif kind in ARTIFACTS and field.default is None:
            continue
        elif field.name == "target":
            values[field.name] = planned.component
        elif hasattr(configuration.components, field.name):
            values[field.name] = getattr(configuration.components, field.name)
        else:
            values[field.name] = getattr(configuration.config, field.name)
    return planned.step.input_type(**values)


def _hint_names() -> dict[str, Any]:
    from reidfw_core.config import binding, sections

    return {**vars(sections), **vars(binding), "ModelFile": ModelFile}
