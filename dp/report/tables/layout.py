"""A table in memory: heads, groups of lines, notes. dp/report/tables/render.py writes it as CSV, Markdown and LaTeX."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dp.results.table import Row


class Shown(NamedTuple):
    """What stands in a cell to read: a number, its interval, and marks that the notes explain."""

    number: str = ""
    interval: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """One column: `head` stands above all neighbours that share it, `sub` above this one alone.

    record: the name of the record of a line that this column shows.
    """

    head: str
    sub: str
    record: str
    show: Callable[[Row], Shown]


@dataclass(frozen=True)
class Line:
    """stubs: what stands left of the numbers. records: each is one line of the CSV; a column whose record is missing
    stays empty."""

    stubs: tuple[str, ...]
    records: dict[str, Row]


@dataclass(frozen=True)
class Group:
    title: str
    lines: list[Line]


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
    def records(self) -> Iterator[Row]:
        """The rows of the CSV."""
        return (record for group in self.groups for line in group.lines for record in line.records.values())
