"""A training step of OSNet: ours against Keras's own and against PyTorch (where torch is installed).

The same architecture, losses and optimizer (cross-entropy, batch-hard triplets, Adam), one batch held in memory; in
each round all ways make the same number of steps in another order, ratios are medians of per-round ratios.

    python bench/osnet_step.py [--rounds 5] [--steps 3] [--name osnet_a025] [--size 256x128]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from training import BATCH, IDENTITIES, make_trainer

import reidfw_core._keras.trainer as trainer_module
from reidfw_core.imaging.spec import ImageSpec

WIDTHS = {"osnet_a025": (16, 64, 96, 128), "osnet_a050": (32, 128, 192, 256), "osnet_a100": (64, 256, 384, 512)}
MARGIN = 0.3


def keras_step(name: str, spec: ImageSpec, images: Any, labels: Any, *, fused: bool) -> Callable[[], object]:
    fuse = trainer_module.fuse_batch_norm
    if not fused:
        trainer_module.fuse_batch_norm = lambda _: 0
    trainer = make_trainer(name, spec)
    trainer_module.fuse_batch_norm = fuse
    step = tf.function(trainer.train_step)
    batch = tf.constant(images), tf.constant(labels)

    def run() -> float:
        return float(step(batch)["loss"])

    return run


def torch_step(name: str, images: Any, labels: Any, *, bf16: bool) -> Callable[[], object]:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 (its customary name)

    def conv(inp: int, out: int, size: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
        layers = [nn.Conv2d(inp, out, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
        return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if act else []))

    class Light(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.point = nn.Conv2d(width, width, 1, bias=False)
            self.depth = conv(width, width, 3, groups=width)

        def forward(self, x: Any) -> Any:
            return self.depth(self.point(x))

    class Block(nn.Module):
        def __init__(self, inp: int, out: int) -> None:
            super().__init__()
            middle = out // 4
            self.reduce = conv(inp, middle, 1)
            self.streams = nn.ModuleList(nn.Sequential(*(Light(middle) for _ in range(count))) for count in range(1, 5))
            hidden = max(1, middle // 16)
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(middle, hidden, 1),
                nn.ReLU(),
                nn.Conv2d(hidden, middle, 1),
                nn.Sigmoid(),
            )
            self.expand = conv(middle, out, 1, act=False)
            self.shortcut = conv(inp, out, 1, act=False) if inp != out else nn.Identity()

        def forward(self, x: Any) -> Any:
            reduced = self.reduce(x)
            streams = [stream(reduced) for stream in self.streams]
            return F.relu(self.expand(sum(one * self.gate(one) for one in streams)) + self.shortcut(x))

    class OSNet(nn.Module):
        def __init__(self, widths: tuple[int, ...]) -> None:
            super().__init__()
            stem, *stages = widths
            parts: list[nn.Module] = [conv(3, stem, 7, 2), nn.MaxPool2d(3, 2, 1)]
            for number, (inp, out) in enumerate(zip(widths, stages, strict=False)):
                parts += [Block(inp, out), Block(out, out)]
                if number < len(stages) - 1:
                    parts += [conv(out, out, 1), nn.AvgPool2d(2, 2)]
            self.features = nn.Sequential(*parts, conv(widths[-1], widths[-1], 1))
            self.classifier = nn.Linear(widths[-1], IDENTITIES)

        def forward(self, x: Any) -> Any:
            embedding = self.features(x).mean((2, 3))
            return embedding, self.classifier(embedding)

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    model = OSNet(WIDTHS[name]).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    pixels = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    identities = torch.tensor(labels)
    same = identities[:, None] == identities[None]

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            embedding, logits = model(pixels)
        unit = F.normalize(embedding.float())
        distance = 1 - unit @ unit.T
        hardest = (distance - 9 * ~same).amax(1) - (distance + 9 * same).amin(1)
        loss = F.cross_entropy(logits.float(), identities, label_smoothing=0.1) + F.relu(hardest + MARGIN).mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--name", choices=WIDTHS, default="osnet_a025")
    parser.add_argument("--size", default="256x128")
    options = parser.parse_args()
    height, width = (int(part) for part in options.size.split("x"))
    spec = ImageSpec(height=height, width=width, channels=3, scale=1 / 127.5, offset=-1.0)
    images = np.random.default_rng(0).uniform(-1, 1, (BATCH, *spec.shape)).astype(np.float32)
    labels = np.repeat(np.arange(BATCH // 4), 4).astype(np.int64)
    ways = {
        "Keras's step": keras_step(options.name, spec, images, labels, fused=False),
        "ours": keras_step(options.name, spec, images, labels, fused=True),
    }
    if importlib.util.find_spec("torch"):
        ways["torch, channels last"] = torch_step(options.name, images, labels, bf16=False)
        ways["torch, channels last, bf16"] = torch_step(options.name, images, labels, bf16=True)
    else:
        print("torch is not installed: compared with Keras alone")
    for step in ways.values():
        step()
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(options.rounds):
        order = list(ways)
        for way in order[turn % len(order) :] + order[: turn % len(order)]:
            start, busy = time.perf_counter(), time.process_time()
            for _ in range(options.steps):
                ways[way]()
            taken[way].append((time.perf_counter() - start, time.process_time() - busy))
    for way, times in taken.items():
        wall, busy = (
            statistics.median(own[clock] / base[clock] for own, base in zip(times, taken["Keras's step"], strict=True))
            for clock in (0, 1)
        )
        rate = BATCH * options.steps / statistics.median(own[0] for own in times)
        print(f"{way:28} {rate:6.1f} images/s; time of a step {wall:.2f} of Keras's (processor time {busy:.2f})")


if __name__ == "__main__":
    main()
