"""RAM arena of portable C as ratios to what running the same network operator by operator would hold.

    python bench/portable_c.py MODEL.tflite...

Prints, for each model and input mode, the arena, its ratio to the largest set of inputs and output that running
operator by operator would hold, and the time of planning. Ends with status 1 where planning takes more than 10 s.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from reidfw_targets.portable_c.compiling import planned
from reidfw_targets.portable_c.network import Network
from reidfw_targets.portable_c.packing import PACKINGS

BAR_S = 10.0


def largest_pair_bytes(network: Network) -> int:
    return max(
        network.tensors[operator.output].num_bytes + sum(network.tensors[r.tensor].num_bytes for r in operator.reads)
        for operator in network.operators
    )


def main() -> int:
    slow = False
    for path in map(Path, sys.argv[1:]):
        for mode in ("resident", "rows"):
            began = time.perf_counter()
            plan, _ = planned(path, mode, None, PACKINGS["dsp"])
            seconds = time.perf_counter() - began
            ratio = plan.arena_bytes / largest_pair_bytes(plan.network)
            print(
                f"{path.stem:28} {mode:9} {plan.arena_bytes / 1024:8.1f} KiB  {ratio:4.2f} of op by op {seconds:5.1f} s"
            )
            slow = slow or seconds > BAR_S
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
