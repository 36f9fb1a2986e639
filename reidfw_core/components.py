"""Base classes of the seven kinds of components.

A component is a light class: importing its module must not import TensorFlow, ONNX and the like. It declares

* ``Params``, a pydantic model of what the user may write in the YAML block that selects it,
* class facts (``ClassVar``), with which the plan is checked before any framework is imported,
* methods marked with :data:`~reidfw_core.markers.hookimpl`, its answers to the hook specs of its kind.

An entry point carries no arguments, so a family of components is made with :func:`variant`.
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from reidfw_core.types import ModelFormat, PixelRange


class ComponentParams(BaseModel):
    """What a user may set for a component. Unknown names are refused; values cannot change later.

    Give each field a description (``Field(description=...)`` or a docstring below it), its unit and its limits.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
        defer_build=True,  # validators are built on first use: a listing never needs them
    )


class Component:
    """Base of all components. ``params`` holds the validated block of the YAML.

    Args:
        params: an instance of the class's ``Params``; None takes the defaults.

    Raises:
        TypeError: ``params`` belongs to another component.
        pydantic.ValidationError: no params were given and ``Params`` has a required field.
    """

    kind: ClassVar[str] = ""

    class Params(ComponentParams):
        """No parameters."""

    def __init__(self, params: ComponentParams | None = None) -> None:
        if params is None:
            params = self.Params()
        elif not isinstance(params, self.Params):
            raise TypeError(f"{type(self).__name__} takes {self.Params.__qualname__}, got {type(params).__qualname__}")
        self.params: Any = params


class DatasetReader(Component):
    """Finds the images of a data set and tells their identities.

    Facts:
        knows_cameras: the samples carry the camera of each image.
        needs_paths: the reader reads folders named in the YAML (``dataset.training_path`` ...); False for one
            that makes or knows its images itself: it is then asked for every role, with ``root=None``.
    """

    kind = "datasets"
    knows_cameras: ClassVar[bool] = False
    needs_paths: ClassVar[bool] = True


class Augmentation(Component):
    """Changes training images at random.

    Facts:
        color_only: works on RGB images only (a grayscale input is refused by the plan).
    """

    kind = "augmentations"
    color_only: ClassVar[bool] = False


class Backbone(Component):
    """A network from an image to a feature map; pooling, dropout and classifier are the core's.

    Facts:
        expects: range of the pixel values that its pretrained weights were trained with.
        min_input_px: smallest height and width that it takes, in pixels.
    """

    kind = "backbones"
    expects: ClassVar[PixelRange | None] = None
    min_input_px: ClassVar[int] = 32


class Loss(Component):
    """A term of the training loss.

    Facts:
        consumes: what it is computed from: the pooled ``embeddings`` (B, D), the classifier's ``logits`` (B, I),
            its softmax ``probabilities`` (B, I), or the ``cosines`` (B, I) in [-1, 1] between embeddings and class
            weights, for which the network gets a cosine classifier.
        min_instances: images of each identity that a batch must hold for it to make sense (K of the PK sampler).
    """

    kind = "losses"
    consumes: ClassVar[Literal["embeddings", "logits", "probabilities", "cosines"]] = "embeddings"
    min_instances: ClassVar[int] = 1


class Quantizer(Component):
    """Turns a float model into an integer one.

    Facts:
        consumes: formats that it reads.
        produces: format that it writes.
        keeps_layers_at: number formats at which it can leave single layers (hook ``open_variants``), the cheapest
            first; empty where that shows only once a model is open.
    """

    kind = "quantizers"
    consumes: ClassVar[frozenset[ModelFormat]] = frozenset()
    produces: ClassVar[ModelFormat]
    keeps_layers_at: ClassVar[tuple[str, ...]] = ()


class Target(Component):
    """Something that runs a model: this computer, or a board.

    Facts:
        accepts: formats that it runs.
    """

    kind = "targets"
    accepts: ClassVar[frozenset[ModelFormat]] = frozenset()


class Listener(Component):
    """Follows a run: a tracker, a logger, a progress bar.

    Facts:
        on_error: ``fail`` stops the run when the listener raises, ``warn`` logs it and goes on.

    A listener that is also named in the entry point group ``reidfw.automatic_listeners`` joins every run where it is
    installed, without being named in the configuration. It decides by itself, and cheaply, whether it has anything to
    do.
    """

    kind = "listeners"
    on_error: ClassVar[Literal["fail", "warn"]] = "fail"


def variant(base: type[Component], class_name: str, /, *, doc: str | None = None, **facts: Any) -> type[Component]:
    """A subclass of ``base`` with preset class facts, for one entry point of a family.

    Args:
        base: the component that holds the hooks.
        class_name: name of the new class; assign the result to the same name in the calling module.
        doc: docstring of the variant; None keeps the base's.
        facts: class attributes of the variant; each must already exist on ``base``.

    Raises:
        TypeError: a fact that ``base`` does not declare.
    """
    unknown = [name for name in facts if not hasattr(base, name) and name not in _declared(base)]
    if unknown:
        raise TypeError(f"{base.__name__} declares no fact {', '.join(unknown)}")
    namespace = {**facts, "__module__": sys._getframe(1).f_globals["__name__"], "__doc__": doc or base.__doc__}
    return type(class_name, (base,), namespace)


def _declared(base: type) -> set[str]:
    return {name for cls in base.__mro__ for name in getattr(cls, "__annotations__", {})}
