"""Calling a function that builds a network, and looking at what it gives."""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from reidfw_backbones._keras.weights import load_pretrained
from reidfw_backbones.sizes import NUM_PARAMETERS
from reidfw_core.api import DataError


def call_builder(
    function: Callable[..., Any], where: str, input_shape: tuple[int, ...], pretrained: bool | Path, seed: int
) -> keras.Model:
    """The network that a function of the user's own builds.

    Args:
        function: takes ``input_shape``, and ``seed`` and ``pretrained`` where it has such parameters.
        where: what messages call it.
        input_shape: (H, W, C).
        pretrained: as ``model.pretrained`` says.
        seed: for random weights.

    Raises:
        DataError: the function fails, or gives no model for these images, or the weights file does not fit.
    """
    known = {"seed": seed, "pretrained": pretrained}
    parameters = inspect.signature(function).parameters
    extra = {name: value for name, value in known.items() if name in parameters}
    if pretrained is True and "pretrained" not in extra:
        raise DataError(
            f"{where} has no parameter 'pretrained', but model.pretrained is {pretrained}",
            hint="Give the path of a weights file, set model.pretrained: False, or let the function load its weights "
            "itself.",
        )

    def build(shape: tuple[int, ...]) -> keras.Model:
        with _seeded(seed):
            try:
                model = function(shape, **extra)
            except Exception as cause:  # the user's code may raise anything
                raise DataError(f"{where} fails: {type(cause).__name__}: {cause}") from cause
        return _checked(model, shape, where)

    model = build(input_shape)
    if isinstance(pretrained, Path) and "pretrained" not in extra:
        load_pretrained(model, pretrained, lambda channels: build((*input_shape[:2], channels)), NUM_PARAMETERS)
    return model


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers that depend on the seed alone; Python's and NumPy's global generators go on as if nothing was."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _checked(model: Any, input_shape: tuple[int, ...], where: str) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise DataError(f"{where} returns a {type(model).__name__}, a keras.Model is needed")
    try:
        inputs, outputs = list(model.inputs), list(model.outputs)
    except AttributeError as cause:  # a Sequential without Input, or a model with a call method of its own
        raise DataError(
            f"{where} returns a model without defined input and output",
            hint="Begin with keras.Input(input_shape), and return keras.Model(image, features).",
        ) from cause
    if len(inputs) != 1 or len(outputs) != 1:
        raise DataError(f"{where}: one image in and one tensor out are needed")
    given = tuple(inputs[0].shape)[1:]
    if given != input_shape:
        raise DataError(f"{where} takes images of shape {given}, model.input_shape is {input_shape}")
    rank = len(outputs[0].shape)
    if rank not in (2, 4):
        raise DataError(f"{where} gives {tuple(outputs[0].shape)}; a feature map or a vector is needed")
    return model
