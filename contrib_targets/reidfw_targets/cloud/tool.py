"""The board tool ``stedgeai_cloud``: memory and time of a model on a real board of ST's developer cloud."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from reidfw_core.api import BenchmarkReport, CommandLine, ComponentParams, ModelFile, ServiceError, atomic_path
from reidfw_targets.board_tools import BoardTool
from reidfw_targets.facts import BoardFacts
from reidfw_targets.stedgeai.reports import ReportError, flash_split, read_parts
from reidfw_targets.stedgeai.tool import report_of, statistics_tag

if TYPE_CHECKING:
    from reidfw_targets.cloud.service import BenchmarkRequest, DeveloperCloud

logger = logging.getLogger(__name__)

RESULT_NAME = "cloud_benchmark.json"
"""File of the work folder with the cloud's answer as it came."""


class StEdgeAiCloud(BoardTool):
    """ST's developer cloud: the model is uploaded, built, and run on a real board."""

    name = "stedgeai_cloud"

    class Params(ComponentParams):
        """Options."""

        timeout_s: float = Field(2500.0, gt=0, description="Seconds without a change of state, then it is given up")
        delete_model: bool = Field(False, description="Delete the model from the cloud afterwards, if it was uploaded")
        convert_for_npu: bool = Field(
            True, description="STM32MP2 only: let the cloud convert the model for the accelerator first"
        )

    poll_s = 2.0
    """Seconds between two questions for the state."""

    def find(self, board: BoardFacts) -> str:
        """Logs in and asks for version and board; see :meth:`BoardTool.find`."""
        from reidfw_targets.cloud.service import DeveloperCloud
        from reidfw_targets.cloud.session import CloudSession

        with CloudSession() as session:
            cloud = DeveloperCloud(session)
            there = cloud.require_board(board)
            version = cloud.version(self.settings.version, board)
            return f"developer cloud, ST Edge AI Core {version}" + (f", {there}" if there else "")

    def list_commands(self, board: BoardFacts, model: ModelFile, workdir: Path) -> Sequence[CommandLine]:  # noqa: ARG002
        """The requests to the cloud; see :meth:`BoardTool.list_commands`."""
        from reidfw_targets.cloud.hosts import CloudHosts
        from reidfw_targets.cloud.service import planned_requests

        name = _remote_name(model.path) if model.path.is_file() else model.path.name
        request = self._request(board, model, name, self.settings.version or "<latest version>")
        return planned_requests(
            CloudHosts.from_environment(),
            request,
            model.path,
            convert=self._converts(board),
            delete=self.params.delete_model,
        )

    def benchmark(self, board: BoardFacts, model: ModelFile, workdir: Path) -> BenchmarkReport:
        """Uploads, runs, and reads the result; see :meth:`BoardTool.benchmark`."""
        from reidfw_targets.cloud.service import DeveloperCloud
        from reidfw_targets.cloud.session import CloudSession

        with CloudSession() as session:
            cloud = DeveloperCloud(session, poll_s=self.poll_s, progress=self.progress)
            version = cloud.version(self.settings.version, board)
            name = _remote_name(model.path)
            uploaded, deleted = cloud.upload(model.path, name), False
            try:
                sent = self._converted(cloud, board, name)
                answer = cloud.benchmark(self._request(board, model, sent, version), self.params.timeout_s)
            finally:
                if uploaded and self.params.delete_model:
                    deleted = _delete(cloud, name)
        with atomic_path(workdir / RESULT_NAME) as temporary:
            temporary.write_text(json.dumps(answer, indent=1), encoding="utf-8")
        details = {"uploaded_as": name, "model_deleted": deleted}
        read = read_linux_result if board.linux else read_result
        return read(answer, version, details)

    def _request(self, board: BoardFacts, model: ModelFile, name: str, version: str) -> BenchmarkRequest:
        from reidfw_targets.cloud.service import BenchmarkRequest

        return BenchmarkRequest(
            board=board,
            model=name,
            version=version,
            optimization=self.settings.optimization,
            tag=statistics_tag(model),
        )

    def _converts(self, board: BoardFacts) -> bool:
        return board.series == "STM32MP2" and bool(self.params.convert_for_npu)

    def _converted(self, cloud: DeveloperCloud, board: BoardFacts, name: str) -> str:
        if not self._converts(board):
            return name
        try:
            return cloud.optimize_for_mp2(name, self.params.timeout_s)
        except ServiceError as cause:
            raise ServiceError(
                f"The model cannot be converted for the accelerator of {board.name}: {cause.message}",
                hint="To measure it as it is: benchmarking.tool_options.convert_for_npu: False.",
            ) from cause


