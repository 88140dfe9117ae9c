"""Markdown tables, and a table of the report with its title and notes as Markdown."""

from collections.abc import Callable, Sequence

from tabulate import tabulate

from dp.escapes import markdown as escaped
from dp.report.layout import Table
from dp.results.table import OVERFLOW, Row

ALIGNMENT = {"l": "left", "r": "right"}


class Marked(str):
    """A text that is Markdown already, to stay as it is."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], alignment: str = "") -> str:
    """Cells are text, escaped. alignment: l or r for each column, as in LaTeX; all l unless given."""
    cells = [[text if isinstance(text, Marked) else escaped(text) for text in row] for row in (head, *rows)]
    sides = [ALIGNMENT[side] for side in alignment or "l" * len(head)]
    return tabulate(cells[1:], cells[0], "pipe", disable_numparse=True, colalign=sides if rows else None)


def by_variant(rows: Sequence[Row], show: Callable[[Row], str]) -> tuple[list[str], list[list[str]]]:
    """The tasks of some rows, and for each variant a line with its name and a cell for each of them."""
    cells = {(row["variant"], row["task"]): show(row) for row in rows}
    variants, tasks = (list(dict.fromkeys(row[key] for row in rows)) for key in ("variant", "task"))
    return tasks, [[variant, *[cells.get((variant, task), "") for task in tasks]] for variant in variants]


def percent(row: Row) -> str:
    """`61.0 [50.7, 70.6]`: a mean with its interval, or that it overflowed."""
    if row["mean"] is None:
        return OVERFLOW
    return f"{100 * row['mean']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def document(shown: Table) -> str:
    """A heading, one table whose groups are set apart by a bold line, and the notes as a list."""
    title = f"# {escaped(shown.title)}"
    if shown.empty:
        return f"{title}\n\n{escaped(shown.empty)}\n"
    head = [*shown.stubs, *(f"{column.above} {column.title}".strip() for column in shown.columns)]
    rows: list[list[str]] = []
    for group in shown.groups:
        rows.append([Marked(f"**{escaped(group.title)}**"), *[""] * (len(head) - 1)])
        rows += [[*line.stubs, *(str(line.shown(column)) for column in shown.columns)] for line in group.lines]
    notes = [f"- {escaped(note)}" for note in shown.notes]
    return "\n\n".join([title, table(head, rows, shown.alignment), "\n".join(notes)]).rstrip() + "\n"
