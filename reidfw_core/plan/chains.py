"""The twelve operation modes as twelve rows of data.

A ``?`` behind a step means: left out where its inputs are not given (a training without test images is not evaluated).
With ``quantization_type: QAT`` the model is fine-tuned before it is quantized. Quantization is followed by a comparison
of the embeddings of both models, where something can run both.
"""

from __future__ import annotations

CHAINS: dict[str, tuple[str, ...]] = {
    "training": ("train", "evaluate?"),
    "evaluation": ("evaluate",),
    "quantization": ("fine_tune?", "quantize", "compare?"),
    "prediction": ("predict",),
    "benchmarking": ("benchmark",),
    "deployment": ("deploy",),
    "chain_tqeb": ("train", "evaluate?", "fine_tune?", "quantize", "compare?", "evaluate", "benchmark"),
    "chain_tqe": ("train", "evaluate?", "fine_tune?", "quantize", "compare?", "evaluate"),
    "chain_eqe": ("evaluate", "fine_tune?", "quantize", "compare?", "evaluate"),
    "chain_qb": ("fine_tune?", "quantize", "compare?", "benchmark"),
    "chain_eqeb": ("evaluate", "fine_tune?", "quantize", "compare?", "evaluate", "benchmark"),
    "chain_qd": ("fine_tune?", "quantize", "compare?", "deploy"),
}
