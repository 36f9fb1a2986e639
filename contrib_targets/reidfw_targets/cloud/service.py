"""What reidfw asks of the developer cloud: versions, files, boards, benchmarks."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reidfw_core.api import BoardNotFound, CommandLine, Progress, ServiceError, nearest_match, no_progress
from reidfw_targets.board_tools import Optimization
from reidfw_targets.cloud.hosts import CloudHosts
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
}

FAILED = {
    "error": "failed",
    "failed": "failed",
    "failure": "failed",
    "aborted": "was aborted",
    "canceled": "was cancelled",
    "cancelled": "was cancelled",
}
"""States after which nothing follows; only the first one is documented."""

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


def planned_requests(
    hosts: CloudHosts, request: BenchmarkRequest, model: Path, *, convert: bool, delete: bool
) -> tuple[CommandLine, ...]:
    """The requests of a benchmark in their order, for people; sends none.

    Args:
        hosts: where the cloud is.
        request: the benchmark.
        model: the file that is uploaded.
        convert, delete: whether it is converted for the STM32MP2 before, and deleted afterwards.
    """
    models = _models(hosts)
    steps = [
        ("Log in", "POST", hosts.sign_on, "", "unless the kept token is accepted, or can be renewed"),
        ("Ask for versions", "GET", hosts.versions, "", None),
        ("Ask for boards", "GET", f"{hosts.benchmarks}/boards", "", None),
        ("Upload the model", "POST", models, f"file={model}", f"as {request.model}, unless it is there"),
    ]
    if convert:
        body = json.dumps({"model": request.model})
        steps.append(("Convert it for the accelerator", "POST", f"{hosts.optimizer}/optimize", body, None))
    steps.append(("Start the benchmark", "POST", _start(hosts, request.board), json.dumps(request.arguments()), None))
    steps.append(("Ask for its state", "GET", f"{hosts.benchmarks}/benchmark/<id>", "", "until it is done"))
    if delete:
        steps.append(("Delete the model", "DELETE", f"{models}/{request.model}", "", "if it was uploaded"))
    return tuple(
        CommandLine(title=title, argv=tuple(part for part in (method, url, body) if part), note=note)
        for title, method, url, body, note in steps
    )


class DeveloperCloud:
    """The calls, each with what it may fail with.

    Args:
        session: the connection.
        poll_s: see :data:`POLL_S`.
        progress: told of the upload, and of each state of a benchmark.
    """

    def __init__(self, session: CloudSession, *, poll_s: float = POLL_S, progress: Progress = no_progress) -> None:
        self._session = session
        self._hosts = session.hosts
        self._poll_s = poll_s
        self._progress = progress

    def version(self, wanted: str | None, board: BoardFacts) -> str:
        """The offered version that is wanted: that one, the newest that begins with it, or the latest for the board.

        A version that tells its platforms must have that of the board: the cloud's latest need not know STM32MP.

        Raises:
            ServiceError: it is not offered, or not for such a board; tells which are.
        """
        listed = self._session.json("GET", self._hosts.versions, with_token=False)
        entries = {
            str(entry["version"]): entry
            for entry in (listed if isinstance(listed, list) else ())
            if isinstance(entry, Mapping) and entry.get("version")
        }
        if not entries:
            raise ServiceError(f"The developer cloud's list of versions has an unknown form: {_short(listed)}")
        newest_first = sorted(entries, key=lambda version: _age(entries[version]), reverse=True)
        matching = [one for one in newest_first if wanted is None or f"{one}.".startswith((f"{wanted}.", f"{wanted}-"))]
        if not matching:
            raise ServiceError(
                f"tools.stedgeai.version: the developer cloud does not offer version {wanted}",
                hint=f"It offers {', '.join(newest_first)}; without the attribute the latest is taken.",
            )
        able = [version for version in newest_first if _serves(entries[version], board)]
        fitting = [version for version in matching if version in able]
        if not fitting:
            raise ServiceError(
                f"The developer cloud's version {wanted or matching[0]} does not serve {board.name}",
                hint=f"tools.stedgeai.version may be {', '.join(able)}." if able else "None of its versions does.",
            )
        latest = (version for version in fitting if entries[version].get("isLatest"))
        return fitting[0] if wanted is not None else next(latest, fitting[0])

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
                hint=f"It has {', '.join(sorted(boards)) or 'no boards at all'}.",
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
        models = _models(self._hosts)
        known = self._session.json("GET", models)
        if any(isinstance(entry, Mapping) and entry.get("name") == name for entry in known or ()):
            logger.info("%s is in the developer cloud already", name)
            return False
        with (
            self._progress(f"Uploading {name}", path.stat().st_size, "bytes") as advance,
            _CountedFile(path, advance) as file,
        ):
            answer = self._session.json("POST", models, files={"file": (name, file)})
        if not (isinstance(answer, Mapping) and answer.get("upload")):
            raise ServiceError(f"The developer cloud did not take {name}: {_short(answer)}")
        return True

    def delete(self, name: str) -> None:
        """Removes a model from the user's files.

        Raises:
            ServiceError: it is refused.
        """
        answer = self._session.json("DELETE", f"{_models(self._hosts)}/{quote(name)}")
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
        done = self._wait(f"{self._hosts.optimizer}/run/{run}", "Conversion", timeout_s)
        return str(_field(done, "blobName", "the conversion for STM32MP2"))

    def benchmark(self, request: BenchmarkRequest, timeout_s: float) -> Mapping[str, Any]:
        """Starts a benchmark and waits for its result.

        Args:
            request: what to measure.
            timeout_s: seconds after which it is given up, counted from the last change of its state.

        Raises:
            ServiceError: refused, failed on the board, or still waiting after the time.
        """
        arguments = request.arguments()
        body: dict[str, Any] = (
            {"model": arguments["model"], "args": json.dumps(arguments)}
            if self._takes_nested_arguments()
            else arguments
        )
        started = self._session.json("POST", _start(self._hosts, request.board), repeat=False, body=body)
        if isinstance(started, Mapping) and started.get("errors"):
            raise ServiceError(f"The developer cloud refuses the benchmark: {_short(started['errors'])}")
        number = _field(started, "benchmarkId", "the start of a benchmark")
        logger.info("Benchmark %s started on %s", number, request.board.name)
        return self._wait(f"{self._hosts.benchmarks}/benchmark/{quote(str(number))}", f"Benchmark {number}", timeout_s)

    def _wait(self, address: str, what: str, timeout_s: float) -> Mapping[str, Any]:
        """Asks until it is done; each new state is logged, and has a progress of its own."""
        state = shown = ""
        changed = time.monotonic()
        with ExitStack() as bar:
            while True:
                answer = self._session.json("GET", address, patient=True)
                now = str(_field(answer, "state", what))
                if now != state:
                    state, changed = now, time.monotonic()
                if state in FAILED:
                    raise ServiceError(
                        f"{what} {FAILED[state]} in the developer cloud: "
                        f"{answer.get('message') or 'it does not say why'}"
                    )
                text, percent = _in_words(state, answer), answer.get("progress")
                if text != shown:
                    shown = text
                    logger.info("Developer cloud: %s", text)
                    if state == "done":
                        return dict(answer)
                    bar.close()
                    total, unit = (100, "%") if _is_number(percent) else (0, "s")
                    advance = bar.enter_context(self._progress(f"Developer cloud: {text}", total, unit))
                waited_s = time.monotonic() - changed
                if waited_s > timeout_s:
                    raise ServiceError(
                        f"{what} was given up: it has been {STATES.get(state, state)} for {timeout_s:g} s",
                        hint="Try again later, or allow more time: benchmarking.tool_options.timeout_s.",
                    )
                if unit == "s":
                    advance(int(waited_s))
                elif _is_number(percent):
                    advance(int(percent))
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
    step, total = answer.get("step"), answer.get("totalStep")
    return f"{text}, step {step} of {total}" if step is not None and total else text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _CountedFile(io.BufferedReader):
    """A file that tells how much of it has been read, so how much has been sent."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._advance = advance

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self._advance(self.tell())
        return found


