"""The contracts: one module of hook specs a kind, and what each kind requires.

Hook signatures have no defaults: the core always passes every argument by keyword, and an implementation names
only those that it wants.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from reidfw_core import components
from reidfw_core.hookspecs import (
    augmentations,
    backbones,
    datasets,
    lifecycle,
    losses,
    quantizers,
    targets,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component.

    Attributes:
        name: plural name, as in ``reidfw list <name>``.
        base: class that its components derive from.
        specs: module with its hook specs.
        required: hooks that every component of this kind answers.
        package: the first-party distribution that brings components of this kind, for hints.
    """

    name: str
    base: type[components.Component]
    specs: ModuleType
    required: tuple[str, ...]
    package: str

    @property
    def group(self) -> str:
        """The entry point group in which components of this kind are registered."""
        return f"reidfw.{self.name}"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("datasets", components.DatasetReader, datasets, ("read_samples",), "reidfw-dataset-readers"),
        Kind("augmentations", components.Augmentation, augmentations, ("build_augmentation",), "reidfw-augmentations"),
        Kind("backbones", components.Backbone, backbones, ("build_backbone",), "reidfw-backbones"),
        Kind("losses", components.Loss, losses, ("build_loss",), "reidfw-losses"),
        Kind("quantizers", components.Quantizer, quantizers, ("inspect_model", "quantize_model"), "reidfw-quantizers"),
        Kind("targets", components.Target, targets, ("describe_target",), "reidfw-targets"),
        Kind("listeners", components.Listener, lifecycle, (), "reidfw-tracker-mlflow"),
    )
}
"""All kinds by name, in the order in which ``reidfw list`` shows them."""
