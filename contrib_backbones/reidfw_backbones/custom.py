"""A network of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reidfw_core.api import Backbone, ComponentParams, DataError, hookimpl, load_function


class Custom(Backbone):
    """Calls a function of your own that builds the network: ``function(input_shape)``.

    It returns a ``keras.Model`` from (B, H, W, C) to a feature map (B, h, w, D), which is then pooled, or to an
    embedding (B, D). A function with a parameter ``seed`` gets the seed for its random weights, one with ``pretrained``
    gets what ``model.pretrained`` says; for one without, a path there is a file of weights to load. In the YAML:
    ``model: {model_name: custom, function: my_models.py:build}``.

    Source: the model zoo's ``custom_model``.
    """

    min_input_px = 1

    class Params(ComponentParams):
        """Which function."""

        function: str
        """``module:function`` or ``path/to/file.py:function``, paths as seen from the current folder."""

    @hookimpl
    def build_backbone(self, input_shape: tuple[int, int, int], pretrained: bool | Path, seed: int) -> Any:
        """Calls the function; see :mod:`reidfw_core.hookspecs.backbones`.

        Raises:
            DataError: there is no such function, it fails, or what it returns is no network for these images.
        """
        where = f"model.function: {self.params.function}"
        try:
            function = load_function(self.params.function)
        except DataError as cause:
            raise DataError(f"model.function: {cause.message}", hint=cause.hint) from cause
        from ._keras.custom import call_builder

        return call_builder(function, where, tuple(input_shape), pretrained, seed)
