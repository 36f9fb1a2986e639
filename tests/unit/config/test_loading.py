"""Files, overrides, interpolations and the places of values."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reidfw_core.config import load_config
from reidfw_core.errors import ConfigError

Write = Callable[[str], Path]

SMALL = """\
operation_mode: training
general:
   project_name: demo
training:
   epochs: 3
   dropout: 0.2
   optimizer:
      Adam:
         learning_rate: 1e-3
hydra:
   run:
      dir: ./out/${now:%Y}
"""


def problems(error: pytest.ExceptionInfo[ConfigError]) -> str:
    return "\n".join(str(problem) for problem in error.value.problems)


# --- files ---


@pytest.mark.parametrize(
    "name", ["user_config.yaml", "my config.yaml", "Häuser@2,x=1.yml", "a.b.c.yaml", "100%.yaml", "-x.yml"]
)
def test_a_file_may_have_any_name_in_any_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "größe = 3" / "a b"
    folder.mkdir(parents=True)
    (folder / name).write_text(SMALL, encoding="utf-8")
    loaded = load_config(folder / name)
    assert loaded.values["training"]["epochs"] == 3
    assert loaded.path == folder / name
    assert load_config(folder / Path(name).stem).path == folder / name
    assert loaded.origin == {"config_path": str(folder), "config_name": Path(name).stem}


def test_a_relative_path_is_taken_from_the_current_folder(write: Write) -> None:
    write(SMALL)
    assert load_config(Path("user_config.yaml")).path == Path("user_config.yaml").absolute()


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load_config(path).values["operation_mode"] == "training"


def test_configurations_can_be_read_one_after_another(write: Write) -> None:
    path = write(SMALL)
    first, second = load_config(path, ["training.epochs=4"]), load_config(path)
    assert (first.values["training"]["epochs"], second.values["training"]["epochs"]) == (4, 3)


def test_hydra_in_the_surrounding_program_is_left_alone(write: Write) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    path = write(SMALL)
    with initialize_config_dir(str(path.parent), version_base=None):
        load_config(path)
        assert GlobalHydra.instance().is_initialized()
        assert compose("user_config").training.epochs == 3


def test_a_missing_file_is_named_with_its_absolute_path(tmp_path: Path, write: Write) -> None:
    write(SMALL)
    with pytest.raises(ConfigError) as error:
        load_config(Path("user_confg.yaml"))
    text = problems(error)
    assert f"does not exist (tried {tmp_path / 'user_confg.yaml'})" in text
    assert "did you mean 'user_config.yaml'?" in text
    with pytest.raises(ConfigError) as error:
        load_config(Path("nowhere/x.yaml"))
    assert f"nor does the folder {tmp_path / 'nowhere'}" in problems(error)


def test_a_folder_is_no_file(tmp_path: Path, write: Write) -> None:
    write(SMALL)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path)
    assert "is a folder" in problems(error)
    assert "user_config.yaml" in problems(error)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", None, "is empty"),
        (b"\n# nothing\n", None, "is empty"),
        (b"just text\n", 1, "holds no attributes"),
        (b"- a\n- b\n", 1, "holds no attributes"),
        (b"a: 1\nb: \xe9\n", 2, "not UTF-8"),
        (b"general:\n\tproject_name: x\n", 2, "a tab"),
        (b"general:\n   a: 1\n  \tb: 2\n", 3, "a tab"),
        (b"general: {a: 1\n", 2, "not valid YAML"),
        (b"a: 'b\n", 2, "not valid YAML"),
        (b"a: b: c\n", 1, "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        (b"a: @x\n", 1, "not valid YAML"),
        (b"a: &x [*x]\n", 1, "refers to itself"),
        (b"general:\n  a: 1\n  b: 2\n  a: 3\n", 4, "is given twice, in line 2 and in line 4"),
        (b"a: 1\na: 1\n", 2, "is given twice"),
        (b"a:\n  1: x\n", 2, "is no attribute name"),
        (b"? [a]\n: 1\n", 1, "is no attribute name"),
        (b"a: 1\nb: ${a\n", 2, "no valid interpolation"),
    ],
)
def test_faulty_files_are_refused_with_their_line(
    tmp_path: Path, content: bytes, line: int | None, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    (problem,) = error.value.problems
    assert message in str(problem)
    assert problem.file == str(path)
    assert problem.line == line


def test_all_repeated_attributes_are_told_at_once(write: Write) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write("a: 1\na: 2\nb:\n  c: 1\n  c: 2\n"))
    assert [(problem.where, problem.line) for problem in error.value.problems] == [("a", 2), ("b.c", 5)]


def test_a_file_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(path)


# --- the YAML syntax of the document ---


def test_attributes_without_a_value(write: Write) -> None:
    loaded = load_config(write("attribute_1:\nattribute_2: ~\nattribute_3: null\nattribute_4: None\n"))
    assert [loaded.values[f"attribute_{number}"] for number in (1, 2, 3, 4)] == [None] * 4


def test_booleans_numbers_and_one_line_mappings(write: Write) -> None:
    loaded = load_config(
        write(
            "a: [true, false, True, False]\n"
            "patience: 10\nfactor: 0.1\nmin_lr: 1e-6\n"
            "rescaling: { scale: 1/127.5, offset: -1 }\n"
            "shapes: [(1, 2), '(3, 4)']\n'nrec': (0, 3)\n"
            'name: "Pepper,_bell___Bacterial_spot"\n'
            "schedule: |\n   lambda epoch, lr:\n       lr if epoch < 2 else\n       lr / 2\n"
        )
    )
    values = loaded.values
    assert values["a"] == [True, False, True, False]
    assert (values["patience"], values["factor"], values["min_lr"]) == (10, 0.1, 1e-6)
    assert values["rescaling"] == {"scale": 1 / 127.5, "offset": -1}
    assert values["nrec"] == (0, 3)
    assert values["name"] == "Pepper,_bell___Bacterial_spot"
    assert values["schedule"] == "lambda epoch, lr: lr if epoch < 2 else lr / 2"


def test_anchors_and_merge_keys(write: Write) -> None:
    loaded = load_config(write("base: &b\n  x: 1\n  y: 2\nother:\n  <<: *b\n  y: 3\n"))
    assert loaded.values["other"] == {"x": 1, "y": 3}
    assert loaded.sources.place(("other", "y")).line == 6


# --- overrides ---


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.epochs=2", "training.epochs", 2),
        ("operation_mode='chain_tqeb'", "operation_mode", "chain_tqeb"),
        ('general.project_name="a b"', "general.project_name", "a b"),
        ("general.project_name=a b", "general.project_name", "a b"),
        ("+new.key=1", "new.key", 1),
        ("++training.epochs=9", "training.epochs", 9),
        ("training.batch_size=64", "training.batch_size", 64),
        ("quantization.granularity=per_tensor", "quantization.granularity", "per_tensor"),
        ("preprocessing.rescaling.scale=1/127.5", "preprocessing.rescaling.scale", 1 / 127.5),
        ("model.input_shape=(256, 128, 3)", "model.input_shape", (256, 128, 3)),
        ("model.input_shape=[256,128,3]", "model.input_shape", [256, 128, 3]),
        ("training.frozen_layers=(7:13, 16, -1)", "training.frozen_layers", "(7:13, 16, -1)"),
        ("training.dropout=null", "training.dropout", None),
        ("training.dropout=None", "training.dropout", None),
        ("training.dropout=", "training.dropout", ""),
        ("training.optimizer={SGD: {momentum: 0.9}}", "training.optimizer", {"SGD": {"momentum": 0.9}}),
        (
            "training.callbacks.LearningRateScheduler.schedule=lambda epoch, lr: lr * 0.5 if epoch > 2 else lr",
            "training.callbacks.LearningRateScheduler.schedule",
            "lambda epoch, lr: lr * 0.5 if epoch > 2 else lr",
        ),
        ("training.optimizer.Adam.learning_rate=1e-4", "training.optimizer.Adam.learning_rate", 1e-4),
        ("dataset.training_path=C:\\data\\it's", "dataset.training_path", "C:\\data\\it's"),
        ("dataset.training_path=/data/ä b", "dataset.training_path", "/data/ä b"),
        ("hydra.run.dir=/tmp/x", "hydra.run.dir", "/tmp/x"),
    ],
)
def test_overrides(write: Write, override: str, path: str, value: object) -> None:
    found: object = load_config(write(SMALL), [override]).values
    for part in path.split("."):
        assert isinstance(found, dict)
        found = found[part]
    if override.startswith("training.optimizer={"):
        assert isinstance(found, dict)
        assert found == {"Adam": {"learning_rate": 1e-3}, "SGD": {"momentum": 0.9}}, (
            "mappings are merged, as Hydra does"
        )
    else:
        assert found == value
        assert type(found) is type(value)


def test_an_attribute_can_be_deleted(write: Write) -> None:
    values = load_config(write(SMALL), ["~training.dropout", "~general"]).values
    assert "dropout" not in values["training"]
    assert "general" not in values


@pytest.mark.parametrize("override", ["~hydra", "~hydra.run", "~hydra.run.dir"])
def test_the_run_directory_can_be_reset(write: Write, override: str) -> None:
    values = load_config(write(SMALL), [override]).values
    assert re.fullmatch(r"\./experiments_outputs/\d{4}(_\d\d){5}", values["hydra"]["run"]["dir"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("~training.dropuot", "did you mean 'training.dropout'"),
        ("+training.epochs=3", "exists already; write training.epochs=... without '+'"),
        ("training.epochs=1,2", "several values"),
        ("training.epochs", "is not understood"),
        ("=3", "names no attribute"),
        ("hydra.rum.dir=3", "Hydra does not take it"),
    ],
)
def test_faulty_overrides(write: Write, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(SMALL), [override])
    assert message in problems(error)
    if not override.startswith("hydra"):
        assert "command line" in problems(error)


def test_all_faulty_overrides_are_told_at_once(write: Write) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(SMALL), ["~a", "training.epochs=1,2", "training.epochs=4", "+training.epochs=1"])
    assert len(error.value.problems) == 3


@pytest.mark.parametrize(("text", "where"), [("hydra: text\n", "hydra"), ("hydra:\n  run: ./out\n", "hydra.run")])
def test_a_hydra_section_that_is_none_is_told(write: Write, text: str, where: str) -> None:
    (problem,) = load_config(write(text)).problems
    assert (problem.where, problem.line) == (where, text.count("\n"))


def test_items_of_a_list_can_be_changed(write: Write) -> None:
    loaded = load_config(write("losses:\n  - name: a\n  - name: b\n"), ["losses.1.weight=1/2", "losses.0.name=c"])
    assert loaded.values["losses"] == [{"name": "c"}, {"name": "b", "weight": 0.5}]
    assert loaded.sources.place(("losses", 0, "name")).is_command_line


def test_only_overrides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_config(None, ["operation_mode=training", "training.epochs=2"])
    assert loaded.values["training"] == {"epochs": 2}
    assert loaded.path is None


def test_a_list_of_defaults_composes_files_of_the_folder(write: Write, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("training:\n  epochs: 7\n  batch_size: 8\n")
    loaded = load_config(write("defaults:\n  - base\n  - _self_\ntraining:\n  epochs: 9\n"), ["training.batch_size=16"])
    assert loaded.values["training"] == {"epochs": 9, "batch_size": 16}
    assert "defaults" not in loaded.values
    with pytest.raises(ConfigError, match="bose"):
        load_config(write("defaults:\n  - bose\n  - _self_\n"))


# --- interpolations and the environment ---


def test_now_is_date_and_time(write: Write) -> None:
    loaded = load_config(write(SMALL))
    assert loaded.values["hydra"] == {"run": {"dir": time.strftime("./out/%Y")}}


def test_environment_variables(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REID_DATA", "/data/ä b")
    monkeypatch.setenv("REID_EPOCHS", "6*2")
    loaded = load_config(
        write(
            "a: ${REID_DATA}/query\nb: ${oc.env:REID_DATA}\nc: [ '${REID_EPOCHS}' ]\n"
            "d: ${oc.env:NO_SUCH, 3}\ne: x\nf: ${e}\n"
        ),
        ["g=${REID_DATA}"],
    )
    values = loaded.values
    assert (values["a"], values["b"], values["c"]) == ("/data/ä b/query", "/data/ä b", [12])
    assert (values["d"], values["f"], values["g"]) == (3, "x", "/data/ä b")


def test_an_attribute_wins_over_an_environment_variable(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("operation_mode", "environment")
    loaded = load_config(write("operation_mode: training\ngeneral:\n  a: ${operation_mode}\n  b: ${general.a}\n"))
    assert loaded.values["general"] == {"a": "training", "b": "training"}


def test_what_cannot_be_resolved_is_told_with_its_line(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_A", raising=False)
    loaded = load_config(
        write(
            "a: ${NO_SUCH_A}/x\nb: ${oc.env:NO_SUCH_A}\nc: ${no.such}\nd: ${e}\ne: ${d}\n"
            "f: ???\ng: ${nothing:3}\nh:\n  i: ${h}\n"
        )
    )
    told = {problem.where: problem for problem in loaded.problems}
    assert "environment variable NO_SUCH_A is not set" in told["a"].message
    assert "NO_SUCH_A" in told["b"].message
    assert "no.such" in told["c"].message
    assert {"d", "e", "f", "g"} <= set(told)
    assert [told[name].line for name in "abcdefg"] == [1, 2, 3, 4, 5, 6, 7]
    assert any(where.startswith("h") for where in told)


def test_an_environment_value_is_not_resolved_again(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REID_TRICK", "${oc.env:HOME}")
    assert load_config(write("a: ${REID_TRICK}\n")).values["a"] == "${oc.env:HOME}"


# --- what is kept for the run folder ---


def test_the_composed_configuration_is_kept_as_yaml(write: Write) -> None:
    import yaml

    loaded = load_config(write(SMALL), ["training.epochs=2"])
    composed = yaml.safe_load(loaded.config_text)
    assert composed["training"]["epochs"] == 2
    assert "hydra" not in composed
    hydra = yaml.safe_load(loaded.hydra_text)
    assert hydra["run"]["dir"] == "./out/${now:%Y}"
    assert hydra["job"]["config_name"] == "user_config"
    assert hydra["overrides"]["task"] == ["training.epochs=2"]


def test_places_and_texts(write: Write) -> None:
    loaded = load_config(
        write("general:\n  project_name: 007\n  seed: 1_000\nl:\n  - a: 1\n  - b: 2\n"), ["general.x=1e5"]
    )
    sources = loaded.sources
    assert (sources.place(("general", "project_name")).line, sources.text(("general", "project_name"))) == (2, "007")
    assert sources.place(("l", 1, "b")).line == 6
    assert sources.place(("general", "nothing", "here")).line == 1
    assert sources.place(("nothing",)).line is None
    assert sources.place(("general", "x")).is_command_line
    assert sources.text(("general", "x")) == "1e5"
