"""Accuracy of every variant with its interval, one panel per task, against the majority rate."""

from typing import Any

from matplotlib.figure import Figure

from dp.evaluation.findings import Findings
from dp.figures import style

COLUMNS = ("backbone", "regime", "k", "task", "variant", "mean", "low", "high", "interval", "majority", "collapsed",
           "labels", "runs")  # fmt: skip


def data(found: Findings) -> list[dict[str, Any]]:
    return [row for row in found.results if row["metric"] == "accuracy"]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No task of this scale reports accuracy.")
    variants, tasks, settings = style.unique(rows, "variant"), style.tasks(rows), style.settings(rows)
    figure, grid = style.panels(rows, 1, 2.1, 0.21 * len(variants) + 0.7, sharex="col", sharey=True)
    for setting, line in zip(settings, grid, strict=True):
        for task, axes in zip(tasks, line, strict=True):
            points = style.where(rows, setting, task=task)
            for row in points:
                mean, low, high = (100 * float(row[key]) for key in ("mean", "low", "high"))
                y = variants.index(row["variant"])
                fill = style.ACCENT if row["collapsed"].startswith("0/") else "white"
                axes.plot([low, high], [y, y], color=style.ACCENT, linewidth=1.2, solid_capstyle="butt")
                axes.plot(mean, y, "o", color=style.ACCENT, markerfacecolor=fill, markersize=4.5)
            for rate in sorted({100 * float(row["majority"]) for row in points}):
                axes.axvline(rate, color=style.INK, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
                axes.annotate(f"majority {rate:.1f}", (rate, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                              textcoords="offset points", ha="center", fontsize=6.5, color=style.INK)  # fmt: skip
            axes.grid(axis="y", visible=False)
            axes.margins(x=0.12)
    grid[0][0].set_yticks(range(len(variants)), variants)
    grid[0][0].set_ylim(len(variants) - 0.5, -0.5)
    for axes in grid[-1]:
        axes.set_xlabel("accuracy (%)")
    style.name_rows_and_columns(grid, tasks, [style.setting_name(setting) for setting in settings], pad=15)
    text = (
        "Points are means, bars 95 % intervals. A hollow point: at least one of its runs collapsed. The horizontal "
        "axis differs from task to task."
    )
    style.caption(figure, rows, text)
    return figure
