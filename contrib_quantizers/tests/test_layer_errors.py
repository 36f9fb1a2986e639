"""Errors layer by layer: complete, ordered, and pointing at the layer that is to blame."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reidfw_quantizers.noise import LayerNoise
from reidfw_quantizers.onnx_qdq import OnnxQuantizer
from reidfw_quantizers.tflite import TfliteConverter

pytestmark = pytest.mark.slow


def test_noise_by_hand() -> None:
    layer = LayerNoise("x", "CONV_2D")
    layer.add(np.array([3.0, 4.0]), np.array([3.0, 3.0]))
    error = layer.error()
    assert error.signal_to_noise_db == pytest.approx(10 * math.log10(25 / 1))
    assert error.cosine == pytest.approx((9 + 12) / (5 * math.sqrt(18)))
    assert error.mean_absolute_error == 0.5
    exact = LayerNoise("x", "CONV_2D")
    exact.add(np.ones(3), np.ones(3))
    assert exact.error().signal_to_noise_db == math.inf


@pytest.fixture(params=[TfliteConverter, OnnxQuantizer], ids=["tflite", "onnx"])
def quantizer(request):
    return request.param


def test_every_layer_is_compared_worst_first(quantizer, mobilenet_file, calibration, images, tmp_path) -> None:
    component = quantizer()
    result = component.quantize_model(mobilenet_file, calibration, tmp_path, tmp_path)
    errors = component.layer_errors(mobilenet_file, result, images[:4])
    assert len(errors) >= 9  # seven convolutions, the addition, the pooling
    ratios = [error.signal_to_noise_db for error in errors]
    assert ratios == sorted(ratios)
    assert 10 < ratios[0] < 60
    assert all(0.9 < error.cosine <= 1 + 1e-9 for error in errors)
    assert len({error.name for error in errors}) == len(errors)


def test_a_spoilt_layer_shows(mobilenet_model, mobilenet_file, calibration, images, tmp_path) -> None:
    import keras

    from reidfw_core.api import ModelFile, ModelFormat

    spoilt = keras.models.clone_model(mobilenet_model)
    spoilt.set_weights(mobilenet_model.get_weights())
    layer = [one for one in spoilt.layers if isinstance(one, keras.layers.DepthwiseConv2D)][1]
    kernel = layer.kernel.numpy()
    kernel[:, :, 0] *= 300  # one channel stretches the only scale of the tensor
    layer.kernel.assign(kernel)
    path = tmp_path / "spoilt.keras"
    spoilt.save(path)
    model = ModelFile(path=path, format=ModelFormat.parse("keras/float32"), name="spoilt")
    component = TfliteConverter(TfliteConverter.Params(granularity="per_tensor"))
    worst = []
    for one in (mobilenet_file, model):
        result = component.quantize_model(one, calibration, tmp_path, tmp_path)
        worst.append(component.layer_errors(one, result, images[:4])[0].signal_to_noise_db)
    assert worst[1] < worst[0] - 6
