"""Importing the package costs nothing: its modules and Hydra are imported when they are used."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys
import reidfw_core.config
light = set(sys.modules)
import reidfw_core.config.reading, reidfw_core.config.schema
print(sorted(m for m in light if m.startswith("reidfw_core.config.")))
print(sorted({"hydra", "omegaconf", "yaml", "tensorflow", "keras"} & set(sys.modules)))
"""


def test_importing_is_light() -> None:
    result = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "[]"]


def test_every_exported_name_exists() -> None:
    import reidfw_core.config as package

    assert all(getattr(package, name) is not None for name in package.__all__)
    assert not hasattr(package, "no_such_name")
