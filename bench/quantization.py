"""Time and peak memory of quantization, as ratios to calling the converter or ONNX Runtime directly.

The reference uses the same model and the same images, and nothing else: no checks, no reading back of the result. Each
measurement has a process of its own, so that peaks of memory do not mix; rounds alternate between the two. The same is
measured with ten times as many images, whose memory must not grow, also with clipping and bias correction.

    python bench/quantization.py [--images 64] [--rounds 3]

Ends with status 1 where time or memory is more than 10 % above the reference, or memory grows with the images.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

SHAPE = (128, 128, 3)
MOST_TIME = MOST_MEMORY = 1.1
MOST_GROWTH = 1.1
CANDIDATES = {"TFlite_converter": "converter", "onnx_quantizer": "ONNX Runtime"}

REFINED = {"activation_clipping": "mse", "bias_correction": True}
"""What costs extra time, for which the libraries have no counterpart."""

IMPORTED = {
    "TFlite_converter": ("keras", "tensorflow", "reidfw_quantizers._tflite.conversion"),
    "onnx_quantizer": (
        "keras",
        "tensorflow",
        "reidfw_quantizers._onnx.quantization",
        "reidfw_quantizers._onnx.from_keras",
    ),
}
"""What is imported before the clock starts, in both ways."""


def images(count: int) -> Iterator[np.ndarray]:
    """Seeded noise, one image at a time."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        yield rng.uniform(-1, 1, (1, *SHAPE)).astype(np.float32)


def with_reidfw(name: str, model: Path, count: int, folder: Path, **options: Any) -> None:
    """Quantizes through the plugin."""
    from reidfw_quantizers.onnx_qdq import OnnxQuantizer
    from reidfw_quantizers.tflite import TfliteConverter

    from reidfw_core.api import CalibrationSet, ModelFile, ModelFormat

    component = {"TFlite_converter": TfliteConverter, "onnx_quantizer": OnnxQuantizer}[name]
    component(component.Params(**options)).quantize_model(
        model=ModelFile(path=model, format=ModelFormat.parse("keras/float32"), name="bench"),
        calibration=CalibrationSet(num_images=count, images=lambda: images(count), origin="bench"),
        workdir=folder,
        export_dir=folder,
    )


def directly(name: str, model: Path, count: int, folder: Path) -> None:
    """Quantizes as the library's own documentation does."""
    import keras
    import tensorflow as tf

    loaded = keras.models.load_model(model, compile=False)
    if name == "TFlite_converter":
        serve = tf.function(loaded, input_signature=[tf.TensorSpec((1, *SHAPE), tf.float32)], autograph=False)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], None)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images(count))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        (folder / "direct.tflite").write_bytes(converter.convert())
        return
    import tf2onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def __init__(self) -> None:
            self.left = images(count)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {"image": np.ascontiguousarray(image.transpose(0, 3, 1, 2))}

    signature = [tf.TensorSpec((None, *SHAPE), tf.float32, name="image")]
    given, prepared = folder / "given.onnx", folder / "prepared.onnx"
    tf2onnx.convert.from_function(
        tf.function(lambda image: loaded(image, training=False), input_signature=signature),
        input_signature=signature,
        opset=17,
        inputs_as_nchw=["image"],
        output_path=str(given),
    )
    quant_pre_process(given, prepared, skip_symbolic_shape=True)
    quantize_static(prepared, folder / "direct.onnx", Reader(), per_channel=True)


def measured(way: str, name: str, model: Path, count: int) -> tuple[float, float]:
    """Seconds and peak memory in MiB of one quantization in a process of its own, imports not counted as time."""
    command = [sys.executable, __file__, "--measure", way, name, str(model), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, mib = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds, mib


def measure(way: str, name: str, model: str, count: str) -> None:
    """Runs one quantization and prints what it took."""
    for module in IMPORTED[name]:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        ways = {"reidfw": with_reidfw, "direct": directly, "refined": partial(with_reidfw, **REFINED)}
        ways[way](name, Path(model), int(count), Path(folder))
        seconds = time.perf_counter() - began
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return 0
    import keras

    failed = False
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "bench.keras")
        keras.applications.MobileNet(SHAPE, 0.25, include_top=False, weights=None, pooling="avg").save(model)
        for name, library in CANDIDATES.items():
            rounds = [
                (measured("reidfw", name, model, options.images), measured("direct", name, model, options.images))
                for _ in range(options.rounds)
            ]
            refined, refined_memory = measured("refined", name, model, options.images)
            _, refined_more = measured("refined", name, model, 10 * options.images)
            _, more = measured("reidfw", name, model, 10 * options.images)
            time_ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in rounds)
            memory_ratio = statistics.median(ours[1] / theirs[1] for ours, theirs in rounds)
            growth = max(more / statistics.median(ours[1] for ours, _ in rounds), refined_more / refined_memory)
            failed |= time_ratio > MOST_TIME or memory_ratio > MOST_MEMORY or growth > MOST_GROWTH
            seconds = statistics.median(ours[0] for ours, _ in rounds)
            print(
                f"{name:17} {seconds:6.2f} s  time {time_ratio:.2f}, memory {memory_ratio:.2f} of the {library} alone; "
                f"memory with ten times the images {growth:.2f}; "
                f"with clipping and bias correction {refined:.2f} s"
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
