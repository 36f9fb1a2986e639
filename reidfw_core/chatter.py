"""Keeping what native code and converters write to the terminal out of sight, but in the log."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def native_stderr_to_log(logger: logging.Logger) -> Iterator[None]:
    """Sends all that is written to file descriptor 2 inside the block to ``logger`` at level DEBUG.

    TensorFlow and LiteRT write there from C++, which Python's ``redirect_stderr`` does not see. The descriptor
    belongs to the whole process: what other threads write meanwhile lands in the log too.
    """
    try:
        saved = os.dup(2)
    except OSError:  # the process runs without a standard error
        yield
        return
    with tempfile.TemporaryFile() as captured:
        try:
            sys.stderr.flush()
            os.dup2(captured.fileno(), 2)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            captured.seek(0)
            _log_lines(captured.read().decode(errors="replace"), logger)


@contextmanager
def prints_to_log(logger: logging.Logger) -> Iterator[None]:
    """Sends what Python code prints inside the block to ``logger`` at level DEBUG."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        _log_lines(printed.getvalue(), logger)


def _log_lines(text: str, logger: logging.Logger) -> None:
    for line in text.splitlines():
        if line.strip():
            logger.debug("%s", line.rstrip())
