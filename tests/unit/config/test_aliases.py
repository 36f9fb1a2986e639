"""Every spelling on which the user's document contradicts itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reidfw_core.config import load_config
from reidfw_core.config.aliases import ATTRIBUTES, VALUES

Write = Callable[[str], Path]


def nested(path: tuple[Any, ...], value: str) -> str:
    return "".join("  " * depth + f"{part}:\n" for depth, part in enumerate(path[:-1])) + (
        "  " * (len(path) - 1) + f"{path[-1]}: {value}\n"
    )


def at(values: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        values = values[part]
    return values


@pytest.mark.parametrize("alias", ATTRIBUTES, ids=lambda alias: ".".join(map(str, alias.spelling)))
def test_an_attribute_may_be_spelled_either_way(write: Write, alias: Any) -> None:
    value = "{verbosity: 1}" if alias.spelling == ("deploy",) else "0.25"
    expected: object = {"verbosity": 1} if alias.spelling == ("deploy",) else 0.25
    ours = load_config(write(nested(alias.meaning, value)))
    assert at(ours.values, alias.meaning) == expected
    assert not [warning for warning in ours.warnings if "outdated" in warning]
    theirs = load_config(write(nested(alias.spelling, value)))
    assert at(theirs.values, alias.meaning) == expected
    assert not theirs.problems
    (warning,) = [warning for warning in theirs.warnings if "outdated" in warning]
    assert ".".join(map(str, alias.spelling)) in warning
    assert f"user_config.yaml:{len(alias.spelling)}: " in warning
    parent = at(theirs.values, alias.spelling[:-1]) if alias.spelling[0] in theirs.values else {}
    assert alias.spelling[-1] not in parent


@pytest.mark.parametrize(
    ("text", "path", "value", "warnings"),
    [
        ("operation_mode: deploy\n", ("operation_mode",), "deployment", 1),
        ("operation_mode: Deploy\n", ("operation_mode",), "deployment", 1),
        ("operation_mode: deployment\n", ("operation_mode",), "deployment", 0),
        ("model: {pretrained: imagenet}\n", ("model", "pretrained"), True, 0),
        ("model: {pretrained: path/x.h5}\n", ("model", "pretrained"), "path/x.h5", 0),
        ("model: {pretrained_weights: True}\n", ("model", "pretrained"), True, 1),
        ("model: {pretrained_weights: False}\n", ("model", "pretrained"), False, 1),
        ("model: {pretrained_weights: ImageNet}\n", ("model", "pretrained"), True, 1),
        ("model: {pretrained_weights: a/best_model.keras}\n", ("model", "pretrained_weights"), "a/best_model.keras", 0),
        ("model: {pretrained_weights: None}\n", ("model", "pretrained_weights"), None, 0),
        (
            "quantization: {onnx_extra_options: calib_moving_average}\n",
            ("quantization", "onnx_extra_options"),
            {"CalibMovingAverage": True},
            1,
        ),
        (
            "quantization:\n  onnx_extra_options:\n    calib_moving_average: True\n    WeightSymmetric: False\n",
            ("quantization", "onnx_extra_options"),
            {"CalibMovingAverage": True, "WeightSymmetric": False},
            1,
        ),
    ],
)
def test_values_may_be_spelled_either_way(
    write: Write, text: str, path: tuple[str, ...], value: object, warnings: int
) -> None:
    loaded = load_config(write(text))
    assert at(loaded.values, path) == value
    assert len([warning for warning in loaded.warnings if "outdated" in warning]) == warnings
    assert not loaded.problems


def test_every_row_of_the_value_table_is_tested() -> None:
    assert len(VALUES) == 7


def test_two_spellings_with_different_values_are_a_problem(write: Write) -> None:
    loaded = load_config(write("training:\n  dropout: 0.3\n  dropout_rate: 0.4\n"))
    (problem,) = loaded.problems
    assert problem.where == "training.dropout_rate"
    assert problem.line == 3
    assert "'training.dropout' (line 2) is 0.3" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "training: {dropout: 0.3, dropout_rate: 0.3}\n",
        "training: {dropout: 0.3, dropout_rate: }\n",
        "training: {dropout: , dropout_rate: 0.3}\n",
    ],
)
def test_two_spellings_that_agree_are_no_problem(write: Write, text: str) -> None:
    loaded = load_config(write(text))
    assert loaded.values["training"] == {"dropout": 0.3}
    assert not loaded.problems


def test_the_command_line_wins_over_the_file_in_either_spelling(write: Write) -> None:
    old = load_config(write("training: {dropout_rate: 0.3}\n"), ["training.dropout=0.1"])
    new = load_config(write("training: {dropout: 0.3}\n"), ["training.dropout_rate=0.1"])
    for loaded in (old, new):
        assert loaded.values["training"] == {"dropout": 0.1}
        assert not loaded.problems
        assert loaded.sources.place(("training", "dropout")).is_command_line


def test_places_move_with_their_values(write: Write) -> None:
    loaded = load_config(write("general:\n  model_path: 2024\ndeploy:\n  hardware_setup:\n    board: x\n"))
    assert loaded.sources.place(("model", "model_path")).line == 2
    assert loaded.sources.text(("model", "model_path")) == "2024"
    assert loaded.sources.place(("deployment", "hardware_setup", "board")).line == 5


def test_both_sections_are_put_together(write: Write) -> None:
    loaded = load_config(write("deploy: {IDE: GCC}\ndeployment: {verbosity: 1}\n"))
    assert loaded.values["deployment"] == {"IDE": "GCC", "verbosity": 1}


def test_a_section_that_is_no_mapping_is_left_for_the_check(write: Write) -> None:
    loaded = load_config(write("general: {model_path: x}\nmodel: text\n"))
    assert loaded.values["model"] == "text"
