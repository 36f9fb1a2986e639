"""The twelve operation modes as twelve rows of data.

A ``?`` behind a step means: left out where its inputs are not given (a training without test images is not evaluated).
Quantization is followed by a comparison of the embeddings of both models, where something can run both.
"""

from __future__ import annotations

CHAINS: dict[str, tuple[str, ...]] = {
    "training": ("train", "evaluate?"),
    "evaluation": ("evaluate",),
    "quantization": (
        "quantize",
        "compare?",
    ),
    "prediction": ("predict",),
    "benchmarking": ("benchmark",),
    "deployment": ("deploy",),
    "chain_tqeb": ("train", "evaluate?", "quantize", "compare?", "evaluate", "benchmark"),
    "chain_tqe": ("train", "evaluate?", "quantize", "compare?", "evaluate"),
    "chain_eqe": ("evaluate", "quantize", "compare?", "evaluate"),
    "chain_qb": ("quantize", "compare?", "benchmark"),
    "chain_eqeb": ("evaluate", "quantize", "compare?", "evaluate", "benchmark"),
    "chain_qd": ("quantize", "compare?", "deploy"),
}
