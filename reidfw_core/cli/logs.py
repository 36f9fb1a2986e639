"""Logging to the screen: one handler on standard error, for as long as a command works."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler

from reidfw_core.cli.render import messages

NOISY = (
    "absl",
    "tensorflow",
    "h5py",
    "matplotlib",
    "PIL",
    "mlflow",
    "clearml",
    "alembic",
    "sqlalchemy",
    "git",
    "httpcore",
    "httpx",
    "urllib3",
)
"""Loggers of libraries whose information messages are not for users; their warnings go through."""


@contextmanager
def logging_to_screen(level: int = logging.INFO) -> Iterator[Console]:
    """Shows log records of the block on standard error, and gives the console for progress bars."""
    console = messages()
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_time=False, show_path=False, markup=False, rich_tracebacks=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:  # plain lines, not padded and not wrapped
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)-8s %(message)s"))
    handler.addFilter(lambda record: not getattr(record, "log_only", False))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    quiet = {name: logging.getLogger(name).level for name in NOISY}
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            yield console
        finally:
            logging.captureWarnings(False)
            for name, old in quiet.items():
                logging.getLogger(name).setLevel(old)
            root.setLevel(before)
            root.removeHandler(handler)
