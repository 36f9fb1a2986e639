"""Embedding rates of the runners, against the plain way of doing it.

All ways run in turn, round by round, in one process; ratios are medians of the per-round ratios. The network is a
MobileNetV2 0.35 at 256x128 with random weights, quantized by the installed quantizers.

Usage: python bench/embedding.py [--rounds 5] [--small]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reidfw_core.api import CalibrationSet, ModelFile, ModelFormat
from reidfw_core.catalog import Catalog
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import ImageSpec

SHAPE = (256, 128, 3)
BARS = {"int8 .tflite, ours": 1.9, "Keras, ours": 1.8}

Images = NDArray[np.float32]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="few images; no bars")
    arguments = parser.parse_args()
    count = 32 if arguments.small else 256
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pixels = np.random.default_rng(0).integers(0, 256, (count, *SHAPE))
    images = (pixels / 127.5 - 1).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        models = make_models(Path(folder), images)
        jpegs = write_jpegs(Path(folder), pixels)
        measure(models, images, jpegs, threads, arguments.rounds, bars=not arguments.small)


def make_models(folder: Path, images: Images) -> dict[str, ModelFile]:
    """The network as .keras, int8 .tflite, float .onnx and QDQ .onnx."""
    import keras

    catalog = Catalog()
    keras.utils.set_random_seed(1)
    features = catalog.load("backbones", "mobilenetv2_a035")().build_backbone(
        input_shape=SHAPE, pretrained=False, seed=1
    )
    model = keras.Model(features.inputs, keras.layers.GlobalAveragePooling2D()(features.outputs[0]))
    path = folder / "model.keras"
    model.save(path)
    float_model = ModelFile(path=path, format=ModelFormat.parse("keras/float32"), name="model", input_shape=SHAPE)

    def few() -> Iterator[Images]:
        for image in images[:8]:
            yield image[np.newaxis]

    calibration = CalibrationSet(num_images=8, images=few, origin="bench")
    made = {"keras": float_model}
    for name, quantizer in (("tflite", "TFlite_converter"), ("qdq", "onnx_quantizer")):
        component = catalog.load("quantizers", quantizer)()
        made[name] = component.quantize_model(
            model=float_model, calibration=calibration, workdir=folder, export_dir=folder
        )
        if name == "qdq":
            import onnx

            onnx.save(component._float_onnx(float_model), folder / "float.onnx")
    made["onnx"] = ModelFile(path=folder / "float.onnx", format=ModelFormat("onnx"), name="float")
    return made


def write_jpegs(folder: Path, pixels: NDArray[np.integer[Any]]) -> list[Path]:
    """Smooth pictures: noise would make JPEG decoding slower than photographs do."""
    paths = []
    for number, image in enumerate(pixels):
        paths.append(folder / f"{number}.jpg")
        coarse = Image.fromarray(image[::32, ::32].astype(np.uint8))
        coarse.resize((128, 256), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def measure(
    models: dict[str, ModelFile], images: Images, jpegs: list[Path], threads: int, rounds: int, *, bars: bool
) -> None:
    """Runs all cases in turn, and prints rates and ratios."""
    host = Catalog().load("targets", "host")()
    runners = {name: host.open_runner(model=model, num_threads=threads) for name, model in models.items()}
    spec = ImageSpec(height=SHAPE[0], width=SHAPE[1], channels=SHAPE[2], scale=1 / 127.5, offset=-1.0)

    def overlapped() -> Images:
        return np.concatenate([runners["tflite"].embed(batch) for batch in image_batches(jpegs, spec, 32)])

    def one_after_the_other() -> Images:
        decoded = np.concatenate(list(image_batches(jpegs, spec, 32)))
        return runners["tflite"].embed(decoded)

    plain_tflite = one_by_one_tflite(models["tflite"].path, images)
    keras_predict = predict(models["keras"].path, images)
    # name of the case: (what is timed, name of the case that it is compared with)
    cases: dict[str, tuple[Callable[[], Any], str]] = {
        "int8 .tflite, one thread, image by image": (plain_tflite, ""),
        "int8 .tflite, ours": (
            lambda: runners["tflite"].embed(images),
            "int8 .tflite, one thread, image by image",
        ),
        "Keras, predict(batch_size=32)": (keras_predict, ""),
        "Keras, ours": (lambda: runners["keras"].embed(images), "Keras, predict(batch_size=32)"),
        "float .onnx, default session, image by image": (one_by_one_onnx(models["onnx"].path, images), ""),
        "float .onnx, ours": (
            lambda: runners["onnx"].embed(images),
            "float .onnx, default session, image by image",
        ),
        "QDQ .onnx, default session, image by image": (one_by_one_onnx(models["qdq"].path, images), ""),
        "QDQ .onnx, ours": (lambda: runners["qdq"].embed(images), "QDQ .onnx, default session, image by image"),
        "JPEG files, decoded first, then int8": (one_after_the_other, ""),
        "JPEG files, decoding beside int8": (overlapped, "JPEG files, decoded first, then int8"),
    }
    for work, _ in cases.values():
        work()  # graphs are built and caches filled
    equal = np.array_equal(runners["tflite"].embed(images), plain_tflite())
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (work, _) in cases.items():
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    print(f"MobileNetV2 0.35 at 256x128, {len(images)} images, {threads} threads, {rounds} rounds")
    print(f"{'':48}{'images/s':>10}{'ratio':>8}{'bar':>6}")
    for name, (_, base) in cases.items():
        rate = len(images) / statistics.median(times[name])
        ratio = ""
        if base:
            ratio = f"{statistics.median(b / t for t, b in zip(times[name], times[base], strict=True)):.2f}"
        bar = f"{BARS[name]:.1f}" if bars and name in BARS else ""
        print(f"{name:48}{rate:10.0f}{ratio:>8}{bar:>6}")
    print(f"int8 embeddings bit-equal to those of one thread: {'yes' if equal else 'NO'}")
    for runner in runners.values():
        runner.close()


def one_by_one_tflite(path: Path, images: Images) -> Callable[[], Images]:
    """One interpreter, one XNNPACK thread, batch 1; input and output converted as ours are."""
    from ai_edge_litert.interpreter import Interpreter
    from reidfw_targets._tflite.runner import _numbers

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    encode, decode = _numbers(given, "input"), _numbers(result, "output")

    def run() -> Images:
        found = []
        for image in images:
            interpreter.set_tensor(given["index"], encode.encode(image[np.newaxis]))
            interpreter.invoke()
            found.append(decode.decode(interpreter.get_tensor(result["index"]))[0])
        return np.stack(found)

    return run


def one_by_one_onnx(path: Path, images: Images) -> Callable[[], Images]:
    """A session as ONNX Runtime makes it by default, batch 1."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    arranged = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if value.shape[1] == 3 else images
    return lambda: np.concatenate(
        [session.run(None, {value.name: arranged[i : i + 1]})[0] for i in range(len(arranged))]
    )


def predict(path: Path, images: Images) -> Callable[[], Images]:
    """What Keras offers by itself."""
    import keras

    model = keras.models.load_model(path, compile=False)
    return lambda: model.predict(images, batch_size=32, verbose=0)


if __name__ == "__main__":
    main()
