"""What is told of calibrations and comparisons with very few images."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest

from reidfw_core.artifacts import CalibrationData
from reidfw_core.bus import HookBus
from reidfw_core.config.sections import PreprocessingSection
from reidfw_core.context import RunContext
from reidfw_core.imaging.spec import image_spec
from reidfw_core.services.comparison import _snr_text
from reidfw_core.services.quantization import FEW_IMAGES, calibration_set
from reidfw_core.types import Samples


@pytest.mark.parametrize(("count", "text"), [(1, "1 image "), (FEW_IMAGES, f"{FEW_IMAGES} images ")])
def test_few_calibration_images_are_warned_of(tmp_path: Path, caplog, count: int, text: str) -> None:
    caplog.set_level(logging.INFO)
    paths = tuple(tmp_path / f"a_{place}.png" for place in range(count))
    samples = Samples(role="quantization", root=tmp_path, paths=paths, identities=("a",) * count)
    section = PreprocessingSection.model_validate(
        {
            "rescaling": {"scale": 1, "offset": 0},
            "resizing": {"aspect_ratio": "fit", "interpolation": "nearest"},
            "color_mode": "rgb",
        }
    )
    context = RunContext(run_dir=tmp_path, saved_models_dir=tmp_path, logs_dir=tmp_path, seed=1, bus=HookBus())
    data = CalibrationData(samples=samples, origin="the quantization set")
    with calibration_set(data, image_spec(section, (8, 8, 3)), context) as calibration:
        assert calibration.num_images == count
    assert f"Calibrating with {text}from the quantization set" in caplog.text
    assert ("rest on 1 image;" in caplog.text) == (count < FEW_IMAGES)


def test_equal_embeddings_have_no_ratio() -> None:
    assert _snr_text(math.inf) == "no difference"
    assert _snr_text(-0.84) == "SNR -0.8 dB"
