"""What the command line looks like: the only module that draws with rich."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from reidfw_core.errors import ReidfwError

if TYPE_CHECKING:
    from reidfw_core.plan.planner import Plan
    from reidfw_core.run.runner import PlannedPrograms, RunResult


MOST_PREDICTIONS = 30
"""Predictions that the screen shows; all of them are in the files."""


def screen(*, record: bool = False) -> Console:
    """The console for results (standard output); with ``record`` its text can be exported afterwards."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False, record=record)


def messages() -> Console:
    """The console for everything else (standard error)."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else 160, highlight=False)


def show_error(error: ReidfwError) -> None:
    """Prints an error and its hint."""
    console = messages()
    console.print(f"[bold red]Error:[/] {escape(error.message)}", soft_wrap=True)
    if error.hint:
        console.print(f"[cyan]Hint:[/] {escape(error.hint)}", soft_wrap=True)


def show_warnings(warnings: Iterable[str]) -> None:
    """Logs warnings, so that they stand on the screen and in the log alike."""
    for warning in warnings:
        logging.getLogger("reidfw_core").warning(warning)


def show_json(value: Any) -> None:
    """Prints JSON for machines on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain texts; columns whose name ends in a blank are right-aligned."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(column.strip(), justify="right" if column.endswith(" ") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def aligned(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], colors: Mapping[str, str] | None = None
) -> Text:
    """Rows below each other as one text, for long listings: rich's tables measure every cell, which takes longer.

    Args:
        title: headline.
        columns: their names.
        rows: plain texts.
        colors: styles of cells that hold exactly one of these words.
    """
    lines = [columns, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    text = Text(f"{title}\n", style="", no_wrap=True)
    text.stylize("bold", 0, len(title))
    for number, line in enumerate(lines):
        for cell, width in zip(line, widths, strict=True):
            text.append(cell.ljust(width), style="bold" if not number else (colors or {}).get(cell, ""))
            text.append("  ")
        text.rstrip()
        text.append("\n")
    return text


def show_plan(plan: Plan) -> None:
    """Prints a plan as a table."""
    rows = [
        (
            str(planned.number),
            planned.key,
            escape(planned.component.name) if planned.component else "-",
            str(planned.takes or "-"),
            str(planned.gives or "-"),
            planned.data,
        )
        for planned in plan.steps
    ]
    console = screen()
    console.print(table(f"Plan of {plan.operation_mode}", ("#", "step", "component", "takes", "gives", "data"), rows))
    for note in plan.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")


def show_commands(steps: Sequence[PlannedPrograms]) -> None:
    """Prints what each step would start or send, programs as one could type them."""
    console = screen()
    for step in steps:
        how = f": {step.how}" if step.how else ""
        console.print(f"\n[bold]{escape(step.title)}[/], {escape(step.target + how)}", soft_wrap=True)
        for number, command in enumerate(step.commands, start=1):
            where = f" [dim](in {escape(str(command.cwd))})[/]" if command.cwd is not None else ""
            console.print(f"{number:>3}. {escape(command.title)}{where}", soft_wrap=True)
            console.print(f"     {escape(shlex.join(command.argv))}", soft_wrap=True, highlight=False)
            if command.note:
                console.print(f"     [yellow]{escape(command.note)}[/]", soft_wrap=True)


def show_result(result: RunResult, command: str) -> None:
    """Prints what a run reached, where its files are, and what to try next."""
    from reidfw_core.cli.summary import (
        board_tables,
        change_rows,
        file_rows,
        next_steps,
        prediction_rows,
        score_rows,
    )
    from reidfw_core.run.directory import append_to_log

    console = screen(record=True)
    predictions = prediction_rows(result)
    if predictions:
        shown = predictions[:MOST_PREDICTIONS]
        columns = ("query", "identity", "distance ", "same identity", "nearest")
        console.print()
        console.print(table("Predictions", columns, [tuple(escape(cell) for cell in row) for row in shown]))
        if len(shown) < len(predictions):
            console.print(f"... and {len(predictions) - len(shown)} more in predictions/predictions.csv")
    scores = score_rows(result)
    if scores:
        console.print()
        console.print(
            table(
                "Results",
                (
                    "model",
                    "numbers",
                    "mAP % ",
                    "rank-1 % ",
                    "rank-5 % ",
                    "rank-10 % ",
                    "EER % ",
                    "threshold ",
                    "queries ",
                    "gallery ",
                    "size KiB ",
                ),
                scores,
            )
        )
    changes = change_rows(result)
    if changes:
        console.print()
        console.print(table("Quantization", ("", "float ", "quantized ", "difference "), changes))
    for board in board_tables(result):
        console.print()
        columns = ("quantity", "unit", "measured ", "modelled ", "published ")
        console.print(table(escape(board.title), columns, board.rows))
        for origin in board.origins:
            console.print(f"[dim]{escape(origin)}[/]", soft_wrap=True)
        for note in board.notes:
            console.print(f"[yellow]Note:[/] {escape(note)}", soft_wrap=True)
    console.print()
    console.print(table(f"Files in {escape(shown_path(result.run_dir))}", ("file", "what it is"), file_rows(result)))
    console.print()
    console.print("[bold]Next[/]")
    for text, line in next_steps(result, command):
        console.print(f"  {escape(text)}\n    [green]{escape(line)}[/]", soft_wrap=True)
    append_to_log(result.run_dir, console.export_text())


def shown_path(path: Path) -> str:
    """A path as short as it can be written from the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
