from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dp.report.figures import style
from dp.report.findings import Findings
from dp.results.labels import name_of

ABOUT = "Predicted range and measured mean of every variant, one panel per regime and task."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "predicted_low", "predicted_high", "mean", "low", "high",
           "seeds", "verdict", "labels", "runs")  # fmt: skip
BAND = "0.82"
LOOKS = {"holds": style.GOOD | {"markersize": 4}, "fails": style.BAD, "unclear": style.OPEN}


def data(found: Findings) -> list[dict[str, Any]]:
    return found.predictions


def draw(rows: style.Rows) -> Figure:
    lines = {setting: style.where(rows, setting) for setting in style.settings(rows)}
    variants = {setting: style.unique(own, "variant") for setting, own in lines.items()}
    across = max(len(style.unique(own, "task")) for own in lines.values())
    heights = [0.17 * len(names) + 0.55 for names in variants.values()]
    figure = Figure(figsize=(max(2.0 * across + 2.2, 7.0), sum(heights) + 1.4), layout="constrained")
    grid = figure.subplots(len(lines), across, squeeze=False, sharex=True, sharey="row", height_ratios=heights)
    for (setting, own), panels in zip(lines.items(), grid, strict=True):
        tasks, names = style.unique(own, "task"), variants[setting]
        for axes in panels[len(tasks) :]:
            axes.set_visible(False)
        for task, axes in zip(tasks, panels, strict=False):
            for row in style.where(own, setting, task=task):
                y = names.index(row["variant"])
                bottom, top = (100 * float(row[key]) for key in ("predicted_low", "predicted_high"))
                axes.barh(y, top - bottom, 0.8, left=bottom, color=BAND, edgecolor="0.45", linewidth=0.5)
                if style.is_overflow(row):
                    style.say_overflow(axes, 50, y)
                    continue
                mean, low, high = (100 * float(row[key]) for key in ("mean", "low", "high"))
                look = LOOKS[row["verdict"]]
                axes.plot([low, high], [y, y], color=look["color"], linewidth=1.2, solid_capstyle="butt")
                axes.plot(mean, y, linestyle="none", clip_on=False, **look)
            axes.set_title(task)
            axes.grid(axis="y", visible=False)
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("accuracy (%)")
            axes.set_xticks([0, 50, 100])
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        panels[0].set_xlim(-2, 102)
        panels[0].set_ylabel(name_of(setting).replace(", ", "\n", 1), rotation=0, ha="right", va="center")
    band = Patch(facecolor=BAND, edgecolor="0.45", linewidth=0.5)
    drawn = [band, *[Line2D([], [], linewidth=1.2, **look) for look in LOOKS.values()]]
    figure.legend(drawn, ["predicted range", *LOOKS], loc="outside upper center", ncols=4)
    text = (
        "Marks are means over seeds, lines 95 % intervals. A prediction holds where the whole interval lies inside the "
        "range, fails where it lies wholly outside, and is unclear otherwise."
    )
    style.caption(figure, rows, text)
    return figure
