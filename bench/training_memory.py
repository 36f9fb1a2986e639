"""Peak memory of `reidfw run` with many images against few: it must not grow with the data set.

Both trainings have the same steps and the same identities (a classifier grows with those), and differ in the number of
image files only (hard links to a few drawn JPEGs).

    python bench/training_memory.py [--few 5000] [--many 100000]

Ends with status 1 where many images need over 10 % more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

BAR = 1.10
IDENTITIES = 250

MEASURED = """
import resource, sys
from reidfw_core.cli.app import main
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def write_images(folder: Path, count: int) -> None:
    """``count`` names for 50 drawn images, as many of each identity."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    originals = []
    for number in range(50):
        path = folder.parent / f"original_{number}.jpg"
        if not path.exists():
            small = Image.fromarray(rng.integers(0, 256, (25, 13, 3), dtype=np.uint8))
            small.resize((100, 200), Image.Resampling.BICUBIC).save(path, quality=90)
        originals.append(path)
    for number in range(count):
        os.link(originals[number % len(originals)], folder / f"p{number % IDENTITIES:06d}_{number // IDENTITIES}.jpg")


def peak_mib(folder: Path, count: int) -> float:
    """Peak resident memory of a short training on ``count`` images, in MiB."""
    write_images(folder / f"images_{count}", count)
    done = subprocess.run(
        [
            sys.executable, "-c", MEASURED, "run", "operation_mode=training", "dataset.reader=identity_prefix",
            f"dataset.training_path={folder / f'images_{count}'}", f"dataset.validation_split={400 / count}",
            "training.epochs=2", "training.dryrun=12", "training.batch_size=64",
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return int(done.stderr.rsplit("peak", 1)[1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=5_000)
    parser.add_argument("--many", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        few, many = (peak_mib(Path(name), count) for count in (options.few, options.many))
    print(
        f"peak memory: {few:.0f} MiB with {options.few} images, {many:.0f} MiB with {options.many}: "
        f"{many / few:.3f} of it (bar {BAR})"
    )
    return int(many / few > BAR)


if __name__ == "__main__":
    sys.exit(main())
