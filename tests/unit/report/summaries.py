"""Summaries for the tests of the pages: made up, but of one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reidfw_core.report.summary import SUMMARY_NAME, Summary

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 200 100" '
    'role="img" aria-label="curve"><defs><clipPath id="clip"><rect width="200" height="100"/></clipPath></defs>'
    '<path d="M0 90 L60 30 L200 10" clip-path="url(#clip)" style="fill: none; stroke: var(--blue, #0072B2)"/>'
    '<text x="4" y="98" style="fill: var(--ink, #262626)">rank</text></svg>'
)


def model(name: str, numbers: str, size: int) -> dict[str, Any]:
    kind = "keras" if numbers == "float32" else "tflite"
    return {
        "name": name,
        "file": f"saved_models/{name}.{kind}",
        "format": f"{kind}/{numbers}",
        "size_bytes": size,
        "sha256": f"{name}-{numbers}-{size}",
    }


def score(value: float | None, half: float | None = None) -> dict[str, float | None]:
    if value is None or half is None:
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": value - half, "high": min(100.0, value + half)}


def evaluation(step: str, of: dict[str, Any], kind: str, mean: float, half: float, **changes: Any) -> dict[str, Any]:
    cmc = [min(100.0, mean + 12 + 3 * rank**0.5) for rank in range(50)]
    return {
        "step": step,
        "model": of,
        "kind": kind,
        "data": "test_set",
        "protocol": "market1501",
        "distance": "cosine",
        "options": {"flip": False, "rerank": None, "multi_query": False},
        "num_queries": 200,
        "num_gallery": 1400,
        "queries_without_match": ["query/0042_c3_01.jpg"],
        "percent_per_query": 0.5025,
        "confidence": 0.95,
        "scores": {
            "mAP": score(mean, half),
            "mINP": score(mean / 3, half),
            "rank1": score(cmc[0], half),
            "rank5": score(cmc[4], half),
            "rank10": score(cmc[9], half),
        },
        "cmc": cmc,
        "per_identity": [
            {"name": f"id {n:04d}", "num_queries": 3, "num_matched": 3, "mAP": 100.0 - n / 4, "rank1": 66.6667}
            for n in range(240)
        ],
        "per_camera": [
            {"name": f"c{n}", "num_queries": 40, "num_matched": 39, "mAP": mean + n, "rank1": mean + 10 - n}
            for n in range(1, 6)
        ],
        "verification": {
            "threshold": 0.412345,
            "balanced_accuracy": 91.234,
            "equal_error_rate": 8.9,
            "true_positive_rate_at": {"0.1": 92.0, "0.01": 71.5, "0.001": 40.25},
            "num_genuine": 12345,
            "num_impostor": 267655,
            "roc": {
                "false_positive_rates": [0.0, 0.1, 1.0],
                "true_positive_rates": [0.4, 0.92, 1.0],
                "thresholds": [0.1, 0.5, 1.0],
                "area": 0.9632,
            },
            "histogram": {"edges": [0.0, 0.5, 1.0], "genuine": [12000, 345], "impostor": [655, 267000]},
        },
        "worst_queries": [
            {
                "image": f"query/00{n}_c1s1_{n:06d}_00.jpg",
                "identity": f"00{n}",
                "camera": "c1",
                "average_precision": 1.25 * n,
                "first_match_rank": 90 - n,
            }
            for n in range(10, 18)
        ],
        "kernels": "XNNPACK" if kind == "int" else "TensorFlow",
        "images_per_second": 412.5,
        **changes,
    }


def full_summary(name: str = "2025_03_14_10_20_30", mean: float = 61.37, half: float = 2.4, **run: Any) -> Summary:
    float_model = model("osnet_a025", "float32", 905_216)
    int_model = model("osnet_a025_quantized", "int8", 287_744)
    return Summary.model_validate(
        {
            "reidfw": "0.3.0",
            "run": {
                "name": name,
                "folder": f"/home/someone/experiments_outputs/{name}",
                "project": "Shop entrance",
                "operation_mode": "chain_tqeb",
                "dataset": "DeepSportradar",
                "status": "finished",
                "started": "2025-03-14T10:20:30+00:00",
                "seconds": 4211.5,
                **run,
            },
            "metrics": {"float_mAP_test_set": mean, "int_mAP_test_set": mean - 0.42, "int_EER": None},
            "steps": [
                {"key": "train", "title": "Training", "component": "osnet", "seconds": 3900.12},
                {"key": "quantize", "title": "Quantization", "component": "tflite_ptq", "seconds": 41.7},
                {"key": "evaluate", "title": "Evaluation of the float model", "component": None, "seconds": 12.0},
                {"key": "evaluate_2", "title": "Evaluation of the quantized model", "component": None, "seconds": 14.0},
                {"key": "benchmark", "title": "Benchmark", "component": "stm32n6570_dk", "seconds": 30.0},
            ],
            "training": {
                "epochs": 60,
                "best_epoch": 2,
                "seconds": 3890.0,
                "num_identities": 436,
                "history": {"loss": [5.1, 2.2, 1.1], "val_mAP": [12.0, 61.0, None]},
            },
            "evaluations": [
                evaluation("evaluate", float_model, "float", mean, half),
                evaluation("evaluate_2", int_model, "int", mean - 0.42, half),
            ],
            "fidelity": [
                {
                    "step": "compare",
                    "float_model": float_model,
                    "quantized_model": int_model,
                    "num_images": 1600,
                    "images": "test set",
                    "mean_cosine": 0.99123,
                    "min_cosine": 0.94321,
                    "signal_to_noise_db": 17.64,
                    "mean_pearson": 0.99,
                    "neighbour_overlap": {"1": 93.5, "5": 91.02, "10": 90.4},
                    "layers": [
                        {
                            "name": f"conv{n}/separable/depthwise_convolution_with_a_long_name",
                            "operator": "DEPTHWISE_CONV_2D",
                            "signal_to_noise_db": 10.0 + n,
                            "cosine": 0.9 + n / 1000,
                            "mean_absolute_error": 0.0123,
                        }
                        for n in range(30)
                    ],
                    "size_ratio": 0.3179,
                }
            ],
            "benchmarks": [
                {
                    "board": "stm32n6570_dk",
                    "model": int_model,
                    "tool": "ST Edge AI Core 2.1",
                    "inference_ms": 4.37,
                    "macs": 82_000_000,
                    "activations_ram_kib": 512.0,
                    "total_ram_kib": 640.25,
                    "weights_flash_kib": 280.0,
                    "total_flash_kib": 2300.0,
                    "board_ram_kib": 4300.0,
                    "board_flash_kib": 2048.0,
                    "quantities": [
                        {
                            "name": "Working memory",
                            "unit": "KiB",
                            "measured": 512.25,
                            "modelled_low": None,
                            "modelled_high": None,
                            "published": 461.32,
                        },
                        {
                            "name": "Inference",
                            "unit": "ms",
                            "measured": None,
                            "modelled_low": 230.3,
                            "modelled_high": 354.4,
                            "published": None,
                        },
                    ],
                    "origins": {"measured": "counted by a clock", "modelled": "a guess", "published": "a table"},
                    "layers": [
                        {"name": f"block_{n}", "operator": "CONV_2D", "macs": 1000 * n, "instructions": 3000 * n}
                        for n in range(25)
                    ],
                    "details": {"npu_share": "97 %", "nested": {"hidden": 1}, "notes": ["one", "two"]},
                }
            ],
            "prediction": None,
            "figures": [
                {"file": "curve.png", "title": "CMC curve", "svg": "figures/curve.svg", "step": "evaluate"},
                {"file": "sheet.jpg", "title": "best and worst queries", "svg": None, "step": "evaluate_2"},
                {"file": "gone.png", "title": "ROC curve", "svg": "figures/gone.svg", "step": "evaluate_2"},
            ],
            "environment": {"python": "3.11.9", "packages": {"tensorflow": "2.18.0", "numpy": "2.0.2"}},
            "config": {
                "general": {"project_name": "Shop entrance", "global_seed": 127},
                "training": {"epochs": 60, "optimizer": {"Adam": {"learning_rate": 0.001}}},
            },
        }
    )


def empty_summary() -> Summary:
    return Summary.model_validate(
        {
            "reidfw": "0.3.0",
            "run": {
                "name": "",
                "folder": "",
                "project": "",
                "operation_mode": "",
                "dataset": "",
                "status": "running",
                "started": "",
                "seconds": 0.0,
            },
            "metrics": {},
        }
    )


def write_run(folder: Path, summary: Summary) -> Path:
    """A run folder with its pictures; one of the three pictures is not there."""
    from PIL import Image

    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "figures" / "curve.svg").write_text(SVG, encoding="utf-8")
    Image.new("RGB", (900, 300), (180, 190, 200)).save(folder / "sheet.jpg")
    (folder / SUMMARY_NAME).write_text(summary.model_dump_json(), encoding="utf-8")
    return folder
