"""Distributions made on the fly: a package, its metadata and its entry points, on the path without pip."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

GOOD_BACKBONE = """
    from reidfw_core.api import Backbone, hookimpl

    class Good(Backbone):
        '''A backbone that keeps its contract.'''

        @hookimpl
        def build_backbone(self, input_shape):
            return input_shape
"""


class Zoo:
    """A folder of installed distributions.

    Args:
        folder: where they lie; it must be on the path of whoever shall see them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        distribution: str,
        *,
        source: str,
        entry_points: Mapping[str, Mapping[str, str]],
        requires: tuple[str, ...] = ("reidfw-core>=1.0,<2",),
        version: str = "1.2.3",
    ) -> Path:
        """Installs a distribution with one module, named like it; returns the module's file.

        Args:
            distribution: name of the distribution.
            source: text of the module.
            entry_points: class by name by kind; ``{"backbones": {"acme.net": "Net"}}``.
            requires: its requirements.
            version: its version.
        """
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        metadata = self.folder / f"{module}-{version}.dist-info"
        metadata.mkdir()
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {distribution}",
            f"Version: {version}",
            "Summary: An animal of the zoo",
        ]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
        groups = [
            "\n".join([f"[reidfw.{kind}]", *(f"{name} = {_target(module, target)}" for name, target in names.items())])
            for kind, names in entry_points.items()
        ]
        (metadata / "entry_points.txt").write_text("\n\n".join(groups) + "\n", encoding="utf-8")
        importlib.invalidate_caches()
        return self.folder / f"{module}.py"

    def reidfw(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line in a process of its own that sees the zoo."""
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, "-m", "reidfw_core.cli.app", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )


def _target(module: str, target: str) -> str:
    return target if ":" in target else f"{module}:{target}"


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zoo]:
    """An empty zoo on the path of this process; its modules are forgotten afterwards."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield Zoo(folder)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(folder):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def good_backbone() -> str:
    """Source of a module with a backbone ``Good`` that keeps its contract."""
    return GOOD_BACKBONE
