"""The twelve operation modes as twelve rows of data.

A ``?`` behind a step means: left out where its inputs are not given (a training without test images is not evaluated).
"""

from __future__ import annotations

CHAINS: dict[str, tuple[str, ...]] = {
    "training": ("train", "evaluate?"),
    "evaluation": ("evaluate",),
    "quantization": ("quantize",),
    "prediction": ("predict",),
    "benchmarking": ("benchmark",),
    "deployment": ("deploy",),
    "chain_tqeb": ("train", "evaluate?", "quantize", "evaluate", "benchmark"),
    "chain_tqe": ("train", "evaluate?", "quantize", "evaluate"),
    "chain_eqe": ("evaluate", "quantize", "evaluate"),
    "chain_qb": ("quantize", "benchmark"),
    "chain_eqeb": ("evaluate", "quantize", "evaluate", "benchmark"),
    "chain_qd": ("quantize", "deploy"),
}