def _field(answer: Any, name: str, what: str) -> Any:
    if isinstance(answer, Mapping) and answer.get(name) not in (None, ""):
        return answer[name]
    raise ServiceError(f"The developer cloud's answer to {what} has no '{name}': {_short(answer)}")


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 400 else f"{text[:400]}..."


def _age(entry: Mapping[str, Any]) -> tuple[bool, list[int]]:
    """Sorts versions: those of ST Edge AI Core after those of STM32CubeAI, which had higher numbers."""
    numbers = [int(part) if part.isdigit() else -1 for part in str(entry["version"]).replace("-", ".").split(".")]
    return bool(entry.get("edgeAiCore")), numbers


def _serves(entry: Mapping[str, Any], board: BoardFacts) -> bool:
    """Whether a version serves a kind of board, as far as it tells."""
    if uses_neural_art(board) and entry.get("supportsNeuralArt") is False:
        return False
    platforms = entry.get("platform")
    return not platforms or ("stm32mpu" if board.linux else "stm32") in platforms


def _models(hosts: CloudHosts) -> str:
    return f"{hosts.files}/files/models"


def _start(hosts: CloudHosts, board: BoardFacts) -> str:
    return f"{hosts.benchmarks}/benchmark/{'mpu/' if board.linux else ''}{quote(board.name.lower())}"
