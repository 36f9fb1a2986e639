"""The linters and type checkers of the project, as tests, so that the one test command covers them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def passes(*command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]


def test_ruff_finds_nothing() -> None:
    passes("ruff", "check", ".")


def test_everything_is_formatted() -> None:
    passes("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_the_core_is_strictly_typed() -> None:
    passes("mypy")


@pytest.mark.slow
def test_imports_keep_the_layers() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [ROOT / name for name in listed if "tests/" not in name and (ROOT / name).is_file()]


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("text is never evaluated", r"(?<![\w.])(eval|exec)\("),
        ("no command goes through a shell", r"shell\s*=\s*True|os\.system\("),
        ("no error is swallowed", r"except( Exception| BaseException)?( as \w+)?:\s*(pass|continue)\s*$"),
        ("nothing is left undone", r"NotImplementedError|\bTODO\b|\bFIXME\b"),
        ("certificates are always verified", r"verify\s*=\s*False|_create_unverified_context"),
    ],
)
def test_forbidden_patterns(what: str, pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, f"{what}, but: {found}"


def test_the_core_names_no_plugin() -> None:
    names = re.compile(r"mobilenet|osnet|stm32[hnfl]\d|nucleo", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources()
        if path.is_relative_to(ROOT / "reidfw_core")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if names.search(re.sub(r'""".*?"""|#.*|for example .*', "", line))
        and not line.lstrip().startswith(('"""', "#"))
        and '"""' not in line
        and "example" not in line
    ]
    assert not found
