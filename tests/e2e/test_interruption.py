"""Ctrl-C leaves a run folder that says how far the run came."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "kill") or sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_in_the_middle_of_training(tiny_config: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "reidfw_core.cli.app",
        "run",
        str(tiny_config),
        "training.epochs=500",
        "hydra.run.dir=r",
    ]
    with (tmp_path / "screen.txt").open("w") as screen:
        # Background jobs of a shell ignore SIGINT, and their children inherit that: the run must not.
        running = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=screen,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads yet)
        )
        deadline = time.monotonic() + 240
        try:
            while "Epoch 2/500" not in (tmp_path / "screen.txt").read_text():
                assert running.poll() is None, (tmp_path / "screen.txt").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.3)
            running.send_signal(signal.SIGINT)
            assert running.wait(timeout=120) == 130
        finally:
            running.kill()
    status = json.loads((tmp_path / "r" / "reidfw" / "status.json").read_text())
    assert status["status"] == "interrupted"
    assert status["failed_step"] == "train"
    assert status["remaining_steps"][0] == "train"
    screen_text = " ".join((tmp_path / "screen.txt").read_text().split())
    assert "reidfw resume" in screen_text
    assert "Traceback" not in screen_text
    assert (tmp_path / "r" / "saved_models" / "last_augmented_model.keras").is_file()
    assert not list((tmp_path / "r").rglob("*.part*"))
