"""Reading the reports of ST Edge AI Core: what a network takes, in bytes and operations.

Three files describe a generated network: ``<name>_report.json`` (report_version 1.x), ``<name>_c_info.json``
(json_schema_version 1.x and 2.x) and ``<name>_c_graph.json`` (version 1.x). Older and newer tools write only some of
them, and any value may be null. The cloud sends the same contents as ``report``, ``info`` and ``graph``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXTERNAL_FROM = 0x6000_0000
"""Addresses from here on belong to memory outside the chip."""

SUFFIXES = {"report": "_report.json", "info": "_c_info.json", "graph": "_c_graph.json"}
"""Ends of the files' names, by what the cloud calls their contents."""


class ReportError(ValueError):
    """A report is missing, cut off, or lacks what is needed; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One layer of the C code.

    Attributes:
        name: name of the node.
        kind: for example ``Conv2D``.
        macs: multiply-accumulate operations.
        weights_bytes: its constants; None where the report does not tell.
        mapping: what runs it, for example ``NODE_SW``; None where the report does not tell.
        duration_ms: measured time; None without a measurement.
    """

    name: str
    kind: str
    macs: int
    weights_bytes: int | None = None
    mapping: str | None = None
    duration_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySplit:
    """Memory by where it lies, in bytes; None where the report gives no addresses."""

    internal_ram: int | None = None
    external_ram: int | None = None
    internal_flash: int | None = None
    external_flash: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What a network takes. None means that the reports do not tell.

    Attributes:
        activations_bytes: working memory of the network.
        weights_bytes: its constants.
        macs: multiply-accumulate operations of one inference.
        io_bytes: inputs and outputs where they lie outside the activations.
        runtime_ram_bytes, runtime_flash_bytes: the library and the compiler's own.
        cycles, duration_ms: of one inference on a board.
        layers: in the order of execution.
        split: where the memory lies.
        tool_version: version of the tool that wrote the reports.
        schemas: version of each report that was read.
    """

    activations_bytes: int
    weights_bytes: int
    macs: int
    io_bytes: int | None = None
    runtime_ram_bytes: int | None = None
    runtime_flash_bytes: int | None = None
    cycles: int | None = None
    duration_ms: float | None = None
    layers: tuple[LayerCost, ...] = ()
    split: MemorySplit = MemorySplit()
    tool_version: str | None = None
    schemas: Mapping[str, str] | None = None

    @property
    def total_ram_bytes(self) -> int | None:
        """Activations, inputs and outputs, and the runtime's share; None where that is not known."""
        if self.runtime_ram_bytes is None:
            return None
        return self.activations_bytes + (self.io_bytes or 0) + self.runtime_ram_bytes

    @property
    def total_flash_bytes(self) -> int | None:
        """Weights and code; None where the code's size is not known."""
        return None if self.runtime_flash_bytes is None else self.weights_bytes + self.runtime_flash_bytes


def read_folder(folder: Path) -> NetworkCost:
    """Reads the reports that the tool left in a folder.

    Raises:
        ReportError: there are none, or they cannot be used.
    """
    found: dict[str, Any] = {}
    for part, suffix in SUFFIXES.items():
        files = sorted(folder.glob(f"*{suffix}"))
        if files:
            found[part] = _load(files[0])
    if not found:
        raise ReportError(f"there is no report in {folder} (*_report.json, *_c_info.json or *_c_graph.json)")
    return read_parts(found)


def read_parts(parts: Mapping[str, Any]) -> NetworkCost:
    """Puts the contents of the reports together.

    Args:
        parts: any of ``report``, ``info`` and ``graph``.

    Raises:
        ReportError: they lack activations, weights or operations, or have another structure.
    """
    try:
        return _read(parts)
    except (AttributeError, KeyError, IndexError, TypeError) as cause:
        raise ReportError(f"the reports have another structure than known ({type(cause).__name__}: {cause})") from cause


def _read(parts: Mapping[str, Any]) -> NetworkCost:
    report, info, graph = (_mapping(parts.get(name), name) for name in SUFFIXES)
    footprint = _mapping(info.get("memory_footprint") or graph.get("memory_footprint"), "memory_footprint")
    graphs = info.get("graphs") or [{}]
    nodes = graphs[0].get("nodes") or []
    layers = _layers_of_info(nodes, info.get("buffers") or []) or _layers_of_graph(graph.get("c_layers") or [])
    macs = _first(report.get("rom_n_macc"), sum(layer.macs for layer in layers) if layers else None, graph.get("macc"))
    activations = _first(_one(report.get("ram_size")), footprint.get("activations"))
    weights = _first(_one(report.get("rom_size")), footprint.get("weights"))
    missing = [
        name
        for name, value in (("activations", activations), ("weights", weights), ("operations", macs))
        if value is None
    ]
    if missing:
        raise ReportError(f"the reports do not tell {', '.join(missing)}")
    time = _mapping(_first(graphs[0].get("exec_time"), graph.get("exec_time")), "exec_time")
    tools = _mapping(info.get("environment"), "environment").get("tools") or [{}]
    cycles, duration = time.get("cycles"), time.get("duration_ms")
    return NetworkCost(
        activations_bytes=int(activations),
        weights_bytes=int(weights),
        macs=int(macs),
        io_bytes=_total(_first(footprint.get("io"), report.get("ram_io_size"))),
        runtime_ram_bytes=_runtime(footprint, "ram"),
        runtime_flash_bytes=_runtime(footprint, "flash"),
        cycles=int(cycles) if cycles else None,  # 0: not measured
        duration_ms=float(duration) if duration else None,
        layers=layers,
        split=memory_split(info.get("memory_pools") or []),
        tool_version=_first(tools[0].get("version"), report.get("cli_version_str"), graph.get("tool_version")),
        schemas={
            name: str(version)
            for name, version in (
                ("report", report.get("report_version")),
                ("info", info.get("json_schema_version")),
                ("graph", graph.get("version")),
            )
            if version is not None
        },
    )


