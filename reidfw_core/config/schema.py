"""A JSON Schema of the whole YAML over the installed components, for completion and checking in editors."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from reidfw_core.catalog import Catalog, CatalogEntry
from reidfw_core.config.aliases import ATTRIBUTES, VALUES
from reidfw_core.config.binding import MLFLOW
from reidfw_core.config.modes import GROUPS, IGNORED_SECTIONS, SECTIONS, is_required
from reidfw_core.config.sections import RunConfig
from reidfw_core.config.sources import TreePath, dotted
from reidfw_core.errors import ReidfwError

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""How pydantic names limits that stand behind a validator function, and how JSON Schema does."""

_EXPRESSION = r"^[\s\d.eE_+\-*/%()]*\d[\s\d.eE_+\-*/%()]*$"
_SEQUENCE = r"^\s*[(\[].*[)\]]\s*$"
_INTERPOLATION = r"\$\{"


@dataclass(frozen=True, slots=True)
class _Selector:
    """A definition of the schema in which an attribute names a component."""

    definition: str
    attribute: str
    kind: str
    prefix: str = ""
    nested: bool = False


_SELECTORS: tuple[_Selector, ...] = (
    _Selector("DatasetSection", "reader", "datasets"),
    _Selector("ModelSection", "model_name", "backbones"),
    _Selector("TripletLoss", "strategy", "losses", prefix="triplet_"),
    _Selector("LossItem", "name", "losses"),
    _Selector("QuantizationSection", "quantizer", "quantizers"),
    _Selector("EvaluationSection", "target", "targets"),
    _Selector("PredictionSection", "target", "targets"),
    _Selector("BenchmarkingSection", "board", "targets"),
    _Selector("HardwareSetup", "board", "targets", nested=True),
    _Selector("ListenerItem", "name", "listeners"),
)


def config_schema(catalog: Catalog) -> Schema:
    """The JSON Schema (draft 2020-12) of the configuration.

    Names of components are enumerated, and the attributes of each are offered where its selector names it. The YAML's
    expressions (``1/127.5``, ``(256, 128, 3)``), ``None`` and interpolations are accepted wherever they mean something.

    Args:
        catalog: the installed components. Each is loaded for its parameters; one that cannot be loaded is left out and
            named in ``$comment``.
    """
    schema = RunConfig.model_json_schema(mode="validation")
    definitions: dict[str, Schema] = schema.pop("$defs")
    builder = _Builder(catalog, definitions)
    for selector in _SELECTORS:
        builder.open_section(selector)
    builder.augmentations()
    builder.mlflow()
    definitions["DeploymentSection"]["additionalProperties"] = {"$comment": "attributes of the board"}
    definitions["HydraSection"]["additionalProperties"] = {"$comment": "further settings of Hydra"}
    properties: dict[str, Schema] = schema["properties"]
    properties["defaults"] = {"type": "array", "description": "Hydra's list of files to compose."}
    for name in sorted(IGNORED_SECTIONS):
        properties[name] = {"description": "Accepted and ignored.", "deprecated": True}
    _add_aliases(properties, definitions)
    for definition in definitions.values():
        if definition.get("type") == "object":
            definition["type"] = ["object", "null"]  # a section without attributes
    result: Schema = {
        "$schema": DIALECT,
        "title": "reidfw configuration",
        **_loosened(schema, required=True),
        "allOf": [_requirement(mode) for mode in GROUPS],
        "$defs": {name: _loosened(definition, required=True) for name, definition in sorted(definitions.items())},
    }
    if builder.left_out:
        result["$comment"] = "Left out, since they cannot be loaded: " + "; ".join(builder.left_out)
    return result


