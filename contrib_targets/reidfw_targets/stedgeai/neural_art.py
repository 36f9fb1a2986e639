"""What the Neural-ART compiler reads: profiles, and the memory pools of the board.

A benchmark writes these files; a deployment does where the C project names none of its own.

Source: profile and pools of ST's STM32N6 re-identification application; layout of its two JSON files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reidfw_core.api import DataError, atomic_path
from reidfw_targets.facts import BoardFacts, MemoryRegion

PROFILE = "reid"
DETECTOR_PROFILE = "od"

DETECTOR_ORIGIN = 0x70380000
DETECTOR_WINDOW_KIB = 28 * 1024
"""Where the octo flash holds the weights of the detector."""

OPTIONS = (
    "-O3 --all-buffers-info --cache-maintenance --Oauto-sched --native-float --enable-virtual-mem-pools "
    "--Omax-ca-pipe 4 --Ocache-opt --Os --enable-epoch-controller"
)
"""Compiler options of the re-identification application."""

_FAST = {"throughput": "HIGH", "latency": "LOW", "byteWidth": 8, "freqRatio": "1.25", "read_power": 18.531,
         "write_power": 16.201}  # fmt: skip
_HYPER_RAM = {"throughput": "MID", "latency": "HIGH", "byteWidth": 2, "freqRatio": "5.00", "cacheable": "CACHEABLE_ON",
              "read_power": 380, "write_power": 340}  # fmt: skip
_OCTO_FLASH = {"throughput": "MID", "latency": "HIGH", "byteWidth": 1, "freqRatio": "6.00",
               "cacheable": "CACHEABLE_ON", "read_power": 110, "write_power": 400,
               "constants_preferred": "true"}  # fmt: skip


def settings_path(board: BoardFacts, folder: Path) -> Path:
    """Where :func:`write_settings` puts the profiles."""
    return folder / f"user_neuralart_{board.name}.json"


def write_settings(board: BoardFacts, folder: Path) -> Path:
    """Writes ``user_neuralart_<board>.json`` and the pools beside it. Raises StorageError.

    Returns:
        The file with the profiles.
    """
    flash = board.of_kind("external_flash")[0]
    detector = MemoryRegion(
        name=flash.name, kind=flash.kind, origin=DETECTOR_ORIGIN, size_kib=DETECTOR_WINDOW_KIB, source=flash.source
    )
    profiles = {}
    for profile, weights in ((PROFILE, flash), (DETECTOR_PROFILE, detector)):
        pools = folder / f"{board.name}_{profile}.mpool"
        _write(pools, _pools(board, weights))
        profiles[profile] = {"memory_pool": f"./{pools.name}", "options": OPTIONS}
    path = settings_path(board, folder)
    _write(path, {"Globals": {}, "Profiles": profiles})
    return path


def check_settings(path: Path, profile: str) -> Path:
    """A file with profiles that the C project names.

    Raises:
        DataError: it is not there, cannot be read, or lacks the profile or its memory pools.
    """
    import json5

    try:
        content = json5.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise DataError(f"{path}, which the C project names for Neural-ART, cannot be read: {cause}") from cause
    profiles = content.get("Profiles") if isinstance(content, dict) else None
    if not isinstance(profiles, dict) or not isinstance(profiles.get(profile), dict):
        known = ", ".join(profiles) if isinstance(profiles, dict) else "none"
        raise DataError(f"{path} has no profile '{profile}'; it has: {known}", hint="Set memory_pool.profile.")
    pools = profiles[profile].get("memory_pool")
    if not isinstance(pools, str) or not (path.parent / pools).is_file():
        raise DataError(f"{path}: the memory pools of '{profile}' are not there: {pools}")
    return path


def _pools(board: BoardFacts, weights: MemoryRegion) -> dict[str, Any]:
    internal = [
        _pool(region, f"AXISRAM{region.name.removeprefix('npuRAM')}", "ACC_WRITE", _FAST)
        for region in board.of_kind("npu_ram")
    ]
    external = [_pool(region, "xSPI1", "ACC_WRITE", _HYPER_RAM) for region in board.of_kind("external_ram")]
    return {
        "params": {"param": []},
        "memory": {
            "cacheinfo": [{"nlines": 512, "linesize": 64, "associativity": 8, "bypass_enable": 1}],
            "mem_file_prefix": "atonbuf",
            "mempools": [*internal, *external, _pool(weights, "xSPI2", "ACC_READ", _OCTO_FLASH)],
        },
    }


def _pool(region: MemoryRegion, file_name: str, rights: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "fname": file_name,
        "name": region.name,
        "fformat": "FORMAT_RAW",
        "prop": {"rights": rights, **properties},
        "offset": {"value": f"0x{region.origin:08X}", "magnitude": "BYTES"},
        "size": {"value": f"{region.size_kib:g}", "magnitude": "KBYTES"},
    }


def _write(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
