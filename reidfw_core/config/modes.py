"""The twelve operation modes: which groups of services each belongs to, and which sections each needs.

Source: the user's document, sections 2.1 and 2.3 to 2.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

OperationMode = Literal[
    "training",
    "evaluation",
    "quantization",
    "prediction",
    "benchmarking",
    "deployment",
    "chain_tqeb",
    "chain_tqe",
    "chain_eqe",
    "chain_qb",
    "chain_eqeb",
    "chain_qd",
]

OPERATION_MODES: tuple[OperationMode, ...] = get_args(OperationMode)

Group = Literal["training", "evaluation", "quantization", "prediction", "benchmarking", "deployment", "fine_tuning"]

GROUPS: dict[OperationMode, frozenset[Group]] = {
    "training": frozenset({"training", "evaluation"}),  # scored on the test images, where there are some
    "evaluation": frozenset({"evaluation"}),
    "quantization": frozenset({"quantization"}),
    "prediction": frozenset({"prediction"}),
    "benchmarking": frozenset({"benchmarking"}),
    "deployment": frozenset({"deployment"}),
    "chain_tqeb": frozenset({"training", "quantization", "evaluation", "benchmarking"}),
    "chain_tqe": frozenset({"training", "quantization", "evaluation"}),
    "chain_eqe": frozenset({"evaluation", "quantization"}),
    "chain_qb": frozenset({"quantization", "benchmarking"}),
    "chain_eqeb": frozenset({"evaluation", "quantization", "benchmarking"}),
    "chain_qd": frozenset({"quantization", "deployment"}),
}
"""Services that each mode runs. Quantization may bring a further one, see :func:`services`."""

LEARNING: frozenset[Group] = frozenset({"training", "fine_tuning"})
"""Services that train on images."""


def services(mode: OperationMode, values: Mapping[str, Any]) -> frozenset[Group]:
    """The services that a mode runs with a configuration: quantization-aware training fine-tunes the model first.

    Args:
        mode: the operation mode.
        values: the plain values of the configuration, not checked yet.
    """
    section = values.get("quantization")
    kind = section.get("quantization_type") if isinstance(section, Mapping) else None
    if "quantization" in GROUPS[mode] and str(kind).upper() == QUANTIZATION_AWARE:
        return GROUPS[mode] | {"fine_tuning"}
    return GROUPS[mode]


QUANTIZATION_AWARE = "QAT"
"""The ``quantization_type`` with which the model is fine-tuned before it is quantized."""

IMAGE_GROUPS: frozenset[Group] = frozenset({"training", "evaluation", "quantization", "prediction"})
"""Services that read images."""

ALWAYS_CHECKED = frozenset({"general", "model", "dataset", "preprocessing", "mlflow", "hydra", "listeners"})
"""Sections that are checked in every mode, when present."""

WITH_DEFAULTS = frozenset({"general", "dataset", "evaluation", "prediction", "tools", "app", "mlflow", "hydra"})
"""Sections that have their defaults where they are absent or empty, unless they are required."""

IGNORED_SECTIONS = frozenset({"quantization_parameters", "quantization_extra_options", "mixed_quantization_algo"})
"""Top-level attributes that are legal and have no effect."""


@dataclass(frozen=True, slots=True)
class SectionUse:
    """How a mode uses a section.

    Attributes:
        groups: services that read it.
        required: whether it must be present where one of them runs; otherwise its defaults are taken.
    """

    groups: frozenset[Group]
    required: bool


def _use(*groups: Group, required: bool = True) -> SectionUse:
    return SectionUse(frozenset(groups), required)


SECTIONS: dict[str, SectionUse] = {
    "model": _use(*GROUPS["chain_tqeb"], "prediction", "deployment"),
    "dataset": _use("training", "evaluation", "prediction"),
    "preprocessing": _use(*IMAGE_GROUPS, "deployment"),
    "data_augmentation": _use("training", "fine_tuning", required=False),
    "custom_data_augmentation": _use("training", "fine_tuning", required=False),
    "training": _use("training", "fine_tuning"),
    "quantization": _use("quantization"),
    "evaluation": _use("evaluation", "quantization", required=False),
    "prediction": _use("prediction", required=False),
    "tools": _use("benchmarking", "deployment", required=False),
    "benchmarking": _use("benchmarking"),
    "deployment": _use("deployment"),
    "app": _use("deployment", required=False),
}
"""Sections by the services that read them. ``dataset`` is required where accuracy is measured or a model is trained."""


def is_needed(section: str, groups: frozenset[Group]) -> bool:
    """Whether a section is read in a mode with these services."""
    return section in ALWAYS_CHECKED or bool(SECTIONS[section].groups & groups)


def is_required(section: str, groups: frozenset[Group]) -> bool:
    """Whether a section must be present in a mode with these services."""
    use = SECTIONS.get(section)
    return use is not None and use.required and bool(use.groups & groups)
