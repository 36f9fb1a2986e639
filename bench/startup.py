"""Start-up of ``reidfw --help`` and ``reidfw list`` against the least that a command line of this kind can cost.

The baseline is a typer hello-world that imports pydantic and stevedore. All commands run in turn, round by round, as
whole processes; ratios are medians of the per-round ratios.

Usage: python bench/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELLO = """
import pydantic, stevedore, typer
app = typer.Typer()
@app.command()
def hello(name: str = "world"):
    print("hello", name)
app()
"""


def seconds(command: list[str]) -> float:
    """Wall time of a whole process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "hello.py"
        hello.write_text(HELLO)
        reidfw = [sys.executable, "-m", "reidfw_core.cli.app"]
        commands = {
            "typer hello-world": [sys.executable, str(hello), "--help"],
            "reidfw --help": [*reidfw, "--help"],
            "reidfw list": [*reidfw, "list"],
            "reidfw list --json": [*reidfw, "list", "--json"],
        }
        for command in commands.values():
            seconds(command)
        times = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(command))
    baseline = times["typer hello-world"]
    print(f"{'command':20} {'median s':>9} {'ratio':>6}   (bar: 1.3)")
    for name, values in times.items():
        ratio = statistics.median(value / base for value, base in zip(values, baseline, strict=True))
        print(f"{name:20} {statistics.median(values):9.3f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
