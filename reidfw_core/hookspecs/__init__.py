"""The contracts: one module of hook specs a kind, and what each kind requires.

Hook signatures have no defaults: the core always passes every argument by keyword, and an implementation names
only those that it wants.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from reidfw_core.hookspecs import (
    augmentations,
    backbones,
    datasets,
    lifecycle,
    losses,
    quantizers,
    targets,
)

if TYPE_CHECKING:
    from reidfw_core.components import Component


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component.

    Attributes:
        name: plural name, as in ``reidfw list <name>``.
        base_name: name of the class in :mod:`reidfw_core.components` that its components derive from.
        specs: module with its hook specs.
        required: hooks that every component of this kind answers.
        package: the first-party distribution that brings components of this kind, for hints.
    """

    name: str
    base_name: str
    specs: ModuleType
    required: tuple[str, ...]
    package: str

    @property
    def base(self) -> type[Component]:
        """The class that its components derive from; imported on first use, as a listing needs no pydantic."""
        from reidfw_core import components

        base: type[Component] = getattr(components, self.base_name)
        return base

    @property
    def group(self) -> str:
        """The entry point group in which components of this kind are registered."""
        return f"reidfw.{self.name}"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("datasets", "DatasetReader", datasets, ("read_samples",), "reidfw-dataset-readers"),
        Kind("augmentations", "Augmentation", augmentations, ("build_augmentation",), "reidfw-augmentations"),
        Kind("backbones", "Backbone", backbones, ("build_backbone",), "reidfw-backbones"),
        Kind("losses", "Loss", losses, ("build_loss",), "reidfw-losses"),
        Kind("quantizers", "Quantizer", quantizers, ("inspect_model", "quantize_model"), "reidfw-quantizers"),
        Kind("targets", "Target", targets, ("describe_target",), "reidfw-targets"),
        Kind("listeners", "Listener", lifecycle, (), "reidfw-tracker-mlflow"),
    )
}
"""All kinds by name, in the order in which ``reidfw list`` shows them."""
