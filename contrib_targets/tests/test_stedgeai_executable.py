"""Finding ST Edge AI Core, on three systems, and asking its version, whatever stands there instead."""

from pathlib import Path

import pytest
from reidfw_targets.stedgeai.executable import Version, find_executable, is_named, probe

from reidfw_core.api import ToolFailed, ToolNotFound

from .vendor_tool import write_program, write_stedgeai

CORE_2_0 = """ST Edge AI Core v2.0.0-20049
   ISPU 1.1.0
   MLC 1.1.0
   StellarStudioAI 2.0.0
   STM32CubeAI 10.0.0
"""
"""What version 2.0 prints: the versions of its parts stand below its own."""


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


PACK = "STM32Cube/Repository/Packs/STMicroelectronics/X-CUBE-AI"


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ("linux", "home/ST/STEdgeAI/3.0/Utilities/linux/stedgeai"),
        ("linux", f"home/{PACK}/10.2.1/Utilities/linux/stedgeai"),
        ("darwin", "home/ST/STEdgeAI/4.0/Utilities/mac/stedgeai"),
        ("darwin", f"home/{PACK}/10.2.1/Utilities/macarm/stedgeai"),
        ("win32", "C:/ST/STEdgeAI/2.2/Utilities/windows/stedgeai.exe"),
        ("win32", f"home/{PACK}/10.2.1/Utilities/windows/stedgeai.exe"),
    ],
)
def test_the_usual_folders(tmp_path, monkeypatch, platform, place):
    monkeypatch.chdir(tmp_path)  # C: is a folder here
    program = write_stedgeai(tmp_path / place)
    assert find_executable(None, {}, platform, nothing)[0] == program


@pytest.mark.parametrize(
    ("platform", "given"),
    [
        ("win32", "C:/ST/STEdgeAI/2.2/Utilities/windows/stedgeai.exe"),
        ("win32", "C:/ST/STEdgeAI/2.2/Utilities/windows"),
        ("win32", "C:/ST/STEdgeAI/2.2"),
        ("win32", "C:/ST/STEdgeAI"),
        ("win32", "C:/ST"),
    ],
)
def test_what_windows_users_write(tmp_path, monkeypatch, platform, given):
    monkeypatch.chdir(tmp_path)
    program = write_stedgeai(tmp_path / "C:/ST/STEdgeAI/2.2/Utilities/windows/stedgeai.exe")
    program.chmod(0o644)  # there, no file is marked as a program
    if given == "C:/ST":
        with pytest.raises(ToolNotFound, match=r"no stedgeai for this system") as caught:
            find_executable(Path(given), {}, platform, nothing)
        assert "Utilities/windows/stedgeai.exe" in caught.value.hint
    else:
        assert find_executable(Path(given), {}, platform, nothing)[0] == program


def test_the_folder_of_a_pack_is_named_by_the_pack(tmp_path):
    program = write_stedgeai(
        tmp_path / PACK / "10.2.1/Utilities/linux/stedgeai", version="ST Edge AI Core v2.2.0-20266"
    )
    assert probe(program, "PATH").warning is None


def test_nothing_at_all():
    with pytest.raises(ToolNotFound) as caught:
        find_executable(None, {}, "linux", nothing)
    assert "path_to_stedgeai is not given" in caught.value.message
    assert "on_cloud: True" in caught.value.hint


def test_an_empty_variable_names_nothing():
    assert not is_named(None, {"STEDGEAI_CORE_DIR": "", "STM32_AI_EXE": ""})
    assert is_named(None, {"STEDGEAI_CORE_DIR": "/opt/x"})


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
        ("ST Edge AI Core v2.0.0-A1\n    STM32CubeAI 10.0.0\n", "2.0.0-A1", False),
        ("ST Edge AI Core v2.0.0-20049 329b0e98d", "2.0.0-20049", False),
        (CORE_2_0, "2.0.0-20049", False),
        ("ST Edge AI Core v2.2.0-20266 2adc00962\r\n   STM32CubeAI 10.2.0-RC1", "2.2.0-20266", False),
        ("ST Edge AI Core v4.0.1-20581 7ed50de05\n   STM32CubeAI 12.0.1-RC2", "4.0.1-20581", False),
        ("Neural Network Tools for STM32 v1.7.0 (STM.ai v8.1.0-19520)\nSTM32CubeAI 8.1.0", "8.1.0-19520", True),
        ("Neural Network Tools for STM32AI v1.6.0 (STM.ai v7.3.0)\nSTM32CubeAI 7.3.0 (rev 2)", "7.3.0", True),
        ("STM32CubeAI 10.1.0", "10.1.0", False),
        ("true (GNU coreutils) 9.1\nCopyright (C) 2022 Free Software Foundation, Inc.", None, False),
        ("Python 3.11.7", None, False),
        ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", None, False),
        ("2.1", None, False),
        ("   ISPU 1.1.0\n   MLC 1.1.0", None, False),
        ("ST Edge AI Core", None, False),
        ("", None, False),
        ("ST Edge AI Core 1.2.3.4.5", None, False),
    ],
)
def test_versions(printed, version, old):
    found = Version.parse(printed)
    assert (None if found is None else str(found)) == version
    assert found is None or found.is_old == old


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("2.0.0", True),
        ("2.0", True),
        ("10.0.0", True),
        ("10.0", True),
        ("2.1.0", False),
        ("10.1.0", False),
        ("x", False),
    ],
)
@pytest.mark.parametrize("printed", [CORE_2_0, "ST Edge AI Core v2.0.0-20049"])
def test_both_numbers_of_a_version_count(printed, asked, answers):
    assert Version.parse(printed).answers_to(asked) == answers


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
        ("", "does not tell a version .* It printed nothing"),
        ("print('Segmentation fault\\ncore dumped')", r"(?s)does not tell a version.*core dumped"),
        (
            "import sys; sys.stdout.buffer.write(bytes(range(256)))",
            r"so it is something else\. Its last lines:[^\x00-\x08\x0b-\x1f\x7f]*$",
        ),
        ("print('true (GNU coreutils) 9.1')", r"(?s)so it is something else. Its last lines:.*coreutils"),
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
