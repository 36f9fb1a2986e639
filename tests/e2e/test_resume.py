"""A training that is killed goes on exactly where it stopped."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from reidfw_core._keras.state import read_state

pytestmark = pytest.mark.slow

RECIPE = [
    "operation_mode=training",
    "general.deterministic_ops=True",
    "training.epochs=6",
    "training.dropout=0.3",
    "model.bn_neck=True",
    "+training.callbacks.ReduceLROnPlateau={monitor: val_loss, factor: 0.5, patience: 1, min_delta: 10}",
    "+training.callbacks.EarlyStopping={monitor: val_mAP, mode: max, patience: 50, restore_best_weights: true}",
    "+data_augmentation.random_translation={width_factor: 0.2, height_factor: 0.1}",
    "training.warmup_epochs=3",
    "dataset.validation_split_by=image",
    "training.validate_every=2",
]


def start(config: Path, folder: Path, run_dir: str, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "reidfw_core.cli.app", "run", str(config), *RECIPE, f"hydra.run.dir={run_dir}"]
    with (folder / f"{run_dir}.txt").open("w") as screen:
        return subprocess.Popen([*command, *more], cwd=folder, stdout=screen, stderr=subprocess.STDOUT)


def wait_for(text: str, running: subprocess.Popen[bytes], screen: Path) -> None:
    deadline = time.monotonic() + 240
    while text not in screen.read_text():
        assert running.poll() is None, screen.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rows(run: Path) -> list[list[str]]:
    with (run / "logs/metrics/train_metrics.csv").open() as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def whole(tiny_config_text: str, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "config.yaml").write_text(tiny_config_text)
    running = start(folder / "config.yaml", folder, "r")
    assert running.wait(timeout=400) == 0, (folder / "r.txt").read_text()
    return folder / "r"


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize("how", ["resume", "resume_training_from"])
def test_killed_and_resumed_is_as_never_interrupted(whole, tiny_config, tmp_path, reidfw, how) -> None:
    running = start(tiny_config, tmp_path, "k")
    try:
        wait_for("Epoch 3/6", running, tmp_path / "k.txt")
        time.sleep(float(np.random.default_rng().uniform(0, 0.4)))
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait(timeout=60)
    killed = tmp_path / "k"
    assert json.loads((killed / "reidfw/status.json").read_text())["status"] == "running"
    if how == "resume":
        outcome = reidfw("resume", killed)
        resumed = killed
    else:
        last = killed / "saved_models/last_augmented_model.keras"
        outcome = reidfw("run", tiny_config, *RECIPE, "hydra.run.dir=n", f"training.resume_training_from='{last}'")
        resumed = Path("n").absolute()
    assert outcome.code == 0, outcome.text
    one, other = (read_state(run / "saved_models/last_augmented_model.keras") for run in (whole, resumed))
    assert one.arrays.keys() == other.arrays.keys()
    for group, arrays in one.arrays.items():
        for place, (first, second) in enumerate(zip(arrays, other.arrays[group], strict=True)):
            np.testing.assert_array_equal(first, second, err_msg=f"{group} {place}")
    drop = {"seconds"}
    assert {k: v for k, v in one.facts.items() if k not in drop} == {
        k: v for k, v in other.facts.items() if k not in drop
    }
    assert [[float(v) for v in row] for row in rows(whole)[1:]] == [
        [float(v) for v in row] for row in rows(resumed)[1:]
    ]
    for name in ("best_model.keras", "best_model_classification.keras"):
        weights = [zipfile.ZipFile(run / "saved_models" / name).read("model.weights.h5") for run in (whole, resumed)]
        assert weights[0] == weights[1]


def test_a_finished_run_without_training_is_not_told_to_train_on(tmp_path) -> None:
    from reidfw_core.errors import DataError
    from reidfw_core.run.resume import open_run

    state = tmp_path / "reidfw"
    state.mkdir()
    (state / "config.resolved.yaml").write_text("operation_mode: deployment\n")
    (state / "status.json").write_text(json.dumps({"status": "finished", "finished_steps": ["deploy"]}))
    with pytest.raises(DataError, match="is finished") as caught:
        open_run(tmp_path)
    assert caught.value.hint.startswith("To do it again: reidfw run ")
    assert "training" not in caught.value.hint


def test_a_finished_training_is_taken_over_by_a_chain(tiny_config, reidfw) -> None:
    outcome = reidfw("run", tiny_config, "hydra.run.dir=c", "training.epochs=1")
    assert outcome.code == 0, outcome.text
    status = Path("c/reidfw/status.json")
    told = json.loads(status.read_text())
    refused = reidfw("resume", "c")
    assert refused.code == 2
    assert "is finished" in refused.text
    status.write_text(json.dumps({**told, "status": "failed", "finished_steps": ["train"]}))
    before = Path("c/saved_models/best_model.keras").stat().st_mtime_ns
    outcome = reidfw("resume", "c")
    assert outcome.code == 0, outcome.text
    assert "Training was finished before" in outcome.text
    assert Path("c/saved_models/best_model.keras").stat().st_mtime_ns == before
    assert json.loads(status.read_text())["status"] == "finished"
    assert "mAP" in outcome.text


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("best_model.keras", "holds no state of a training"),
        ("half.keras", "cut off or damaged"),
        ("best_augmented_model.keras", "there is one"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_written(whole, tiny_config, reidfw, file, message) -> None:
    models = whole / "saved_models"
    half = models / "half.keras"
    if not half.is_file():
        content = (models / "last_augmented_model.keras").read_bytes()
        half.write_bytes(content[: len(content) // 2])
    outcome = reidfw("run", tiny_config, *RECIPE, "hydra.run.dir=w", f"training.resume_training_from='{models / file}'")
    assert outcome.code == 2
    assert message in " ".join(outcome.text.split())
    assert not Path("w").exists()


def test_other_trainings_are_not_mixed_up(whole, tiny_config, tiny_data, reidfw) -> None:
    last = whole / "saved_models/last_augmented_model.keras"
    done = reidfw("run", tiny_config, *RECIPE, f"training.resume_training_from='{last}'")
    assert done.code == 2
    assert "nothing is left to do" in done.text
    others = reidfw(
        "run",
        tiny_config,
        *RECIPE,
        "training.epochs=7",
        f"training.resume_training_from='{last}'",
        f"dataset.training_path='{tiny_data / 'query'}'",
    )
    assert others.code == 2
    assert "other identities" in " ".join(others.text.split())
    backbone = reidfw(
        "run",
        tiny_config,
        *RECIPE,
        "training.epochs=7",
        f"training.resume_training_from='{last}'",
        "model.model_name=resnet8",
    )
    assert backbone.code == 2
    assert "is a training of mobilenetv1_a025, but model.model_name is resnet8" in " ".join(backbone.text.split())