def memory_split(pools: Sequence[Mapping[str, Any]]) -> MemorySplit:
    """Where the used memory lies.

    Counted are pools with a size that are neither virtual nor divided into others. One that is only read is flash. One
    with EXTERNAL in its name, or from :data:`EXTERNAL_FROM` on, is external. Without an address nothing is known.
    """
    placed = [
        (pool, address)
        for pool in pools
        if (pool.get("size_bytes") or -1) >= 0
        and not pool.get("virtual")
        and not pool.get("subpools")
        and (address := _address(pool.get("address"))) is not None
    ]
    if not placed:
        return MemorySplit()
    used = {"internal_ram": 0, "external_ram": 0, "internal_flash": 0, "external_flash": 0}
    for pool, address in placed:
        kind = "flash" if pool.get("rights") == "ACC_READ" else "ram"
        external = "EXTERNAL" in str(pool.get("name")).upper() or address >= EXTERNAL_FROM
        used[f"{'external' if external else 'internal'}_{kind}"] += int(pool.get("used_size_bytes") or 0)
    return MemorySplit(**used)


def flash_split(info: Mapping[str, Any], internal: Iterable[str], external: Iterable[str]) -> tuple[int, int] | None:
    """Bytes of weights in internal and in external flash; None where the size of one of the constants is not told.

    Args:
        info: contents of ``c_info``, whose buffers tell the sizes.
        internal, external: names of constants that lie there; the buffer of ``conv2d_1_weights`` is
            ``conv2d_1_weights_array``.
    """
    sizes = {str(buffer.get("name")): int(buffer.get("size_bytes") or 0) for buffer in info.get("buffers") or []}
    try:
        in_chip, outside = (sum(sizes[f"{name}_array"] for name in names) for names in (internal, external))
    except KeyError:
        return None
    return in_chip, outside


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise ReportError(f"{path} cannot be read, it may be cut off: {cause}") from cause


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ReportError(f"'{name}' holds {type(value).__name__} instead of named values")
    return value


def _layers_of_info(nodes: Sequence[Mapping[str, Any]], buffers: Sequence[Mapping[str, Any]]) -> tuple[LayerCost, ...]:
    constants = {buffer["id"]: int(buffer.get("size_bytes") or 0) for buffer in buffers if buffer.get("is_param")}
    layers = []
    for node in nodes:
        duration = (node.get("exec_time") or {}).get("duration_ms")
        layers.append(
            LayerCost(
                name=str(node.get("name")),
                kind=str(node.get("description") or node.get("name")),
                macs=int(node.get("macc") or 0),
                weights_bytes=sum(constants.get(index, 0) for index in node.get("inputs") or ()),
                mapping=node.get("mapping"),
                duration_ms=None if duration is None else float(duration),
            )
        )
    return tuple(layers)


def _layers_of_graph(layers: Sequence[Mapping[str, Any]]) -> tuple[LayerCost, ...]:
    return tuple(
        LayerCost(
            name=str(layer.get("name")),
            kind=str(layer.get("layer_type") or layer.get("name")),
            macs=int(layer.get("macc") or 0),
            weights_bytes=None if layer.get("rom") is None else int(layer["rom"]),
        )
        for layer in layers
    )


def _runtime(footprint: Mapping[str, Any], memory: str) -> int | None:
    """The library's share of ``ram`` or ``flash`` and the compiler's, or what newer tools call extra."""
    parts = [footprint.get(f"{owner}_{memory}") for owner in ("kernel", "toolchain")]
    if any(part is not None for part in parts):
        return sum(int(_one(part) or 0) for part in parts)
    extra = footprint.get(f"extra_{memory}")
    return None if extra is None else int(_one(extra))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _one(value: Any) -> Any:
    """The value, or the first of a list (tools up to 8.1)."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _total(value: Any) -> int | None:
    if value is None:
        return None
    return sum(int(part or 0) for part in value) if isinstance(value, list) else int(value)


def _address(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    try:
        return int(str(value), 0)
    except ValueError:
        return None
