"""ST's library for this computer as a device: the C code of the board, compiled for this processor."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from reidfw_core.api import BoardFailed, ToolFailed, ToolNotFound
from reidfw_targets.device.tensors import DeviceTensor
from reidfw_targets.numbers import TensorNumbers
from reidfw_targets.processes import tail

RUNNER_FOLDER = Path("scripts", "ai_runner")
"""Where an installation keeps the package ``stm_ai_runner``."""

ANSWER_TIMEOUT_S = 120.0


def runner_folder(installation: Path) -> Path:
    """The folder with ST's package in an installation.

    Raises:
        ToolNotFound: it is not there.
    """
    folder = installation / RUNNER_FOLDER
    if not (folder / "stm_ai_runner" / "__init__.py").is_file():
        raise ToolNotFound(
            f"ST's Python package stm_ai_runner is not in {folder}",
            hint="It comes with ST Edge AI Core 2.0 and newer; check tools.stedgeai.path_to_stedgeai.",
        )
    return folder


class LibraryDevice:
    """ST's library in a process of its own; see :class:`~reidfw_targets.device.runner.Device`.

    Args:
        package: folder with ``stm_ai_runner``.
        workspace: ``st_ai_ws``, into which the library was built.
        log: file for what the process prints.

    Raises:
        ToolFailed: the library cannot be loaded; the message holds ST's reason.
    """

    def __init__(self, package: Path, workspace: Path, log: Path) -> None:
        script = Path(__file__).with_name("library_host.py")
        self._argv = (sys.executable, str(script), str(package), str(workspace))
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 (our own script, by a list of arguments)
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=workspace.parent
            )
        self._answers: queue.SimpleQueue[tuple[dict[str, Any], bytes] | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            facts, _ = self._answer()
            self.input, self.output = _tensor(facts["inputs"]), _tensor(facts["outputs"])
        except BaseException:
            self.close()
            raise
        self.label = f"ST Edge AI {facts['tool_version'] or 'library'} on this computer".replace("  ", " ")

    def run(self, image: bytes) -> tuple[bytes, float | None]:
        """One inference; its duration here says nothing about a board."""
        stream = self._process.stdin
        assert stream is not None
        with contextlib.suppress(OSError):  # the process is gone: what it said comes below
            stream.write(image)
            stream.flush()
        return self._answer()[1], None

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it was gone already
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        for line in stream:
            content = json.loads(line)
            self._answers.put((content, stream.read(content.get("bytes", 0))))
        self._answers.put(None)

    def _answer(self) -> tuple[dict[str, Any], bytes]:
        try:
            answer = self._answers.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            self._process.kill()
            raise self._failed(f"has not answered for {ANSWER_TIMEOUT_S:g} s") from None
        if answer is None:
            raise self._failed(f"ended with code {self._process.wait()}")
        if "error" in answer[0]:
            raise self._failed(f"says: {answer[0]['error']}")
        return answer

    def _failed(self, reason: str) -> ToolFailed:
        told = tail(self._log.read_text(encoding="utf-8", errors="replace").splitlines())
        return ToolFailed(
            f"ST's library for this computer {reason}" + (f"\n{told}" if told else ""),
            argv=self._argv,
            code=self._process.poll(),
            hint="A missing Python package is installed with pip. Was the library built (see the log of generate)?",
        )


def _tensor(told: list[dict[str, Any]]) -> DeviceTensor:
    if len(told) != 1:
        raise BoardFailed(f"The library has {len(told)} inputs or outputs; a ReID model has one")
    (facts,) = told
    dtype = np.dtype(facts["dtype"])
    numbers = TensorNumbers(dtype, facts["scale"] if dtype.kind in "iu" else 0.0, facts["zero_point"])
    if dtype.kind in "iu" and not numbers.scale > 0:
        raise BoardFailed(f"The library's tensor '{facts['name']}' is {dtype} without a scale")
    sizes = tuple(facts["shape"])
    first = len(sizes) == 4 and sizes[1] in (1, 3) and sizes[3] not in (1, 3)
    return DeviceTensor(name=facts["name"], dimensions=sizes, layout="NCHW" if first else "NHWC", numbers=numbers)
