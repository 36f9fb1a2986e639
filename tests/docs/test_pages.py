"""What README.md and docs/ say agrees with the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer
import yaml
from pydantic import BaseModel, RootModel

from reidfw_core.artifacts import FidelityReport, RetrievalReport, TrainedModel
from reidfw_core.catalog import Catalog
from reidfw_core.cli.app import app
from reidfw_core.config import read_config
from reidfw_core.config.aliases import ATTRIBUTES, VALUES
from reidfw_core.config.checking import unknown_attributes
from reidfw_core.config.modes import GROUPS, IGNORED_SECTIONS, SECTIONS, is_required
from reidfw_core.config.reading import SECTION_MODELS, TOP_LEVEL
from reidfw_core.config.sections import ListenerItem
from reidfw_core.config.sources import SourceMap, dotted
from reidfw_core.errors import ReidfwError
from reidfw_core.metrics import best_threshold, embedding_fidelity
from reidfw_core.plan.chains import CHAINS
from reidfw_core.services.comparison import fidelity_metrics
from reidfw_core.services.deployment import benchmark_metrics
from reidfw_core.services.evaluation import retrieval_metrics
from reidfw_core.services.training import training_metrics
from reidfw_core.types import BenchmarkReport, ModelFile, ModelFormat

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")

Table = list[list[str]]


def blocks(language: str) -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: found.start()].count("\n") + 1
            yield pytest.param(found[1], id=f"{page.parent.name}/{page.name}:{line}")


def chapter(text: str, heading: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> Table:
    """The cells of all rows of the tables in a text; heads and the lines below them are left out."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    rules = {number for number, row in enumerate(rows) if all(re.fullmatch(r":?-+:?", cell) for cell in row)}
    return [row for number, row in enumerate(rows) if number not in rules and number + 1 not in rules]


# --- blocks of YAML and of commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_holds_only_what_exists(text: str, tmp_path: Path) -> None:
    values = yaml.safe_load(text)
    assert set(values) <= TOP_LEVEL
    for name, value in values.items():
        if name in SECTION_MODELS:
            assert unknown_attributes(SECTION_MODELS[name], value, (name,), SourceMap("page")) == []
    if "operation_mode" in values:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        assert read_config(tmp_path / "config.yaml", (), Catalog(), check_paths=False).warnings == ()


def test_a_complete_configuration_is_among_the_blocks() -> None:
    assert any("operation_mode" in yaml.safe_load(block.values[0]) for block in blocks("yaml"))


def commands() -> dict[str, Any]:
    command = typer.main.get_command(app)
    return dict(command.commands)  # type: ignore[attr-defined]


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("-")}


@pytest.mark.parametrize("text", blocks("bash"))
def test_commands_and_their_options_exist(text: str) -> None:
    for line in re.findall(r"(?:^|&& )reidfw (.*)$", text.replace("\\\n", " "), re.MULTILINE):
        words = line.partition("#")[0].split()
        command = commands()[words[0]]
        if hasattr(command, "commands"):  # a group such as `reidfw gallery`
            command = command.commands[words[1]]
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= options(command)


def test_the_readme_s_table_of_commands() -> None:
    rows = table(chapter((ROOT / "README.md").read_text(encoding="utf-8"), "## Commands"))
    assert {row[0].strip("`").split()[1] for row in rows} == set(commands())
    for row in rows:
        shown = re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", " ".join(row))
        assert set(shown) <= options(commands()[row[0].strip("`").split()[1]]), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


# --- docs/configuration.md --------------------------------------------------------------------------------------------

IN_ONE_ROW = {"optimizer", "weights_tensor_override", "activations_tensor_override"}
"""Attributes whose inner ones are told in their own row, or are not attributes of the YAML."""

OWNERS = {
    "dataset": ("datasets", "identity_prefix", ""),
    "training": ("losses", "triplet_hard", "triplet_loss."),
    "quantization": ("quantizers", "TFlite_converter", ""),
    "mlflow": ("listeners", "mlflow", ""),
}
"""Components whose parameters are told with a section, and what stands before their names."""


def attributes(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """Dotted names below a section with their defaults as the page writes them; None where none is set."""
    for name, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if field.is_required():
            yield prefix + name, "required"
        elif default is None or isinstance(default, BaseModel) or default in ((), {}):
            yield prefix + name, None
        else:
            yield prefix + name, f"`{default}`"
        inner = None if name in IN_ONE_ROW else inner_model(field.annotation)
        if inner is not None:
            yield from attributes(inner, f"{prefix}{name}.")


def inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(inner_model, get_args(annotation))), None)


def described(section: str) -> dict[str, str]:
    """Attribute and default of each row below the heading of a section."""
    rows = table(chapter(CONFIGURATION, f"### `{section}`"))
    names = [re.fullmatch(r"`([\w.]+)`\*?", row[0]) for row in rows]
    assert all(names), rows
    assert all(len(row) == 4 and row[3] for row in rows), f"each row of {section} has four cells with a meaning"
    found = {name[1]: row[2] for name, row in zip(names, rows, strict=True) if name}
    assert len(found) == len(rows), f"an attribute of {section} is told twice"
    return found


MODELS = {
    **{name: model for name, model in SECTION_MODELS.items() if not issubclass(model, RootModel)},
    "listeners": ListenerItem,
}


