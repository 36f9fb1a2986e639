"""The files in examples/ do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from reidfw_core.catalog import Catalog
from reidfw_core.config import OPERATION_MODES, read_config
from reidfw_core.config.modes import GROUPS, IGNORED_SECTIONS
from reidfw_core.config.reading import TOP_LEVEL
from reidfw_core.plan.planner import make_plan
from reidfw_core.run.runner import open_bus

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
MORE_THAN_INT8 = {"chain_eqe_qat", "chain_eqe_max_map_drop"}
ON_THIS_COMPUTER = [mode for mode in OPERATION_MODES if not GROUPS[mode] & {"benchmarking", "deployment"}]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def test_there_is_one_for_each_mode_and_a_full_one() -> None:
    variants = {"benchmarking_offline", "evaluation_n6", "deployment_nucleo", "deployment_h7", *MORE_THAN_INT8}
    assert {path.stem for path in FILES} == {*OPERATION_MODES, *variants, "user_config"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_valid_without_a_single_warning(path: Path, catalog: Catalog) -> None:
    configuration = read_config(path, (), catalog, check_paths=False)
    assert configuration.warnings == ()
    if path.stem in OPERATION_MODES:
        assert configuration.config.operation_mode == path.stem


@pytest.mark.parametrize("mode", ON_THIS_COMPUTER)
def test_its_plan_can_be_made_where_no_board_is_needed(mode: str, catalog: Catalog) -> None:
    configuration = read_config(EXAMPLES / f"{mode}.yaml", (), catalog, check_paths=False)
    steps = [planned.step.name for planned in make_plan(configuration, open_bus(configuration)).steps]
    for line in (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"| [{mode}.yaml]"):
            told = re.findall(r"train|evaluate|quantize|compare|name the people", line.split("|")[2])
            assert [word.replace("name the people", "predict") for word in told] == steps
            break
    else:
        pytest.fail(f"examples/README.md does not list {mode}.yaml")


@pytest.mark.parametrize("name", sorted(MORE_THAN_INT8))
def test_those_that_save_what_int8_loses_can_be_planned_without_a_note(name: str, catalog: Catalog) -> None:
    configuration = read_config(EXAMPLES / f"{name}.yaml", (), catalog, check_paths=False)
    plan = make_plan(configuration, open_bus(configuration))
    assert plan.notes == ()
    fine_tune = ["fine_tune"] if name.endswith("_qat") else []
    assert [planned.step.name for planned in plan.steps] == ["evaluate", *fine_tune, "quantize", "compare", "evaluate"]


@pytest.mark.parametrize("mode", OPERATION_MODES)
def test_the_full_one_serves_every_mode(mode: str, catalog: Catalog) -> None:
    changes = [f"operation_mode={mode}"]
    if "training" not in GROUPS[mode]:
        changes += ["model.model_path=model.tflite", "~model.model_name"]
    assert read_config(EXAMPLES / "user_config.yaml", changes, catalog, check_paths=False).warnings == ()


def test_the_full_one_has_every_section() -> None:
    text = (EXAMPLES / "user_config.yaml").read_text(encoding="utf-8")
    missing = TOP_LEVEL - IGNORED_SECTIONS - set(yaml.safe_load(text))
    assert missing == {"custom_data_augmentation"}  # it excludes data_augmentation: shown as a comment
    assert "# custom_data_augmentation:" in text


def test_the_readme_lists_all_of_them() -> None:
    linked = re.findall(r"\]\(([\w.]+\.yaml)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert sorted(linked) == [path.name for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_stays_small_and_names_nobodys_home(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/home/|/Users/", text)
    assert path.stem == "user_config" or len(text.splitlines()) <= 50