def read_result(answer: Mapping[str, Any], version: str, details: dict[str, Any]) -> BenchmarkReport:
    """The report of a microcontroller.

    Internal and external flash come from the cloud's lists of constants, for its pools do not always have them.

    Raises:
        ServiceError: the answer has another form than known; tells what it lacks.
    """
    parts = answer.get("benchmark")
    mapping = answer.get("memoryMapping") or {}
    if not isinstance(parts, Mapping):
        raise ServiceError(f"The developer cloud's result has no 'benchmark', but {', '.join(sorted(answer))}")
    try:
        info = dict(parts.get("info") or {})
        if mapping.get("memoryFootprint"):
            info["memory_footprint"] = mapping["memoryFootprint"]
        cost = read_parts({**parts, "info": info})
        lists = mapping.get("layersInInternalFlash"), mapping.get("layersInExternalFlash")
        if any(names is not None for names in lists):
            flash = flash_split(info, lists[0] or (), lists[1] or ())
            if flash is None:
                logger.warning("The developer cloud does not tell how large all constants are: no flash by place")
            internal, external = flash or (None, None)
            cost = replace(cost, split=replace(cost.split, internal_flash=internal, external_flash=external))
    except (ReportError, AttributeError, TypeError) as cause:
        raise ServiceError(f"The developer cloud's result cannot be read: {cause}") from cause
    if cost.duration_ms is None:
        raise ServiceError("The developer cloud's result has no inference time (info.graphs[0].exec_time.duration_ms)")
    return report_of(cost, _label(version), version, details)


def read_linux_result(answer: Mapping[str, Any], version: str, details: dict[str, Any]) -> BenchmarkReport:
    """The report of a board with Linux.

    Raises:
        ServiceError: the answer has another form than known; tells what it lacks.
    """
    found = answer.get("benchmark")
    try:
        time = found["exec_time"]  # type: ignore[index]
        ram_kib = float(found["ram_peak"]) / 1024  # type: ignore[index]
        size_kib = float(found["model_size"]) / 1024  # type: ignore[index]
        inference_ms = float(time["duration_ms"])
        if inference_ms <= 0:
            raise ValueError(f"duration_ms is {inference_ms:g}")
        return BenchmarkReport(
            inference_ms=inference_ms,
            total_ram_kib=ram_kib,
            weights_flash_kib=size_kib,
            tool=_label(version),
            further_metrics={
                "Model Size KiB": size_kib,
                "Peak Ram KiB": ram_kib,
                **{f"{part.upper()} usage": float(time[f"{part}_percent"]) for part in ("npu", "gpu", "cpu")},
            },
            labels={"stm32ai_version": version},
            details={**details, "tool_version": found.get("tool_version")},  # type: ignore[union-attr]
        )
    except (AttributeError, KeyError, TypeError, ValueError) as cause:
        raise ServiceError(
            f"The developer cloud's result has another form than known ({type(cause).__name__}: {cause})"
        ) from cause


def _label(version: str) -> str:
    return f"ST Edge AI Core {version}, developer cloud"


def _remote_name(path: Path) -> str:
    """The file's name with part of its digest, so that another model of the same name is never measured instead."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", path.stem).strip("_") or "model"
    return f"{stem}_{digest}{path.suffix.lower()}"


def _delete(cloud: DeveloperCloud, name: str) -> bool:
    """Whether the uploaded model could be deleted; a failure is told, but does not hide the benchmark's own outcome."""
    try:
        cloud.delete(name)
    except ServiceError as cause:
        logger.warning("The model %s is still in the developer cloud: %s", name, cause)
        return False
    return True
