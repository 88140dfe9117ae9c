"""A table as readers see it: columns, and for a paper's table heads, groups of lines and notes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dp.results.table import Row


class Shown(NamedTuple):
    """What stands in a cell to read: a number, its interval, and marks that the notes explain."""

    number: str = ""
    interval: str = ""
    mark: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in self if part)


@dataclass(frozen=True)
class Column:
    """What Markdown, LaTeX and the page show of a row.

    kind: number, text, long (sentences), verdict or flag. above: stands over all neighbours that share it. record: the
    name of the record of a line that this column shows.

    On the page: `filter` has a list to choose from; `opens` shows where it comes from; `key` tells the page's script
    which column it is, where that matters.
    """

    title: str
    show: Callable[[Row], Shown | str]
    kind: str = "text"
    above: str = ""
    record: str = ""
    filter: bool = False
    opens: bool = False
    key: str = ""

    def text(self, row: Row) -> str:
        return str(self.show(row))

    @property
    def alignment(self) -> str:
        """As LaTeX has it."""
        return "r" if self.kind == "number" else "l"


@dataclass(frozen=True)
class TableLine:
    """stubs: what stands left of the numbers. records: each is one line of the CSV; a column whose record is missing
    stays empty."""

    stubs: tuple[str, ...]
    records: dict[str, Row]

    def shown(self, column: Column) -> Shown:
        """In a table whose columns show a number each."""
        cell = column.show(self.records[column.record]) if column.record in self.records else ""
        return cell if isinstance(cell, Shown) else Shown(cell)


@dataclass(frozen=True)
class Group:
    title: str
    lines: list[TableLine]


@dataclass(frozen=True)
class Table:
    """name: of its files. fields: columns of the CSV. empty: in one line, why there is nothing to show."""

    name: str
    title: str
    fields: tuple[str, ...]
    stubs: tuple[str, ...]
    columns: list[Column]
    groups: list[Group]
    notes: list[str]
    empty: str = ""

    @property
    def alignment(self) -> str:
        return "l" * len(self.stubs) + "".join(column.alignment for column in self.columns)


def records(groups: list[Group]) -> list[Row]:
    """The rows of the CSV."""
    return [record for group in groups for line in group.lines for record in line.records.values()]
