"""The JSON Schema agrees with what the program itself accepts and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from reidfw_core.config import OPERATION_MODES, config_schema

jsonschema = pytest.importorskip("jsonschema")


def faults(schema: dict[str, Any], text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return sorted(".".join(map(str, error.absolute_path)) for error in validator.iter_errors(yaml.safe_load(text)))


@pytest.fixture(scope="module")
def schema() -> Callable[[Any], dict[str, Any]]:
    cache: dict[int, dict[str, Any]] = {}
    return lambda catalog: cache.setdefault(0, config_schema(catalog))


def test_it_is_a_schema_of_its_dialect(schema: Any, catalog: Any) -> None:
    value = schema(catalog)
    assert value["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(value)
    assert "$comment" not in value
    json.dumps(value)


def test_the_document_is_valid(schema: Any, catalog: Any, document: str) -> None:
    assert faults(schema(catalog), document) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("global_seed: 123 ", "global_seed: None "),
        ("global_seed: 123 ", "global_seed: 100+23 "),
        ("global_seed: 123 ", "global_seed: ${SEED} "),
        ("project_name: my_project", "project_name: 2024"),
        ("batch_size: 64", "batch_size: 16*4"),
        ("(256, 128, 3)", "[256, 128, 3]"),
        ("pretrained: True", "pretrained: path/to.weights.h5"),
        ("pretrained: True", "pretrained_weights: imagenet"),
        ("model_name:", "name:"),
        ("dropout: 0.3", "dropout_rate: 0.3"),
        ("frozen_layers: (0, -1)", "frozen_layers: (7:13, 16, -1)"),
        ("frozen_layers: (0, -1)", "frozen_layers: 2"),
        ("frozen_layers: (0, -1)", "frozen_layers:"),
        ("strategy: semi_hard", "strategy: HARD"),
        ("TFlite_converter ", "Onnx_quantizer "),
        ("TFlite_converter ", "acme/TFlite_converter "),
        ("   onnx_extra_options:\n      CalibMovingAverage: True", "   onnx_extra_options: calib_moving_average"),
        ("factor: 0.125", "factor: (-0.1, 0.1)"),
        ("    mode: horizontal_and_vertical", ""),
        ("operation_mode: chain_tqeb", "operation_mode: deploy"),
        ("   uri:", "   # uri:"),
    ],
)
def test_what_the_program_accepts_is_valid(schema: Any, catalog: Any, document: str, old: str, new: str) -> None:
    assert old in document
    assert faults(schema(catalog), document.replace(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("global_seed: 123", "global_sed: 123", "general"),
        ("global_seed: 123", "global_seed: x", "general.global_seed"),
        ("validation_split: 0.2", "validation_split: 2", "dataset.validation_split"),
        ("color_mode: rgb", "color_mode: bgr", "preprocessing.color_mode"),
        ("random_flip:", "random_flp:", "data_augmentation"),
        ("mode: horizontal_and_vertical", "mode: diagonal", "data_augmentation.random_flip"),
        ("mobilenetv1_a025", "mobilnetv1_a025", "model.model_name"),
        ("pretrained: True", "width: 8", "model"),
        ("epochs: 150", "epochs: 0", "training.epochs"),
        ("   epochs: 150", "", "training"),
        ("strategy: semi_hard", "strategy: semihard", "training.triplet_loss"),
        ("margin: 0.3", "marign: 0.3", "training.triplet_loss"),
        ("quantizer: TFlite_converter", "quantizer: tflite", "quantization.quantizer"),
        ("optimize: True", "optimise: True", "quantization"),
        ("board: STM32H747I-DISCO", "board: STM32H747I", "benchmarking.board"),
        ("uri: ./tf", "url: ./tf", "mlflow"),
        ("operation_mode: chain_tqeb", "operation_mode: chain", "operation_mode"),
        ("benchmarking:", "benchmark:", ""),
    ],
)
def test_what_the_program_refuses_is_not_valid(
    schema: Any, catalog: Any, document: str, old: str, new: str, where: str
) -> None:
    assert old in document
    found = faults(schema(catalog), document.replace(old, new))
    assert found
    assert any(fault == where or where.startswith(fault) or fault.startswith(where) for fault in found)


def test_parameters_belong_to_the_component_that_is_named(schema: Any, catalog: Any, document: str) -> None:
    tiny = document.replace("mobilenetv1_a025", "acme.tiny_conv")
    assert faults(schema(catalog), tiny.replace("pretrained: True", "width: 8")) == []
    assert faults(schema(catalog), tiny.replace("pretrained: True", "width: 2")) != []


@pytest.mark.parametrize("mode", OPERATION_MODES)
def test_sections_are_required_by_mode(schema: Any, catalog: Any, mode: str) -> None:
    assert faults(schema(catalog), f"operation_mode: {mode}\nmodel: {{model_path: x.keras}}\n") != []


def test_every_attribute_is_described(schema: Any, catalog: Any) -> None:
    value = schema(catalog)
    bare = [
        f"{name}.{attribute}"
        for name, definition in {"": value, **value["$defs"]}.items()
        for attribute, about in definition.get("properties", {}).items()
        if not about.get("description")
    ]
    assert bare == []


def test_a_broken_component_is_left_out_and_named(make_catalog: Any, document: str) -> None:
    catalog = make_catalog(
        backbones={"mobilenetv1_a025": "no keras", "other": make_catalog().installed["backbones"]["acme.tiny_conv"]}
    )
    value = config_schema(catalog)
    assert "backbones 'mobilenetv1_a025' of acme (PluginBroken)" in value["$comment"]
    assert value["$defs"]["ModelSection"]["properties"]["model_name"]["anyOf"][0] == {"enum": ["other"]}


def test_kinds_that_are_not_installed_do_no_harm(make_catalog: Any) -> None:
    none: dict[str, Any] = {kind: {} for kind in make_catalog().installed}
    jsonschema.Draft202012Validator.check_schema(config_schema(make_catalog(**none)))
