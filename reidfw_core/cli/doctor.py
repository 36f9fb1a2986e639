"""``reidfw doctor``: is everything there that a run needs?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

from rich.markup import escape

import reidfw_core
from reidfw_core.catalog import Catalog
from reidfw_core.cli.render import screen, show_json, table
from reidfw_core.hookspecs import KINDS

PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-macos"),
    "keras": ("keras",),
    "ai-edge-litert": ("ai-edge-litert",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tf2onnx": ("tf2onnx",),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "matplotlib": ("matplotlib",),
}
"""What each optional package is called among the installed distributions."""

PURPOSES = {
    "tensorflow": "training, image decoding",
    "keras": "training, evaluation of .keras models",
    "ai-edge-litert": "evaluation of .tflite models",
    "onnx": "ONNX models",
    "onnxruntime": "quantization to and evaluation of .onnx models",
    "tf2onnx": "quantization of Keras models to ONNX",
    "mlflow": "tracking of runs",
    "matplotlib": "pictures",
}

VENDOR_TOOLS = {
    "stedgeai": "ST Edge AI Core: benchmarks and C code",
    "STM32_Programmer_CLI": "STM32CubeProgrammer: flashing",
    "STM32_SigningTool_CLI": "signing of boot images",
    "arm-none-eabi-gcc": "building firmware",
    "make": "building firmware",
}
"""External programs that some targets use; none is needed to train, quantize and evaluate."""

FREE_GIB = 2.0


def doctor(*, as_json: bool) -> None:
    """Prints what was found, one line each."""
    findings = [*_python(), *_packages(), *_plugins(), *_tools(), *_disk()]
    if as_json:
        show_json([dict(zip(("area", "what", "status", "found"), row, strict=True)) for row in findings])
        return
    colors = {"ok": "green", "missing": "yellow", "optional": "dim", "problem": "red"}
    rows = [
        (area, escape(what), f"[{colors[status]}]{status}[/]", escape(found)) for area, what, status, found in findings
    ]
    console = screen()
    console.print(table(None, ("area", "what", "status", "found"), rows))
    problems = [row for row in findings if row[2] in ("missing", "problem")]
    console.print()
    console.print("[green]Everything that a run needs is there.[/]" if not problems else f"{len(problems)} to look at.")


Finding = tuple[str, str, str, str]


def _python() -> list[Finding]:
    fine = sys.version_info >= (3, 11)
    return [
        ("python", "interpreter", "ok" if fine else "problem", f"{platform.python_version()} at {sys.executable}"),
        ("python", "reidfw-core", "ok", reidfw_core.__version__),
        ("python", "platform", "ok", f"{platform.platform()}, {os.cpu_count()} processors"),
    ]


def _packages() -> list[Finding]:
    findings: list[Finding] = []
    for package, names in PACKAGES.items():
        found = [(name, _version(name)) for name in names]
        present = [f"{name} {version}" for name, version in found if version]
        findings.append(
            (
                "package",
                package,
                "ok" if present else "missing",
                ", ".join(present) or f"needed for {PURPOSES[package]}",
            )
        )
    return findings


def _plugins() -> list[Finding]:
    catalog = Catalog()
    findings: list[Finding] = []
    for kind in KINDS.values():
        entries = catalog.entries(kind.name)
        odd = [f"{entry.reference} ({entry.status})" for entry in entries if entry.status != "ok"]
        if not entries:
            findings.append(("plugins", kind.name, "missing", f"none; pip install {kind.package}"))
        elif odd:
            findings.append(("plugins", kind.name, "problem", ", ".join(odd)))
        else:
            findings.append(("plugins", kind.name, "ok", f"{len(entries)} installed"))
    return findings


def _tools() -> list[Finding]:
    findings: list[Finding] = []
    for tool, purpose in VENDOR_TOOLS.items():
        path = shutil.which(tool)
        findings.append(("tool", tool, "ok" if path else "optional", path or f"not on PATH; {purpose}"))
    return findings


def _disk() -> list[Finding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 2**30
    writable = os.access(here, os.W_OK)
    return [
        ("disk", "free space", "ok" if free >= FREE_GIB else "problem", f"{free:.1f} GiB free at {here}"),
        ("disk", "write access", "ok" if writable else "problem", "yes" if writable else f"{here} is read-only"),
    ]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
