"""What reidfw asks of the developer cloud: versions, files, boards, benchmarks."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reidfw_core.api import BoardNotFound, ServiceError, nearest_match
from reidfw_targets.board_tools import Optimization
from reidfw_targets.cloud.session import CloudSession
from reidfw_targets.facts import BoardFacts
from reidfw_targets.stedgeai.command import target_of, uses_neural_art

logger = logging.getLogger(__name__)

POLL_S = 2.0
"""Seconds between two questions for the state of a benchmark."""

STATES = {
    "waiting_for_build": "waiting to be built",
    "in_queue": "in the queue for a board",
    "generating_sources": "generating C code",
    "copying_sources": "copying C code",
    "loading_sources": "loading C code",
    "building": "building the firmware",
    "flashing": "flashing the board",
    "validation": "running on the board",
    "done": "done",
    "error": "failed",
}

_MPU_ENGINES: dict[str, tuple[str, int]] = {"STM32MP257F-EV1": ("hw_accelerator", 2), "STM32MP157F-DK2": ("cpu", 2)}
"""What runs the network on boards with Linux, and on how many cores; all others ("cpu", 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRequest:
    """What to measure.

    Attributes:
        board: where.
        model: name of an uploaded file.
        version: version of the tool.
        optimization: what the C code is optimised for.
        tag: what ST counts the use under.
    """

    board: BoardFacts
    model: str
    version: str
    optimization: Optimization
    tag: str

    def arguments(self) -> dict[str, Any]:
        """The fields of the request, by the family of the board."""
        fields: dict[str, Any] = {"model": self.model, "version": self.version}
        if self.board.linux:
            engine, cores = _MPU_ENGINES.get(self.board.name, ("cpu", 1))
            return {**fields, "nbCores": cores, "engine": engine}
        if uses_neural_art(self.board):
            return {
                **fields,
                "target": target_of(self.board),
                "stNeuralArt": "default",
                "atonnOptions": {"enable-epoch-controller": True},
                "fromModel": self.tag,
            }
        return {**fields, "optimization": self.optimization, "fromModel": self.tag}


class DeveloperCloud:
    """The calls, each with what it may fail with.

    Args:
        session: the connection.
        poll_s: see :data:`POLL_S`.
    """

    def __init__(self, session: CloudSession, *, poll_s: float = POLL_S) -> None:
        self._session = session
        self._hosts = session.hosts
        self._poll_s = poll_s

    def version(self, wanted: str | None) -> str:
        """The offered version that is wanted: that one, the newest that begins with it, or the cloud's latest.

        Raises:
            ServiceError: it is not offered; tells which are.
        """
        listed = self._session.json("GET", self._hosts.versions, with_token=False)
        offered = {
            str(entry["version"]): bool(entry.get("isLatest"))
            for entry in (listed if isinstance(listed, list) else ())
            if isinstance(entry, Mapping) and entry.get("version")
        }
        if not offered:
            raise ServiceError(f"The developer cloud's list of versions has an unknown form: {_short(listed)}")
        newest_first = sorted(offered, key=_numbers, reverse=True)
        if wanted is None:
            return next((version for version in newest_first if offered[version]), newest_first[0])
        for version in newest_first:
            if version == wanted or version.startswith((f"{wanted}.", f"{wanted}-")):
                return version
        raise ServiceError(
            f"tools.stedgeai.version: the developer cloud does not offer version {wanted}",
            hint=f"It offers {', '.join(newest_first)}; without the attribute the latest is taken.",
        )

    def require_board(self, board: BoardFacts) -> str:
        """Checks that the cloud has a board. Logs in.

        Returns:
            How many there are of it, for people.

        Raises:
            BoardNotFound: it has none; tells which it has.
            ServiceError: see :class:`CloudSession`.
        """
        boards = self._session.json("GET", f"{self._hosts.benchmarks}/boards")
        if not isinstance(boards, Mapping):
            raise ServiceError(f"The developer cloud's list of boards has an unknown form: {_short(boards)}")
        found = next((entry for name, entry in boards.items() if name.upper() == board.name.upper()), None)
        if found is None:
            near = nearest_match(board.name, boards)
            raise BoardNotFound(
                f"The developer cloud has no {board.name}" + (f" (nearest: {near})" if near else ""),
                hint=f"It has {', '.join(sorted(boards))}.",
            )
        count = found.get("boardCount") if isinstance(found, Mapping) else None
        return "" if count is None else f"{count} of this board"

    def upload(self, path: Path, name: str) -> bool:
        """Puts a model into the user's files, unless it is there.

        Returns:
            Whether it was uploaded now.

        Raises:
            ServiceError: it is refused.
        """
        models = f"{self._hosts.files}/files/models"
        known = self._session.json("GET", models)
        if any(isinstance(entry, Mapping) and entry.get("name") == name for entry in known or ()):
            logger.info("%s is in the developer cloud already", name)
            return False
        answer = self._session.json("POST", models, files={"file": (name, path.read_bytes())})
        if not (isinstance(answer, Mapping) and answer.get("upload")):
            raise ServiceError(f"The developer cloud did not take {name}: {_short(answer)}")
        return True

    def delete(self, name: str) -> None:
        """Removes a model from the user's files.

        Raises:
            ServiceError: it is refused.
        """
        answer = self._session.json("DELETE", f"{self._hosts.files}/files/models/{quote(name)}")
        if not (isinstance(answer, Mapping) and answer.get("deleted")):
            raise ServiceError(f"The developer cloud did not delete {name}: {_short(answer)}")

    def optimize_for_mp2(self, name: str, timeout_s: float) -> str:
        """Converts an uploaded model for the accelerator of the STM32MP2.

        Returns:
            Name of the converted file in the cloud.

        Raises:
            ServiceError: it cannot be converted, or not in time.
        """
        started = self._session.json("POST", f"{self._hosts.optimizer}/optimize", repeat=False, body={"model": name})
        run = _field(started, "runtimeId", "the conversion for STM32MP2")
        done = self._wait(f"{self._hosts.optimizer}/run/{run}", "Conversion", timeout_s, lambda _: None)
        return str(_field(done, "blobName", "the conversion for STM32MP2"))

    def benchmark(
        self, request: BenchmarkRequest, timeout_s: float, on_state: Callable[[str], None]
    ) -> Mapping[str, Any]:
        """Starts a benchmark and waits for its result.

        Args:
            request: what to measure.
            timeout_s: seconds after which it is given up, counted from the last change of its state.
            on_state: called with each new state, in words.

        Raises:
            ServiceError: refused, failed on the board, or still waiting after the time.
        """
        kind = "mpu/" if request.board.linux else ""
        address = f"{self._hosts.benchmarks}/benchmark/{kind}{quote(request.board.name.lower())}"
        arguments = request.arguments()
        body: dict[str, Any] = (
            {"model": arguments["model"], "args": json.dumps(arguments)}
            if self._takes_nested_arguments()
            else arguments
        )
        started = self._session.json("POST", address, repeat=False, body=body)
        if isinstance(started, Mapping) and started.get("errors"):
            raise ServiceError(f"The developer cloud refuses the benchmark: {_short(started['errors'])}")
        number = _field(started, "benchmarkId", "the start of a benchmark")
        logger.info("Benchmark %s started on %s", number, request.board.name)
        return self._wait(
            f"{self._hosts.benchmarks}/benchmark/{quote(str(number))}", f"Benchmark {number}", timeout_s, on_state
        )

    def _wait(self, address: str, what: str, timeout_s: float, on_state: Callable[[str], None]) -> Mapping[str, Any]:
        state = shown = ""
        changed = time.monotonic()
        while True:
            answer = self._session.json("GET", address)
            now = _field(answer, "state", what)
            if now != state:
                state, changed = str(now), time.monotonic()
            if state == "error":
                raise ServiceError(
                    f"{what} failed in the developer cloud: {answer.get('message') or 'it does not say why'}"
                )
            text = _in_words(state, answer)
            if text != shown:
                shown = text
                on_state(text)
            if state == "done":
                return dict(answer)
            if time.monotonic() - changed > timeout_s:
                raise ServiceError(
                    f"{what} was given up: it has been {STATES.get(state, state)} for {timeout_s:g} s",
                    hint="Try again later, or allow more time: benchmarking.tool_options.timeout_s.",
                )
            time.sleep(self._poll_s)

    def _takes_nested_arguments(self) -> bool:
        """Whether this version of the cloud wants the arguments as one text; it describes its interface itself."""
        try:
            description = self._session.json("GET", f"{self._hosts.benchmarks}/api")
        except ServiceError as cause:
            logger.debug("The developer cloud does not describe its benchmarks (%s)", cause)
            return False
        return isinstance(description, Mapping) and _describes_nested_arguments(description)


def _describes_nested_arguments(description: Mapping[str, Any]) -> bool:
    """Whether an OpenAPI document gives the start of a benchmark the fields ``args`` and ``model``."""
    schemas = (description.get("components") or {}).get("schemas") or {}
    for path, operations in (description.get("paths") or {}).items():
        if "/benchmark/" not in f"{path}/":
            continue
        body = (operations.get("post") or {}).get("requestBody") or {}
        for content in (body.get("content") or {}).values():
            schema = content.get("schema") or {}
            schema = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
            if "args" in (schema.get("properties") or {}):
                return True
    return False


def _in_words(state: str, answer: Mapping[str, Any]) -> str:
    text = STATES.get(state, state.replace("_", " "))
    progress, step, total = (answer.get(name) for name in ("progress", "step", "totalStep"))
    if step is not None and total:
        text += f", step {step} of {total}"
    if isinstance(progress, int | float) and state != "done":
        text += f", {progress:g} %"
    return text


def _field(answer: Any, name: str, what: str) -> Any:
    if isinstance(answer, Mapping) and answer.get(name) not in (None, ""):
        return answer[name]
    raise ServiceError(f"The developer cloud's answer to {what} has no '{name}': {_short(answer)}")


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 400 else f"{text[:400]}..."


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in version.replace("-", ".").split(".")]
