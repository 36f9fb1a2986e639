"""The plugin to copy keeps its contracts, and the contract tests find what is wrong with a copy that does not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).resolve().parents[2] / "plugins" / "template"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The template, copied and made visible as an installed distribution."""
    folder = tmp_path / "template"
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = folder / f"reidfw_plugin_template-{project['version']}.dist-info"
    metadata.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in project["dependencies"]]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in names.items())])
        for group, names in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n\n".join(groups) + "\n", encoding="utf-8")
    return folder


def run_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_the_template_passes_its_own_tests(copy):
    done = run_tests(copy)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout
    assert "failed" not in done.stdout


CARELESS = (
    ("tiny_conv", "seed=seed + number", "seed=None"),
    ("tiny_conv", "from typing import Any", "import keras\nfrom typing import Any"),
    ("tiny_conv", ', description="Channels of the first convolution"', ""),
    ("forestcam", 'frozenset({ModelFormat.parse("tflite/int8")})', "frozenset()"),
)
UNFINISHED = (
    ("tiny_conv", "return keras.Model(image, features", "return keras.Model(image, image"),
    ("forestcam", "def describe_target", "def describe_board"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faults", "failing"),
    [
        (
            CARELESS,
            {
                "draws_weights_by_its_seed_alone[backbones-template.tiny_conv]",
                "module_imports_lightly[reidfw_plugin_template.tiny_conv]",
                "describes_its_params[backbones-template.tiny_conv]",
                "describes_itself[targets-template.forestcam]",
            },
        ),
        (
            UNFINISHED,
            {
                "builds_a_feature_map[backbones-template.tiny_conv]",
                "draws_weights_by_its_seed_alone[backbones-template.tiny_conv]",
                "binds_its_hooks[targets-template.forestcam]",
                "describes_itself[targets-template.forestcam]",
                "computes_embeddings[targets-template.forestcam]",
            },
        ),
    ],
    ids=["careless", "unfinished"],
)
def test_a_faulty_copy_fails_the_contract(copy, faults, failing):
    for module, old, new in faults:
        file = copy / "reidfw_plugin_template" / f"{module}.py"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
    done = run_tests(copy)
    assert done.returncode == 1, done.stdout[-3000:]
    assert set(re.findall(r"^FAILED .*::test_(\S+)", done.stdout, re.MULTILINE)) == failing
