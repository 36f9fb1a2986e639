"""Listing and help are quick: they import no plugin and no heavy package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "tensorflow",
    "keras",
    "onnx",
    "onnxruntime",
    "tf2onnx",
    "mlflow",
    "clearml",
    "ai_edge_litert",
    "matplotlib",
    "hydra",
    "omegaconf",
    "numpy",
    "PIL",
)

PROBE = """
import json, sys
from reidfw_core.cli.app import app
try:
    app({arguments!r}, prog_name="reidfw")
except SystemExit as end:
    assert not end.code, end.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["list", "--json"], ["list", "backbones"], ["run", "--help"]]
)
def test_no_plugin_and_no_heavy_module_is_imported(arguments: list[str]) -> None:
    code = PROBE.format(arguments=arguments)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = json.loads(result.stdout.strip().splitlines()[-1])
    roots = {name.partition(".")[0] for name in modules}
    assert not roots & set(HEAVY)
    plugins = {root for root in roots if root.startswith(("reidfw_", "__editable___reidfw")) and root != "reidfw_core"}
    assert not {root for root in plugins if not root.startswith("__editable__")}
