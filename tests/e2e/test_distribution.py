"""Training on two devices of one computer, and in two processes that stand for two computers."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TWO_DEVICES = """
import sys
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from reidfw_core.cli.app import main
main()
"""
OPTIONS = ["operation_mode=training", "training.epochs=2"]


def losses(run: Path) -> list[float]:
    with (run / "logs/metrics/train_metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def mirrored(tiny_config_text: str, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mirrored")
    (folder / "config.yaml").write_text(tiny_config_text)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            TWO_DEVICES,
            "run",
            "config.yaml",
            *OPTIONS,
            "hydra.run.dir=m",
            "training.distribution=mirrored",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "m"


def test_two_devices_train_one_model(mirrored) -> None:
    assert len(losses(mirrored)) == 2
    assert (mirrored / "saved_models/best_model.keras").is_file()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def test_two_computers_train_as_two_devices_do(mirrored, tiny_config, tmp_path) -> None:
    workers = [f"localhost:{free_port()}" for _ in range(2)]
    running = []
    for place in range(2):
        cluster = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": place}})
        command = [sys.executable, "-m", "reidfw_core.cli.app", "run", str(tiny_config), *OPTIONS]
        command += ["hydra.run.dir=w", "training.distribution=multi_worker"]
        folder = tmp_path / f"computer{place}"  # each has a disk, and an MLflow, of its own
        folder.mkdir()
        with (tmp_path / f"{place}.txt").open("w") as screen:
            running.append(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    stdout=screen,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "TF_CONFIG": cluster},
                )
            )
    try:
        for place, worker in enumerate(running):
            assert worker.wait(timeout=300) == 0, (tmp_path / f"{place}.txt").read_text()
    finally:
        for worker in running:
            worker.kill()
    first, second = losses(tmp_path / "computer0/w"), losses(tmp_path / "computer1/w_worker1")
    assert first == pytest.approx(second, rel=1e-6)
    assert first == pytest.approx(losses(mirrored), rel=1e-3)


def test_several_computers_need_tf_config(tiny_config, reidfw, monkeypatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    outcome = reidfw("run", tiny_config, *OPTIONS, "training.distribution=multi_worker")
    assert outcome.code == 2
    assert "TF_CONFIG" in outcome.text


def test_sharpness_aware_minimisation_is_for_one_device(tiny_config, reidfw) -> None:
    outcome = reidfw("run", tiny_config, *OPTIONS, "training.distribution=mirrored", "training.sharpness_radius=0.05")
    assert outcome.code == 2
    assert "one device only" in " ".join(outcome.text.split())
