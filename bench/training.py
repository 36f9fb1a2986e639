"""Throughput of a training from JPEG files, as a ratio to bare steps on a batch in memory.

Images are drawn (100 x 200 px JPEGs); augmentation is the document's tutorial chain. Two bare steps are the measure:
Keras's own (its batch normalization), and ours, whose batch normalization is fused and which is faster, so that reading
and augmenting images, which cost the same, weigh more. In each round all ways train the same number of batches, in
another order; ratios are medians of per-round ratios, by the clock and by processor time, which other work on the
machine disturbs less.

    python bench/training.py [--rounds 5] [--batches 8] [--size 256x128] [NAME ...]

Ends with status 1 where a ratio to Keras's own bare step is below its bar.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from reidfw_augmentations.geometry import RandomFlip, RandomRotation, RandomTranslation, RandomZoom

import reidfw_core._keras.trainer as trainer_module
from reidfw_core._keras.head import Head
from reidfw_core._keras.network import assemble_network
from reidfw_core._keras.pipeline import training_batches
from reidfw_core._keras.trainer import LossTerm, ReidTrainer
from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog
from reidfw_core.imaging.spec import ImageSpec
from reidfw_core.sampling.pk import PKSampler

BARS = {"mobilenetv1_a025": 0.93, "mobilenetv2_a035": 0.97, "osnet_a025": 0.97}
IDENTITIES, FRAMES, BATCH = 32, 16, 64


def write_images(folder: Path) -> tuple[list[Path], list[str]]:
    rng = np.random.default_rng(0)
    paths, identities = [], []
    for identity in range(IDENTITIES):
        base = rng.integers(0, 256, (25, 13, 3), dtype=np.uint8)
        for frame in range(FRAMES):
            path = folder / f"p{identity}_{frame}.jpg"
            Image.fromarray(base).resize((100, 200), Image.Resampling.BICUBIC).save(path, quality=90)
            paths.append(path)
            identities.append(f"p{identity}")
    return paths, identities


def tutorial(spec: ImageSpec) -> list[keras.layers.Layer]:
    chain = [
        RandomFlip(RandomFlip.Params(mode="horizontal_and_vertical")),
        RandomTranslation(
            RandomTranslation.Params(width_factor=0.2, height_factor=0.2, fill_mode="reflect", interpolation="nearest")
        ),
        RandomRotation(RandomRotation.Params(factor=0.125, fill_mode="reflect", interpolation="nearest")),
        RandomZoom(
            RandomZoom.Params(width_factor=0.2, height_factor=0.2, fill_mode="nearest", interpolation="nearest")
        ),
    ]
    layers: list[keras.layers.Layer] = []
    for component in chain:
        layer = component.build_augmentation(pixel_range=spec.pixel_range, seed=0)
        joined = layers[-1].joined_with(layer) if layers else None
        layers[-1:] = [joined] if joined is not None else [*layers[-1:], layer]
    return layers


def make_trainer(name: str, spec: ImageSpec) -> ReidTrainer:
    bus, backbone = HookBus(), Catalog().load("backbones", name)()
    bus.add(backbone, name)
    features = bus.ask(backbone, "build_backbone", input_shape=spec.shape, pretrained=False, seed=0)
    losses = Catalog()
    cross_entropy = losses.load("losses", "identity_cross_entropy")().build_loss()
    triplet = losses.load("losses", "triplet_hard")().build_loss(num_identities=IDENTITIES)
    terms = [LossTerm("ce", 1.0, "logits", cross_entropy), LossTerm("triplet", 1.0, "embeddings", triplet)]
    trainer = ReidTrainer(assemble_network(features, IDENTITIES, Head(), 0), terms)
    trainer.compile(optimizer=keras.optimizers.Adam(), jit_compile=False)
    trainer.build_optimizer()
    return trainer


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of all processor cores."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def bench(name: str, spec: ImageSpec, folder: Path, rounds: int, batches: int) -> float:
    paths, identities = write_images(folder)
    labels = np.unique(identities, return_inverse=True)[1]
    sampler = PKSampler(identities, BATCH, 4, 0)
    stream = training_batches(paths, labels, spec, sampler, tutorial(spec), 0)
    trainer = make_trainer(name, spec)
    fused = trainer_module.fuse_batch_norm
    trainer_module.fuse_batch_norm = lambda _: 0
    plain = make_trainer(name, spec)
    trainer_module.fuse_batch_norm = fused
    held = tf.data.Dataset.from_tensors(next(iter(stream))).repeat()

    def fit(one: ReidTrainer, data: tf.data.Dataset) -> Callable[[], object]:
        return lambda: one.fit(data, epochs=1, steps_per_epoch=batches, verbose=0, shuffle=False)

    ways = {"Keras's step": fit(plain, held), "our step": fit(trainer, held), "from JPEGs": fit(trainer, stream)}
    for work in ways.values():
        work()
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(rounds):
        order = list(ways)
        for way in order[turn % 3 :] + order[: turn % 3]:
            taken[way].append(seconds(ways[way]))

    def ratio(base: str, way: str, clock: int) -> float:
        return statistics.median(one[clock] / other[clock] for one, other in zip(taken[base], taken[way], strict=True))

    rate = BATCH * batches / statistics.median(wall for wall, _ in taken["our step"])
    shown = [
        f"{base} {ratio(base, 'from JPEGs', 0):.2f} (processor time {ratio(base, 'from JPEGs', 1):.2f})"
        for base in ("Keras's step", "our step")
    ]
    print(
        f"{name:18} our bare step {rate:6.1f} images/s, {ratio(*list(ways)[:2], 0):.2f} of Keras's "
        f"(processor time {ratio(*list(ways)[:2], 1):.2f}); whole epochs from JPEGs, of {'; of '.join(shown)}; "
        f"bar {BARS.get(name, 0.93):.2f}",
        flush=True,
    )
    return ratio("Keras's step", "from JPEGs", 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(BARS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--size", default="256x128")
    options = parser.parse_args()
    height, width = (int(part) for part in options.size.split("x"))
    spec = ImageSpec(height=height, width=width, channels=3, scale=1 / 127.5, offset=-1.0)
    missed = 0
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder:
            missed += bench(name, spec, Path(folder), options.rounds, options.batches) < BARS.get(name, 0.93)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
