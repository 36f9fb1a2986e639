"""Each distribution builds on its own, and a third party's wheel joins with nothing but pip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(
    str(path.parent.relative_to(ROOT))
    for path in (
        ROOT / "pyproject.toml",
        *ROOT.glob("contrib_*/pyproject.toml"),
        *ROOT.glob("plugins/*/pyproject.toml"),
    )
)


def call(*command: str, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def build_wheel(source: Path, target: Path) -> Path:
    call("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(target), str(source), cwd=target)
    [wheel] = target.glob("*.whl")
    return wheel


def test_every_top_level_part_is_a_distribution() -> None:
    assert {"contrib_backbones", "contrib_losses", "contrib_quantizers", "contrib_targets"} <= set(FOLDERS)
    assert {"plugins/dataset_readers", "plugins/augmentations", "plugins/template"} <= set(FOLDERS)
    assert {"plugins/tracker_mlflow", "plugins/tracker_clearml"} <= set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_wheel_holds_only_its_own_package(folder: str, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheel = build_wheel(ROOT / folder, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert len(packages) == 1, packages
    [package] = packages
    assert (ROOT / folder / package).is_dir()
    assert f"{package}/py.typed" in names
    assert not [name for name in names if "/tests/" in name or name.endswith(".pyc")]
    assert wheel.name.startswith(project["name"].replace("-", "_"))


def test_core_alone_imports_no_tensorflow_and_says_how_to_get_plugins(tmp_path: Path) -> None:
    """The core's wheel on a path without any plugin's metadata lists nothing, and says what to install."""
    site = tmp_path / "site"
    wheel = build_wheel(ROOT, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import sys, importlib.metadata as m\n"
        "real = m.entry_points\n"
        "kept = m.EntryPoints(e for g in real().groups if not g.startswith('reidfw.') for e in real(group=g))\n"
        "m.entry_points = lambda **params: kept.select(**params)\n"
        "from reidfw_core.cli.app import main\n"
        "try: main()\n"
        "finally: assert 'tensorflow' not in sys.modules\n"
    )
    out = call("-c", code, "list", cwd=tmp_path, PYTHONPATH=str(site))
    assert "pip install" in out
    assert "reidfw-backbones" in out


def test_a_third_partys_wheel_is_installed_listed_used_and_removed(
    tmp_path: Path, tiny_config: Path, tiny_data: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "plugins" / "template", source, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    (tmp_path / "wheels").mkdir()
    wheel = build_wheel(source, tmp_path / "wheels")
    listing = ("-m", "reidfw_core.cli.app", "list", "--json")
    assert "template.tiny_conv" not in call(*listing, cwd=tmp_path)
    call("-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel), cwd=tmp_path)
    try:
        rows = {row["name"]: row for row in json.loads(call(*listing, cwd=tmp_path))}
        assert rows["template.tiny_conv"]["status"] == "ok"
        assert rows["template.tiny_conv"]["distribution"] == "reidfw-plugin-template"
        assert "template.forestcam" in call(
            "-m", "reidfw_core.cli.app", "show", "targets", "template.forestcam", cwd=tmp_path
        )
        out = call(
            "-m",
            "reidfw_core.cli.app",
            "run",
            str(tiny_config),
            "operation_mode=training",
            "model.model_name=template.tiny_conv",
            "training.epochs=1",
            "hydra.run.dir=third_party",
            cwd=tmp_path,
        )
        assert "template.tiny_conv" in out
        used = json.loads((tmp_path / "third_party/reidfw/environment.json").read_text(encoding="utf-8"))["components"]
        assert {"reidfw-plugin-template"} <= {component["distribution"] for component in used}
    finally:
        call("-m", "pip", "uninstall", "-q", "-y", "reidfw-plugin-template", cwd=tmp_path)
    assert "template.tiny_conv" not in call(*listing, cwd=tmp_path)