@pytest.mark.parametrize("section", MODELS)
def test_every_attribute_is_described_with_its_default(section: str) -> None:
    expected = dict(attributes(MODELS[section]))
    if section in OWNERS:
        kind, name, prefix = OWNERS[section]
        for attribute, default in attributes(Catalog().load(kind, name).Params, prefix):
            expected[attribute] = expected.get(attribute) or default
    assert described(section) == {name: default or "-" for name, default in expected.items()}


def test_every_section_has_a_heading() -> None:
    headings = set(re.findall(r"^### `(\w+)`$", CONFIGURATION, re.MULTILINE))
    assert headings == TOP_LEVEL - IGNORED_SECTIONS - {"operation_mode"}
    assert all(f"`{name}`" in CONFIGURATION for name in IGNORED_SECTIONS)


def test_which_mode_needs_which_section() -> None:
    text = chapter(CONFIGURATION, "## Sections and modes")
    head = next(line for line in text.splitlines() if line.startswith("| mode"))
    columns = re.findall(r"`(\w+)`", head)
    assert columns == list(SECTIONS)
    assert {row[0].strip("`"): row[1:] for row in table(text)} == {
        mode: ["R" if is_required(name, of) else "o" if SECTIONS[name].groups & of else "" for name in columns]
        for mode, of in GROUPS.items()
    }


def test_every_other_spelling_is_told() -> None:
    rows = [" ".join(row) for row in table(chapter(CONFIGURATION, "## Spellings"))]
    for alias in ATTRIBUTES:
        assert any(f"`{dotted(alias.spelling)}`" in row and f"`{dotted(alias.meaning)}`" in row for row in rows), alias
    for value in VALUES:
        found = [row for row in rows if f"`{dotted(value.attribute)}: " in row]
        assert any(str(value.spelling) in row for row in found), value


# --- docs/results.md --------------------------------------------------------------------------------------------------


def report(kind: str, data_name: str) -> RetrievalReport:
    model = ModelFile(path=Path("m.keras"), format=ModelFormat("keras"), name="m")
    return RetrievalReport(
        model=model,
        kind=kind,
        data_name=data_name,
        rank_accuracy={1: 0.1, 5: 0.2, 10: 0.3},
        mean_average_precision=0.5,
        mean_inverse_negative_penalty=0.25,
        cmc=(0.1, 0.2),
        intervals={},
        confidence=None,
        num_queries=2,
        num_gallery=2,
        queries_without_match=0,
        unmatched=(),
        per_identity=(),
        per_camera=(),
        worst=(),
        metric="cosine",
        protocol="all",
        options={},
        verification=best_threshold([[1.0, 0], [0, 1.0]], [[1.0, 0], [0, 1.0]], ["a", "b"], ["a", "b"]),
        kernels="k",
        images_per_second=1.0,
    )


def told_names() -> set[str]:
    rows = table(chapter(RESULTS, "## Names of the numbers"))
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


@pytest.mark.parametrize("kind", ["float", "int"])
def test_names_of_retrieval_scores_are_told(kind: str) -> None:
    assert set(retrieval_metrics(report(kind, "test_set"))) <= told_names()
    assert "`_validation_set`" in RESULTS


def test_names_of_training_results_are_told() -> None:
    model = report("float", "test_set").model
    trained = TrainedModel(
        embedding_model=model,
        classification_model=model,
        history={},
        best_epoch=1,
        num_identities=2,
        seconds=1.0,
        validation={"val_accuracy": 0.5, "val_loss": 1.0, "val_mAP": 0.5},
    )
    names = set(training_metrics(trained))
    assert len(names) == 5
    assert names <= told_names()


def test_names_of_board_results_are_told() -> None:
    measured = BenchmarkReport(
        inference_ms=1.0,
        cycles=1,
        macs=1,
        activations_ram_kib=1.0,
        total_ram_kib=1.0,
        weights_flash_kib=1.0,
        total_flash_kib=1.0,
        runtime_ram_kib=1.0,
        code_flash_kib=1.0,
        internal_ram_kib=1.0,
        external_ram_kib=1.0,
        internal_flash_kib=1.0,
        external_flash_kib=1.0,
    )
    names = set(benchmark_metrics(measured))
    assert len(names) == 13
    assert names <= told_names()


def test_names_of_fidelity_are_told() -> None:
    model = report("int", "test_set").model
    embeddings = np.random.default_rng(0).normal(size=(20, 4))
    compared = FidelityReport(
        source=model, model=model, num_images=20, origin="x", scores=embedding_fidelity(embeddings, embeddings + 0.1)
    )
    names = set(fidelity_metrics(compared))
    assert len(names) == 6
    assert names <= told_names()


def error_classes(of: type[ReidfwError] = ReidfwError) -> Iterator[type[ReidfwError]]:
    yield of
    for below in of.__subclasses__():
        yield from error_classes(below)


def test_exit_codes_are_told() -> None:
    told = {int(row[0]) for row in table(chapter(RESULTS, "## Exit codes"))}
    assert told == {0, 1, 130} | {one.exit_code for one in error_classes() if one.__module__ == "reidfw_core.errors"}


def test_the_command_to_go_on_names_modes_that_exist() -> None:
    ending = chapter(RESULTS, "## When a run ends early")
    assert set(re.findall(r"`(chain_\w+)`", ending)) <= set(CHAINS)
