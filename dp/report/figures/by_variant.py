"""Panels whose rows are the variants, in blocks that hold only the variants and panels that they have."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dp.report.figures import style
from dp.results.labels import name_of

STEP = 0.165
"""Inches from one variant to the next."""


class Panel(NamedTuple):
    axes: Axes
    rows: style.Rows
    place: dict[str, int]  # variant -> y


def panels(
    rows: style.Rows,
    text: str,
    blocks: Mapping[str, style.Rows],
    column: str,
    width: float = 1.75,
    xlabel: str = "accuracy (%)",
    legend: Mapping[str, Any] | None = None,
    titles: Mapping[str, str] | None = None,
    above: float = 0.22,
) -> tuple[Figure, list[Panel]]:
    """One block for each header -> rows; in it one panel for each value of `column`, named by `titles` or itself.

    `rows` are all that are drawn, for their labels.
    """
    lines, titles = [], titles or {}
    for header, own in blocks.items():
        names = [titles.get(value, value) for value in style.unique(own, column)]
        lines.append(style.Band(names, STEP * (len(style.unique(own, "variant")) + 0.3), header))
    left = style.label_width(style.unique(rows, "variant"))
    figure, grid = style.page(rows, text, lines, width, left, above=above, legend=legend)
    found = []
    for own, line in zip(blocks.values(), grid, strict=True):
        variants = style.unique(own, "variant")
        for value, axes in zip(style.unique(own, column), line, strict=True):
            axes.set_ylim(len(variants) - 0.35, -0.65)
            axes.set_yticks(range(len(variants)), variants if axes is line[0] else [])
            axes.grid(axis="y", color="0.94")
            axes.set_xlabel(xlabel)
            panel = [row for row in own if row[column] == value]
            found.append(Panel(axes, panel, {variant: y for y, variant in enumerate(variants)}))
    return figure, found


def by_setting(rows: style.Rows) -> dict[str, style.Rows]:
    """Header -> rows of each backbone and regime."""
    return {name_of(setting): style.where(rows, setting) for setting in style.settings(rows)}


def limits(rows: style.Rows, keys: Sequence[str]) -> tuple[float, float]:
    """The range of some columns in per cent, with room at both ends."""
    return style.limits([100 * float(row[key]) for row in rows for key in keys if row[key]], 0.06)
