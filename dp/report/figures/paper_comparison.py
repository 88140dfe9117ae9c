from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dp.report.figures import by_variant, style
from dp.report.findings import Findings

ABOUT = "The accuracies of the paper's tables, and beside each what our runs say, with the verdict."
COLUMNS = ("claim", "table", "kind", "backbone", "variant", "task", "regime", "k", "protocol", "value", "ours", "low",
           "high", "seeds", "verdict", "paper_collapsed", "labels", "runs")  # fmt: skip
LOOKS: dict[str, dict[str, Any]] = {
    "reproduced": style.GOOD,
    "differs": style.BAD,
    "unclear": style.OPEN,
    "collapsed": {"color": "0.35", "marker": "v", "markersize": 5, "markerfacecolor": "white"},
    "not comparable": {"color": "0.55", "marker": "+", "markersize": 6, "markeredgewidth": 1.2},
}
PAPER: dict[str, Any] = {"color": "black", "marker": "|", "markersize": 8, "markeredgewidth": 1.8}
RING: dict[str, Any] = {"color": "black", "marker": "o", "markersize": 8, "markerfacecolor": "none", "mew": 0.8}


def data(found: Findings) -> list[dict[str, Any]]:
    """The cells and averages of claims.csv, in per cent."""
    return [row for row in found.claims if row["kind"] in ("cell", "average")]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("The project holds no number of the paper's tables.")
    with_ours = {row["backbone"] for row in rows if row["ours"] or style.is_overflow(row)}
    drawn = [row for row in rows if row["backbone"] in with_ours or not with_ours]
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in style.unique(rows, "verdict")}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    text = (
        "Accuracies, MultiRC per answer; ours are means over runs with 95 % intervals. A ring: the paper's number, or "
        "a cell of its average, sits at the majority rate. A, B and C are the paper's tables of position, length and "
        f"content. The horizontal axis differs from task to task. Of {len(rows)} numbers of the paper: {summary}."
    )
    if not with_ours:
        text = f"No run of this scale stands against a number of the paper, so the paper's stand alone. {text}"
    blocks = {
        f"{backbone}{'' if with_ours else ': the paper alone'}": [
            row | {"variant": f"{row['variant']} ({row['table'][0]})"} for row in style.of(drawn, backbone=backbone)
        ]
        for backbone in style.unique(drawn, "backbone")
    }
    legend: dict[str, Any] = {"the paper": Line2D([], [], linestyle="none", **PAPER)}
    if any(_is_collapsed(row) for row in drawn):
        ring = Line2D([], [], linestyle="none", **RING)
        legend["the paper, at the majority rate"] = (Line2D([], [], linestyle="none", **PAPER), ring)
    for verdict, look in LOOKS.items():
        if any(row["verdict"] == verdict and row["ours"] for row in drawn):
            legend[f"ours: {verdict}"] = Line2D([], [], linewidth=1.2, **look)
    named = [row for own in blocks.values() for row in own]
    figure, panels = by_variant.panels(named, text, blocks, "task", 1.75, legend=legend)
    for axes, points, place in panels:
        for row in points:
            y, value = place[row["variant"]], float(row["value"])
            if row["ours"]:
                look, ours = LOOKS[row["verdict"]], float(row["ours"])
                axes.plot([value, ours], [y, y], color="0.75", linewidth=0.8, linestyle=(0, (1, 1)), zorder=1)
                if row["low"]:
                    axes.plot([float(row["low"]), float(row["high"])], [y, y], color=look["color"], linewidth=1.2,
                              solid_capstyle="butt")  # fmt: skip
                axes.plot(ours, y, linestyle="none", zorder=3, **look)
            elif style.is_overflow(row):
                axes.annotate(style.OVERFLOW, (value, y), xytext=(6, 0), textcoords="offset points", va="center",
                              fontsize=6.5, style="italic", annotation_clip=False)  # fmt: skip
            axes.plot(value, y, linestyle="none", **PAPER)
            if _is_collapsed(row):
                axes.plot(value, y, linestyle="none", **RING)
        column = style.of(drawn, task=points[0]["task"])
        values = [float(row[key]) for row in column for key in ("value", "ours", "low", "high") if row[key]]
        axes.set_xlim(style.limits(values, 0.08))
    return figure


def _is_collapsed(row: dict[str, str]) -> bool:
    return row["paper_collapsed"] == "yes"
