"""How often each candidate of a choice was taken: one small histogram per variant, stacked in a panel per task."""

from typing import Any

from matplotlib.figure import Figure

from dp.report.figures import style
from dp.report.findings import Findings
from dp.results.labels import name_of

STEP = 0.34
"""Inches of one histogram."""
FEW = 8
"""Candidates; of more, an equal share is too low to be drawn."""


def data(found: Findings, factor: str, choice: str) -> list[dict[str, Any]]:
    """The rows of choices.csv of variants that learn the choice themselves: no control, no frozen one."""
    learned = {name for name, variant in found.study.params.variants.items() if choice in variant.choices}
    return [row for row in found.choices if row["factor"] == factor and row["variant"] in learned]


def draw(rows: style.Rows, value: str, xlabel: str, meaning: str) -> Figure:
    """`value`: the column with the candidate; `meaning`: what the first and the last one are, for the caption."""
    rows, left_out = style.fewer(rows)
    last = max(int(row[value]) for row in rows)
    lines = []
    for setting in style.settings(rows):
        own = style.where(rows, setting)
        height = STEP * len(style.unique(own, "variant"))
        lines.append(style.Band(style.unique(own, "task"), height, name_of(setting)))
    equal = " Dotted: every candidate equally often." if last <= FEW else ""
    text = (
        f"Share of the reported examples, all runs together, for which each candidate was chosen; {meaning}. A bar "
        f"of 100 % nearly reaches the line above.{equal}{left_out}"
    )
    left = style.label_width(style.unique(rows, "variant"))
    figure, grid = style.page(rows, text, lines, 1.9, left)
    for setting, line in zip(style.settings(rows), grid, strict=True):
        own = style.where(rows, setting)
        variants = style.unique(own, "variant")
        for task, axes in zip(style.unique(own, "task"), line, strict=True):
            bars = style.of(own, task=task)
            floor = [len(variants) - 1 - variants.index(row["variant"]) for row in bars]
            heights = [0.92 * float(row["share"]) for row in bars]
            axes.bar([int(row[value]) for row in bars], heights, 0.85, bottom=floor, color=style.ACCENT, linewidth=0)
            drawn = dict.fromkeys(floor)
            if last <= FEW:
                axes.hlines([y + 0.92 / (last + 1) for y in drawn], -0.7, last + 0.7, color=style.INK, linewidth=0.6,
                            linestyle=(0, (1, 2)))  # fmt: skip
            axes.set_ylim(0, len(variants))
            axes.set_yticks(range(len(variants)))
            axes.set_yticklabels([])
            axes.grid(axis="y", color="0.8", linewidth=0.6)
            axes.grid(axis="x", visible=False)
            axes.set_xlim(-0.7, last + 0.7)
            axes.set_xticks(range(0, last + 1, 1 if last <= FEW else 5 if last <= 25 else 10))
            axes.set_xlabel(xlabel)
        for n, variant in enumerate(reversed(variants)):
            line[0].annotate(variant, (0, n + 0.5), xycoords=("axes fraction", "data"), xytext=(-5, 0), fontsize=7,
                             textcoords="offset points", ha="right", va="center")  # fmt: skip
    return figure
