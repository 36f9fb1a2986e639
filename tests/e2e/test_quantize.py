"""``reidfw quantize`` and where calibration images come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def model(chain) -> Path:
    return chain[0] / "saved_models" / "best_model.keras"


def test_a_model_of_a_run_is_quantized_with_its_preprocessing(reidfw, model, tiny_data) -> None:
    """The quantizer, too, is that of the run; the float model that was quantized is kept."""
    outcome = reidfw(
        "quantize",
        model,
        "-c",
        tiny_data / "query",
        "quantization.granularity=per_tensor",
        "++quantization.optimize=True",
    )
    assert outcome.code == 0, outcome.text
    folder = Path("best_model_quantized")
    assert {path.name for path in (folder / "quantized_models").iterdir()} == {
        "quantized_model.tflite",
        "optimized_model.keras",
    }
    [compared] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["fidelity"]
    assert compared["mean_cosine"] > 0.7  # one epoch on a dozen images: per_channel gives 0.8
    assert "Calibrating with 8 images" in (folder / "stm32ai_main.log").read_text(encoding="utf-8")


def test_what_is_wrong_is_said_before_anything_is_made(reidfw, model, tiny_data) -> None:
    Path("empty").mkdir()
    lone = Path("lone.keras")
    lone.write_bytes(model.read_bytes())
    for arguments, message in (
        (("none.keras", "-c", tiny_data / "query"), "There is no model file"),
        ((model, "-c", "nowhere"), "There is no folder"),
        ((model, "-c", "empty"), "is empty"),
        ((lone, "-c", tiny_data / "query"), "Give the configuration that it was trained with"),
        ((model, "-c", tiny_data / "query", "-q", "TFlite_convertr"), "TFlite_converter"),
        ((model, "-c", tiny_data / "query", "quantization.granularity=per_chanel"), "per_channel"),
    ):
        outcome = reidfw("quantize", *arguments)
        assert outcome.code == 2, (arguments, outcome.text)
        assert message in " ".join(outcome.text.split()), (arguments, outcome.text)
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "lone.keras"]


def test_noise_only_where_it_is_asked_for(reidfw, model) -> None:
    Path("config.yaml").write_text(
        f"""
operation_mode: quantization
model: {{ model_path: {model} }}
preprocessing:
  rescaling: {{ scale: 1/127.5, offset: -1 }}
  resizing: {{ aspect_ratio: fit, interpolation: bilinear }}
  color_mode: rgb
quantization: {{ quantizer: TFlite_converter }}
hydra: {{ run: {{ dir: noise }} }}
""",
        encoding="utf-8",
    )
    outcome = reidfw("run", "config.yaml")
    assert outcome.code == 2
    assert "needs calibration images" in outcome.text
    outcome = reidfw("run", "config.yaml", "+dataset.quantization_allow_random=True")
    assert outcome.code == 0, outcome.text
    assert "does not recognise anyone" in " ".join(outcome.text.split())
    assert "Calibrating with 10 images from random noise" in Path("noise/stm32ai_main.log").read_text(encoding="utf-8")
    assert Path("noise/quantized_models/quantized_model.tflite").is_file()