@dataclass
class _Builder:
    catalog: Catalog
    definitions: dict[str, Schema]
    left_out: list[str] = field(default_factory=list)
    _params: dict[str, list[tuple[CatalogEntry, Schema]]] = field(default_factory=dict)

    def params(self, kind: str) -> list[tuple[CatalogEntry, Schema]]:
        """Each loadable component of a kind with the schema of its parameters."""
        if kind not in self._params:
            self._params[kind] = []
            for entry in self.catalog.entries(kind):
                try:
                    model = self.catalog.load(kind, entry.reference).Params
                except ReidfwError as cause:
                    self.left_out.append(f"{kind} '{entry.name}' of {entry.distribution} ({type(cause).__name__})")
                    continue
                self._params[kind].append((entry, self._hoisted(model, f"{kind}.{_written(entry)}")))
        return self._params[kind]

    def _hoisted(self, model: type[BaseModel], prefix: str) -> Schema:
        schema = model.model_json_schema(mode="validation", ref_template=f"#/$defs/{prefix}.{{model}}")
        for name, definition in schema.pop("$defs", {}).items():
            self.definitions[f"{prefix}.{name}"] = definition
        return schema

    def open_section(self, selector: _Selector) -> None:
        """Closes an open section: the core's attributes, and those of the installed components."""
        section = self.definitions[selector.definition]
        core = dict(section["properties"])
        components = self.params(selector.kind)
        names = [_written(entry) for entry, _ in components]
        shown = [name.removeprefix(selector.prefix) for name in names]
        default = core[selector.attribute].get("default")
        section["properties"] = {
            **_union(schema["properties"] for _, schema in components if "properties" in schema),
            **core,
            selector.attribute: {**_about(core[selector.attribute]), **_one_of_names(shown)},
        }
        section["additionalProperties"] = selector.nested
        if selector.nested:
            return
        conditions = [
            _condition(selector.attribute, name.removeprefix(selector.prefix), default, core, schema)
            for name, (_, schema) in zip(names, components, strict=True)
        ]
        if conditions:
            section["allOf"] = conditions

    def augmentations(self) -> None:
        """The functions of ``data_augmentation``, each with its arguments."""
        self.definitions["DataAugmentationSection"] = {
            "type": "object",
            "description": self.definitions["DataAugmentationSection"].get("description", ""),
            "properties": {
                _written(entry): {"anyOf": [schema, {"type": "null"}], "description": schema.get("description", "")}
                for entry, schema in self.params("augmentations")
            },
            "patternProperties": {"/": {"type": ["object", "null"]}},
            "additionalProperties": False,
        }

    def mlflow(self) -> None:
        """The ``mlflow`` section is the listener's, where that is installed."""
        section = self.definitions["MlflowSection"]
        for entry, schema in self.params("listeners"):
            if entry.name == MLFLOW:
                section["properties"] = {**section["properties"], **schema.get("properties", {})}
                section["additionalProperties"] = False


def _written(entry: CatalogEntry) -> str:
    """How users write the name: qualified, where several distributions use it."""
    return entry.reference if entry.status == "conflict" else entry.name


def _about(schema: Schema) -> Schema:
    return {key: schema[key] for key in ("description", "default") if schema.get(key) is not None}


def _union(properties: Iterable[Mapping[str, Schema]]) -> dict[str, Schema]:
    """All attributes of several components; one that they declare differently may have any of the forms."""
    merged: dict[str, list[Schema]] = {}
    for one in properties:
        for name, schema in one.items():
            forms = merged.setdefault(name, [])
            if schema not in forms:
                forms.append(schema)
    return {
        name: forms[0] if len(forms) == 1 else {**_about(forms[0]), "anyOf": forms} for name, forms in merged.items()
    }


def _condition(attribute: str, name: str, default: Any, core: Mapping[str, Schema], params: Schema) -> Schema:
    """What holds where the selector names this component."""
    own: dict[str, Schema] = params.get("properties", {})
    respelled = {value.attribute[-1] for value in VALUES}  # the section itself says what else these may hold
    condition: Schema = {"properties": {attribute: {"type": "string", "pattern": _any_case(name)}}}
    if name != default:
        condition["required"] = [attribute]
    then: Schema = {
        "properties": {key: schema for key, schema in own.items() if key not in respelled},
        "propertyNames": {"enum": sorted({*own, *core, *_outdated_names(core)})},
    }
    required = [key for key in params.get("required", []) if key not in core]
    if required:
        then["required"] = required
    return {"if": condition, "then": then}


def _outdated_names(core: Mapping[str, Schema]) -> list[str]:
    return [str(alias.spelling[-1]) for alias in ATTRIBUTES if len(alias.spelling) == 2 and alias.meaning[-1] in core]


def _any_case(name: str) -> str:
    """A pattern for a name as the catalog compares names, bare or behind its distribution."""
    folded = "".join(
        f"[{c.lower()}{c.upper()}]" if c.isalpha() else "[-_]" if c in "-_" else re.escape(c) for c in name
    )
    return f"^(?:[^/]+/)?{folded}$"


def _one_of_names(names: Sequence[str]) -> Schema:
    patterns = "|".join(_any_case(name) for name in names)
    anywhere: Schema = {"type": "string", "pattern": f"{patterns}|/" if patterns else "/"}
    return {"anyOf": [{"enum": sorted(set(names), key=str.lower)}, anywhere] if names else [anywhere]}


