from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dp.report.figures import by_variant, style
from dp.report.findings import Findings
from dp.results.labels import name_of

ABOUT = "What the best of many looks at the same rows adds: best, last and chosen evaluation of a training."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "rows", "evaluations", "seeds", "best", "last", "chosen",
           "best_minus_last", "best_minus_chosen", "low", "high", "labels", "runs")  # fmt: skip
# Shape, fill and lightness tell them apart; the later ones lie on top.
LOOKS: dict[str, dict[str, Any]] = {
    "best": {"marker": "^", "color": style.COLOURS[2], "markersize": 6, "markeredgecolor": "black", "mew": 0.6},
    "last": {"marker": "s", "color": "black", "markerfacecolor": "white", "markersize": 4.5},
    "chosen": {"marker": "o", "color": style.COLOURS[1], "markersize": 4},
}  # fmt: skip


def data(found: Findings) -> list[dict[str, Any]]:
    return found.optimism


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No training of this scale looked at its rows more than once.")
    rows, without = style.numbers(rows)
    if not rows:
        return style.only_words(f"No training of this scale ended with a number.{style.without_number(without)}")
    rows, left_out = style.fewer(rows)
    blocks = {
        f"{name_of(setting)}: evaluations of the {looked} rows": style.of(style.where(rows, setting), rows=looked)
        for setting in style.settings(rows)
        for looked in style.unique(style.where(rows, setting), "rows")
    }
    legend = {
        "best of all evaluations": Line2D([], [], linestyle="none", **LOOKS["best"]),
        "last evaluation": Line2D([], [], linestyle="none", **LOOKS["last"]),
        "the step that held-out rows chose, on the reported rows": Line2D([], [], linestyle="none", **LOOKS["chosen"]),
    }
    text = (
        "Means over runs. The best and the last are of the evaluations during training, of the rows named above a "
        "block; the line between them is what taking the best adds. The circle is what an honest report would say: the "
        "step that held-out rows chose, on the reported rows. A difference from it is partly one of rows where a block "
        "is of the selection rows. The horizontal axis differs from task to task; intervals of the differences stand "
        f"in the CSV.{left_out}{style.without_number(without)}"
    )
    figure, panels = by_variant.panels(rows, text, blocks, "task", legend=legend)
    for axes, points, place in panels:
        for row in points:
            y = place[row["variant"]]
            best, last = 100 * float(row["best"]), 100 * float(row["last"])
            axes.plot([last, best], [y, y], color="0.5", linewidth=1.2, solid_capstyle="butt")
            for name, look in LOOKS.items():
                if row[name]:
                    axes.plot(100 * float(row[name]), y, linestyle="none", **look)
        axes.set_xlim(by_variant.limits(style.of(rows, task=points[0]["task"]), tuple(LOOKS)))
    return figure
