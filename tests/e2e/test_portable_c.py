"""The framework's own backbones and heads, quantized by its own quantizer, as C that computes the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reidfw_core.api import CalibrationSet, ModelFile, ModelFormat

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler on this computer"
    ),
]

SHAPE = (64, 32, 3)
EQUALISED = {"granularity": "per_tensor", "optimize": True}


def quantized(backbone: str, head: dict[str, Any], folder: Path, **options: Any) -> Path:
    """The int8 file of a network with random weights and statistics as a training leaves them."""
    import keras
    from reidfw_quantizers.tflite import TfliteConverter

    from reidfw_core._keras.head import Head, attach_head
    from reidfw_core.catalog import Catalog

    body = Catalog().load("backbones", backbone)().build_backbone(input_shape=SHAPE, pretrained=False, seed=1)
    network = keras.Model(body.input, attach_head(body.output, Head(**head), 10, 3, backbone).embedding, name=backbone)
    generator = np.random.default_rng(11)
    for weight in network.weights:
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(generator.uniform(0.4, 1.2, weight.shape))
        elif weight.path.endswith(("beta", "moving_mean")):
            weight.assign(generator.normal(0, 0.3, weight.shape))
    path = folder / f"{backbone}.keras"
    network.save(path)
    images = generator.uniform(-1, 1, (3, 1, *SHAPE)).astype(np.float32)
    calibration = CalibrationSet(num_images=3, images=lambda: iter(images), origin="the test's images")
    converter = TfliteConverter(TfliteConverter.Params(**options))
    model = ModelFile(path=path, format=ModelFormat.of_file(path), name=backbone)
    return converter.quantize_model(model=model, calibration=calibration, workdir=folder, export_dir=folder).path


@pytest.mark.parametrize(
    ("backbone", "head", "options"),
    [
        ("mobilenetv2_a035", {"embedding_size": 48, "bn_neck": True, "l2_normalized": True}, EQUALISED),
        ("mobilenetv3_small_a100", {"pooling": "gem", "l2_normalized": True}, {}),
        ("squeezenetv11", {"pooling": "max"}, {"quantization_output_type": "uint8"}),
        ("osnet_a025", {}, {"granularity": "per_tensor"}),
    ],
)
def test_every_tensor_of_a_network_is_exact(backbone, head, options, reidfw, tmp_path) -> None:
    outcome = reidfw("compile", quantized(backbone, head, tmp_path, **options), "-o", "code", "--input", "rows")
    assert outcome.code == 0, outcome.text
    assert "equal LiteRT's reference kernels" in outcome.text
