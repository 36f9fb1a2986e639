"""``reidfw report``: the page of one run again, or several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from reidfw_core.cli.render import messages, screen, show_json, show_warnings, shown_path, table
from reidfw_core.errors import StorageError
from reidfw_core.report.comparison import (
    COMPARISON_NAME,
    Column,
    comparison_html,
    comparison_rows,
    comparison_warnings,
    read_runs,
)
from reidfw_core.report.formatting import NOTHING, compact, decimal


def report(runs: Sequence[Path], output: Path | None, *, as_json: bool) -> None:
    """Writes the page of one run, or a page and a table that compare several.

    Args:
        runs: run folders; the first is what the others are compared with.
        output: the page to write; ``report.html`` in the run folder, or ``comparison.html`` in the current one.
        as_json: print the rows of the table as JSON.

    Raises:
        DataError: a folder is no run folder, or the same one is given twice.
        StorageError: the page cannot be written there.
    """
    from reidfw_core.files import write_text
    from reidfw_core.report.page import write_report

    summaries = read_runs(runs)
    if output is not None:
        _check_place(output)
    if len(runs) == 1:
        page = write_report(runs[0], output)
    else:
        page = output or Path(COMPARISON_NAME)
        write_text(page, comparison_html(summaries))
    rows = comparison_rows(summaries)
    if as_json:
        show_json(rows)
    elif len(runs) > 1:
        screen().print(table("Comparison", *_cells(rows)))
    if len(runs) > 1:
        show_warnings(comparison_warnings(summaries))
    messages().print(f"Wrote {escape(shown_path(page.resolve()))}", soft_wrap=True)


def _check_place(output: Path) -> None:
    if output.is_dir():
        raise StorageError(f"Cannot write {output}: it is a folder", hint="Name the HTML file to write.")
    if not output.parent.is_dir():
        raise StorageError(f"Cannot write {output}: there is no folder {output.parent}", hint="Make the folder first.")


_SHOWN = ("mAP", "mAP_difference", "rank1", "size_kib", "ram_kib", "flash_kib", "inference_ms")
"""Columns for which a terminal has room; the page has all of them."""


def _cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    from reidfw_core.report.comparison import shown_columns

    columns = [column for column in shown_columns(rows) if column.key in _SHOWN]
    headlines = ["run", "model", "numbers", *(f"{column.label} " for column in columns)]
    lines = [
        [escape(row["run"]), escape(row["model"]), row["numbers"], *(_cell(row, column) for column in columns)]
        for row in rows
    ]
    return headlines, lines


def _cell(row: Mapping[str, Any], column: Column) -> str:
    value = row[column.key]
    if value is None:
        return NOTHING
    text = (
        compact(value) if column.digits is None else decimal(value, column.digits, sign=column.key == "mAP_difference")
    )
    return f"* {text}" if column.key in row["best"] else text
