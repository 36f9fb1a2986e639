"""How errors reach the user: one message, a hint, an exit code; a traceback only with ``--debug``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from reidfw_core.errors import ReidfwError


@contextmanager
def reporting_errors(debug: bool) -> Iterator[None]:
    """Ends the process with the exit code of a ReidfwError raised in the block, after showing its message.

    Anything else is a bug of ours and keeps its traceback (exit code 1).
    """
    try:
        yield
    except ReidfwError as error:
        if debug:
            raise
        from reidfw_core.cli.render import show_error

        show_error(error)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as interruption:
        if debug:
            raise
        told = str(interruption)  # what state something was left in
        typer.echo(f"Interrupted. {told}".rstrip(), err=True)
        raise typer.Exit(130) from None
