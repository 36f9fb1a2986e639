"""The log of a run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reidfw_core.run.directory import LOG_NAME, run_log


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_costs_lines_of_the_log_and_not_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    with run_log(tmp_path):
        logging.getLogger("somebody").warning("a line")
    assert "Traceback" not in capsys.readouterr().err
