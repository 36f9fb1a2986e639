"""Quantizers of others that were written before single layers could be kept go on working."""

from __future__ import annotations

import pytest

OLD_QUANTIZER = """
    from reidfw_core.api import ModelFormat, Quantizer, hookimpl

    class Old(Quantizer):
        '''Knows the two required hooks only.'''

        consumes = frozenset({ModelFormat.parse("keras/float32")})
        produces = ModelFormat.parse("tflite/int8")

        @hookimpl
        def inspect_model(self, model):
            return model

        @hookimpl
        def quantize_model(self, model):
            return model
"""

CONFIG = """
operation_mode: quantization
model: {{ model_path: {folder}/model.keras }}
dataset: {{ training_path: {folder} }}
preprocessing:
  rescaling: {{ scale: 1/127.5, offset: -1 }}
  resizing: {{ aspect_ratio: fit, interpolation: bilinear }}
  color_mode: rgb
quantization: {{ quantizer: acme.old }}
"""


@pytest.mark.slow
def test_a_limit_on_mean_average_precision_is_refused_with_its_reason(zoo, tmp_path) -> None:
    zoo.install("acme-old", source=OLD_QUANTIZER, entry_points={"quantizers": {"acme.old": "Old"}})
    (tmp_path / "model.keras").touch()
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    done = zoo.reidfw("run", str(config), "--dry-run")
    assert done.returncode == 0, done.stderr
    done = zoo.reidfw("run", str(config), "--dry-run", "+quantization.max_map_drop=1")
    assert done.returncode == 2, done.stderr
    told = " ".join(done.stderr.split())
    assert "max_map_drop" in told
    assert "'acme.old' of acme-old 1.2.3 cannot leave single layers at a higher precision" in told
    assert "Hint: Leave max_map_drop out" in told
