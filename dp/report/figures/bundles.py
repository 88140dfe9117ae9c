"""Lines of variants in panels: few enough in each to be told apart, and the same reference behind all of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dp.report.figures import style
from dp.results.labels import name_of

REFERENCE = "fixed"
"""The variant that stands behind the others, where it was run."""


class Bundle(NamedTuple):
    """A few variants of one backbone and regime, on the tasks that any of them was run on."""

    header: str  # of the first part alone
    setting: tuple[str, str, str]
    variants: list[str]
    tasks: list[str]


def parts(rows: style.Rows, reference: bool = True) -> Iterator[Bundle]:
    for setting in style.settings(rows):
        own, header = style.where(rows, setting), name_of(setting)
        every = style.unique(own, "variant")
        others = [name for name in every if name != REFERENCE or not reference]
        for variants in style.chunks(others) or [[]]:
            of_part = [row for row in own if row["variant"] in variants] or own
            yield Bundle(header, setting, variants, style.unique(of_part, "task"))
            header = ""


def named(last: Axes, looks: dict[str, dict[str, Any]]) -> None:
    """The names of the lines, at the right of the last panel."""
    drawn = [Line2D([], [], **look) for look in looks.values()]
    last.legend(drawn, list(looks), loc="upper left", bbox_to_anchor=(1.02, 1.05), handlelength=3, fontsize=7)
