from typing import Any

from matplotlib.figure import Figure

from dp.report.figures import by_variant, style
from dp.report.findings import Findings

ABOUT = "Accuracy of every variant with its interval, one panel per task, against the majority rate."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "mean", "low", "high", "interval", "majority", "collapsed",
           "labels", "runs")  # fmt: skip


def data(found: Findings) -> list[dict[str, Any]]:
    return [row for row in found.results if row["metric"] == "accuracy"]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No task of this scale reports accuracy.")
    rows, left_out = style.fewer(rows)
    text = (
        "Points are means, bars 95 % intervals. A hollow point: at least one of its runs collapsed. The horizontal "
        f"axis differs from task to task.{left_out}"
    )
    figure, panels = by_variant.panels(rows, text, by_variant.by_setting(rows), "task", above=0.34)
    for axes, points, place in panels:
        axes.set_xlim(by_variant.limits(style.of(rows, task=points[0]["task"]), ("mean", "low", "high", "majority")))
        valued, without = style.numbers(points)
        for row in without:
            style.say_overflow(axes, sum(axes.get_xlim()) / 2, place[row["variant"]])
        for row in valued:
            mean, low, high = (100 * float(row[key]) for key in ("mean", "low", "high"))
            y, fill = place[row["variant"]], style.ACCENT if row["collapsed"].startswith("0/") else "white"
            axes.plot([low, high], [y, y], color=style.ACCENT, linewidth=1.2, solid_capstyle="butt")
            axes.plot(mean, y, "o", color=style.ACCENT, markerfacecolor=fill, markersize=4.5)
        for rate in sorted({100 * float(row["majority"]) for row in points}):
            axes.axvline(rate, color=style.INK, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
            axes.annotate(f"majority {rate:.1f}", (rate, 1), xycoords=("data", "axes fraction"), xytext=(0, 1.5),
                          textcoords="offset points", ha="center", fontsize=6.5, color=style.INK)  # fmt: skip
        axes.set_title(axes.get_title(), pad=12, fontsize=8)
    return figure
