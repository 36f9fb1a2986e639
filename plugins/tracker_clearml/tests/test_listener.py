"""What a task holds after a run, in ClearML's offline mode; each in a process and a home folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from reidfw_tracker_clearml.configuration import configuration_file

pytest.importorskip("clearml", reason="clearml is not installed")

CONF = """
api {
    web_server: http://127.0.0.1:1
    api_server: http://127.0.0.1:1
    files_server: http://127.0.0.1:1
    credentials { "access_key" = "A", "secret_key" = "B" }
}
"""

RUN = """
import pathlib, random, signal, sys
from PIL import Image
from reidfw_core.api import ReidfwError
from reidfw_tracker_clearml.listener import ClearmlListener
assert "clearml" not in sys.modules
random.seed(1)
state, handler = random.getstate(), signal.getsignal(signal.SIGINT)
folder = pathlib.Path("run"); folder.mkdir()
(folder / "best_model.keras").write_bytes(b"model")
Image.new("RGB", (8, 8)).save(folder / "curves.png")
listener = ClearmlListener()
config = {"general": {"project_name": "cattle"}, "training": {"epochs": 2}, "mlflow": {"uri": "http://me:secret@host"}}
try:
    listener.run_started(run_dir=folder, project="cattle", operation_mode="training", config=config, origin={})
except ReidfwError as error:
    print("REFUSED", error.message)
listener.epoch_finished(epoch=1, metrics={"loss": 2.0, "val_loss": 2.5})
listener.metrics_reported(step="evaluate", metrics={"float_mAP": 0.5}, params={"target": "host"})
listener.artifact_saved(path=folder / "best_model.keras", description="model")
listener.artifact_saved(path=folder / "curves.png", description="training curves")
if STATUS != "finished":
    listener.step_failed(step="train", error=ValueError("no images"))
listener.run_finished(status=STATUS)
print("SAME", random.getstate() == state, signal.getsignal(signal.SIGINT) is handler)
print("IMPORTED", "clearml" in sys.modules)
"""


def follow(folder: Path, status: str = "finished", *, conf: bool = True, offline: bool = True) -> str:
    (folder / "home").mkdir()
    if conf:
        (folder / "home" / "clearml.conf").write_text(CONF)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML", "TRAINS"))}
    environment |= {"HOME": str(folder / "home"), "USERPROFILE": str(folder / "home")}
    if offline:
        environment["CLEARML_OFFLINE_MODE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", f"STATUS = {status!r}\n{RUN}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow  # ClearML takes ten seconds to close a task
@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_a_whole_run(tmp_path: Path, status: str) -> None:
    assert "SAME True True" in follow(tmp_path, status)
    [session] = (tmp_path / "home").rglob("offline-*.zip")
    with zipfile.ZipFile(session) as archive:
        text = {name: archive.read(name).decode("utf-8", "replace") for name in archive.namelist()}
    task = json.loads(text["task.json"])
    assert task["project_name"] == "cattle"
    assert task["name"].endswith("_cattle")
    assert task["name"][:4].isdigit()
    assert task["tags"] == [status]
    assert task.get("comment", "") == ("" if status == "finished" else "train: ValueError: no images")
    assert task["hyperparams"]["reidfw"]["training.epochs"]["value"] == "2"
    assert task["hyperparams"]["evaluate"]["target"]["value"] == "host"
    assert "epochs = 2" in task["configuration"]["reidfw"]["value"]
    assert [artifact["key"] for artifact in task["execution"]["artifacts"]] == ["best_model.keras"]
    events = [event for line in text["metrics.jsonl"].splitlines() for event in json.loads(line)]
    scalars = {(one["metric"], one["variant"], one["iter"]): one["value"] for one in events if "value" in one}
    assert scalars["loss", "training", 1] == 2.0
    assert scalars["loss", "validation", 1] == 2.5
    assert 0.5 in scalars.values()
    assert any(one["metric"] == "training curves" for one in events)
    assert any(name.endswith("best_model.keras") for name in text)
    assert not any("secret" in content for content in text.values())


def test_nothing_happens_without_a_configuration(tmp_path: Path) -> None:
    out = follow(tmp_path, conf=False, offline=False)
    assert "IMPORTED False" in out
    assert list((tmp_path / "home").iterdir()) == []


def test_a_server_that_is_down_is_found_at_once(tmp_path: Path) -> None:
    out = follow(tmp_path, offline=False)
    assert "REFUSED no ClearML server answers at http://127.0.0.1:1" in out


def test_where_clearml_looks_for_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("CLEARML_CONFIG_FILE", raising=False)
    monkeypatch.delenv("TRAINS_CONFIG_FILE", raising=False)
    assert configuration_file() is None
    (tmp_path / "clearml.conf").touch()
    assert configuration_file() == tmp_path / "clearml.conf"
    other = tmp_path / "other.conf"
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(other))
    assert configuration_file() == tmp_path / "clearml.conf"
    other.touch()
    assert configuration_file() == other
