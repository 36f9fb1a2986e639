"""Finding ST Edge AI Core, on three systems, and asking its version, whatever stands there instead."""

from pathlib import Path

import pytest
from reidfw_targets.stedgeai.executable import Version, find_executable, probe

from reidfw_core.api import ToolFailed, ToolNotFound

from .vendor_tool import write_program, write_stedgeai


def nothing(name: str) -> None:
    """A PATH on which nothing is."""


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("platform", "inside"),
    [
        ("linux", "Utilities/linux/stedgeai"),
        ("win32", "Utilities/windows/stedgeai.exe"),
        ("darwin", "Utilities/mac/stedgeai"),
        ("darwin", "Utilities/macarm/stedgeai"),
    ],
)
def test_a_folder_of_an_installation(tmp_path, platform, inside):
    write_stedgeai(tmp_path / "2.0" / inside)
    write_stedgeai(tmp_path / "10.0" / inside)
    one = find_executable(tmp_path / "2.0", {}, platform, nothing)
    assert one == (tmp_path / "2.0" / inside, "tools.stedgeai.path_to_stedgeai")
    newest, _ = find_executable(tmp_path, {}, platform, nothing)
    assert newest == tmp_path / "10.0" / inside
    by_environment, by = find_executable(None, {"STEDGEAI_CORE_DIR": str(tmp_path / "2.0")}, platform, nothing)
    assert by_environment == tmp_path / "2.0" / inside
    assert "STEDGEAI_CORE_DIR" in by


def test_the_order(tmp_path):
    names = ("configured", "variable", "on_path")
    configured, variable, on_path = (write_stedgeai(tmp_path / name / "stedgeai") for name in names)

    def which(name: str) -> str | None:
        return str(on_path) if name == "stedgeai" else None

    environment = {"STEDGEAI_CORE_DIR": str(variable.parent)}
    assert find_executable(configured, environment, "linux", which)[0] == configured
    assert find_executable(None, environment, "linux", which)[0] == variable
    assert find_executable(None, {}, "linux", which) == (on_path, "PATH")
    assert find_executable(Path("stedgeai"), {}, "linux", which)[0] == on_path
    assert find_executable(None, {"STM32_AI_EXE": str(configured), **environment}, "linux", which)[0] == configured


def test_the_usual_folder(tmp_path):
    program = write_stedgeai(tmp_path / "home/ST/STEdgeAI/3.0/Utilities/linux/stedgeai")
    assert find_executable(None, {}, "linux", nothing)[0] == program


def test_nothing_at_all():
    with pytest.raises(ToolNotFound) as caught:
        find_executable(None, {}, "linux", nothing)
    assert "path_to_stedgeai is not given" in caught.value.message
    assert "on_cloud: True" in caught.value.hint


def test_what_is_named_but_useless(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain").write_text("x")
    for path, message in [
        (tmp_path / "empty", "the folder .*empty, in which there is no stedgeai"),
        (tmp_path / "plain", "may not be executed"),
        (tmp_path / "absent", "which is not there"),
    ]:
        with pytest.raises(ToolNotFound, match=message):
            find_executable(path, {}, "linux", nothing)


@pytest.mark.parametrize(
    ("printed", "version", "old"),
    [
        ("ST Edge AI Core v1.0.0-19899", "1.0.0-19899", False),
        ("ST Edge AI Core v2.0.0-20049 329b0e98d", "2.0.0-20049", False),
        ("Neural Network Tools for STM32 v1.7.0 (STM.ai v8.1.0-19520)\nSTM32CubeAI 8.1.0", "8.1.0", True),
        ("Neural Network Tools for STM32AI v1.6.0 (STM.ai v7.3.0)\nSTM32CubeAI 7.3.0 (rev 2)", "7.3.0", True),
        ("STM32CubeAI 10.1.0", "10.1.0", False),
        ("2.1", "2.1.0", False),
        ("", None, False),
        ("no version here, 1.2.3.4.5 neither", None, False),
    ],
)
def test_versions(printed, version, old):
    found = Version.parse(printed)
    assert (None if found is None else str(found)) == version
    assert found is None or found.is_old == old


def test_a_version_that_is_not_that_of_its_folder_is_told(tmp_path):
    fine = write_stedgeai(tmp_path / "2.0" / "Utilities/linux/stedgeai")
    odd = write_stedgeai(tmp_path / "1.0" / "Utilities/linux/stedgeai")
    assert probe(fine, "PATH").warning is None
    assert probe(fine, "PATH").label == "ST Edge AI Core 2.0.0-20049"
    assert probe(fine, "PATH").folder == tmp_path / "2.0"
    assert "a folder of version 1.0, but says that it is 2.0.0-20049" in probe(odd, "PATH").warning


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "tells no version, .* it printed nothing"),
        ("print('Segmentation fault\\ncore dumped')", r"(?s)tells no version.*core dumped"),
        ("print('libtinfo.so missing'); raise SystemExit(127)", r"(?s)ended with status 127.*libtinfo"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by the signal SIGKILL"),
        ("import time; print('Starting', flush=True); time.sleep(60)", r"(?s)did not end within 1 s.*Starting"),
        ("import sys; sys.stdin.read(1) or sys.exit(3)", "ended with status 3"),  # waits for nobody
    ],
)
def test_an_executable_that_is_something_else(tmp_path, body, message):
    with pytest.raises(ToolFailed, match=message) as caught:
        probe(write_program(tmp_path / "stedgeai", body), "PATH", timeout_s=1)
    assert caught.value.exit_code == 3
