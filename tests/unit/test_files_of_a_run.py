"""The list of files with which a run ends."""

from __future__ import annotations

from pathlib import Path

from reidfw_core.cli.summary import file_rows
from reidfw_core.run.runner import RunResult


def test_each_file_is_listed_once_as_what_it_is(tmp_path: Path) -> None:
    names = ("saved_models/best_qat_model.keras", "quantized_models/a.tflite", "quantized_models/optimized_model.keras")
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    rows = file_rows(RunResult(run_dir=tmp_path, operation_mode="quantization", steps=()))

    assert sorted(name for name, _ in rows) == sorted(names)
    meanings = dict(rows)
    assert meanings["quantized_models/a.tflite"] == "the quantized model"
    assert meanings["quantized_models/optimized_model.keras"].startswith("the float model")
    assert meanings["saved_models/best_qat_model.keras"].startswith("the fine-tuned model")