def _add_aliases(properties: dict[str, Schema], definitions: dict[str, Schema]) -> None:
    for alias in ATTRIBUTES:
        section = _section_of(alias.spelling, properties, definitions)
        if section is not None:
            section[str(alias.spelling[-1])] = {
                "description": f"Outdated: write {dotted(alias.meaning)}.",
                "deprecated": True,
            }
    for value in VALUES:
        section = _section_of(value.attribute, properties, definitions)
        if section is not None:
            name = str(value.attribute[-1])
            rest = {key: item for key, item in section[name].items() if key not in ("description", "default")}
            section[name] = {**_about(section[name]), "anyOf": [rest, {"const": value.spelling}]}


def _section_of(
    path: TreePath, properties: dict[str, Schema], definitions: dict[str, Schema]
) -> dict[str, Schema] | None:
    """The properties among which the last step of a path stands; None where it is below a component's attribute."""
    if len(path) == 1:
        return properties
    reference = _reference(properties[str(path[0])])
    section: dict[str, Schema] = definitions[reference]["properties"]
    return section if len(path) == 2 else None


def _reference(schema: Schema) -> str:
    for option in [schema, *schema.get("anyOf", [])]:
        if "$ref" in option:
            return str(option["$ref"]).rpartition("/")[2]
    raise KeyError("$ref")


def _requirement(mode: str) -> Schema:
    groups = GROUPS[mode]  # type: ignore[index]
    return {
        "if": {"properties": {"operation_mode": {"const": mode}}, "required": ["operation_mode"]},
        "then": {"required": [name for name in SECTIONS if is_required(name, groups)]},
    }


def _loosened(schema: Any, *, required: bool) -> Any:
    """The schema as the YAML's extensions relax it.

    Args:
        schema: a schema as pydantic writes it.
        required: False for an attribute that may be left without a value.
    """
    if not isinstance(schema, dict):
        return schema
    result: Schema = {
        _LIMITS.get(str(key), str(key)): copy.deepcopy(value) for key, value in schema.items() if key != "title"
    }
    if result.get("default", ...) is None:
        del result["default"]
    for key in ("properties", "patternProperties"):
        if key in result:
            needed = result.get("required", [])
            result[key] = {
                name: _loosened(value, required=name in needed) if isinstance(value, dict) else value
                for name, value in result[key].items()
            }
    for key in ("items", "additionalProperties", "then"):
        if isinstance(result.get(key), dict):
            result[key] = _loosened(result[key], required=key != "additionalProperties")
    for key in ("anyOf", "allOf", "prefixItems"):
        if key in result:
            result[key] = [_loosened(option, required=True) for option in result[key]]
    if "anyOf" in result:
        result["anyOf"] = _flat(result["anyOf"])
    references = [option for option in result.get("anyOf", []) if set(option) == {"$ref"}]
    if references and all(option in (references[0], {"type": "null"}) for option in result["anyOf"]):
        del result["anyOf"]
        return {**result, **references[0]}  # a section, which may be empty anyway
    alternatives = _alternatives(result)
    if not required and "$ref" not in result:
        alternatives += [{"type": "null"}, {"const": "None"}]
    if not alternatives:
        return result
    about = {key: result.pop(key) for key in ("description", "default", "deprecated") if key in result}
    if not result:
        return about  # anything goes already
    options = result.pop("anyOf") if set(result) == {"anyOf"} else [result]
    return {**about, "anyOf": [*options, *(one for one in alternatives if one not in options)]}


def _flat(options: Iterable[Schema]) -> list[Schema]:
    """Without choices inside a choice."""
    flat: list[Schema] = []
    for option in options:
        for inner in option["anyOf"] if set(option) == {"anyOf"} else [option]:
            if inner not in flat:
                flat.append(inner)
    return flat


def _alternatives(schema: Schema) -> list[Schema]:
    """What YAML users may write instead of a value of this type."""
    interpolation: Schema = {"type": "string", "pattern": _INTERPOLATION}
    match schema.get("type"):
        case "number" | "integer":
            return [{"type": "string", "pattern": _EXPRESSION}, interpolation]
        case "boolean":
            return [{"enum": ["True", "False"]}, interpolation]
        case "array":
            return [{"type": "string", "pattern": _SEQUENCE}, interpolation]
        case "string" if "enum" not in schema and "const" not in schema and "pattern" not in schema:
            return [{"type": ["number", "boolean"]}]
        case "string" if "enum" in schema:
            return [interpolation]
    return []
