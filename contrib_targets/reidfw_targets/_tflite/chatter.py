"""Keeping what native code writes to the terminal out of sight, but in the log."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr_to_log(logger: logging.Logger) -> Iterator[None]:
    """Sends all that is written to file descriptor 2 inside the block to ``logger`` at level DEBUG.

    LiteRT writes there from C++, which Python's ``redirect_stderr`` does not see. The descriptor belongs to the
    whole process: what other threads write meanwhile lands in the log too.
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
            for line in captured.read().decode(errors="replace").splitlines():
                if line.strip():
                    logger.debug("%s", line.rstrip())
