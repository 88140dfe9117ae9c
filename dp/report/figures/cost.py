from operator import itemgetter
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dp.report.figures import style
from dp.report.findings import Findings
from dp.results.groups import grouped
from dp.results.labels import name_of, together
from dp.study.study import Study

ABOUT = "What accuracy costs: trainable parameters and seconds of training of every variant."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "tasks", "chooses", "mean", "trainable", "seconds", "majority",
           "seeds", "labels", "runs")  # fmt: skip
SETTING = itemgetter("backbone", "regime", "k")
BETWEEN_LABELS = 0.115
"""Inches."""
LOOKS: dict[str, dict[str, Any]] = {
    "baseline": {"marker": "s", "color": "black", "markerfacecolor": "white"},
    "nothing": {"marker": "o", "color": "black"},
    "per task": {"marker": "^", "color": style.COLOURS[2], "markeredgecolor": "black", "markeredgewidth": 0.5},
    "per instance": {"marker": "D", "color": style.COLOURS[1]},
}
WORDS = {
    "baseline": "baseline",
    "nothing": "prompt that chooses nothing",
    "per task": "prompt that chooses per task",
    "per instance": "prompt that chooses per instance",
}


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per trained variant: its means over the tasks of a backbone and regime where all variants were run on the
    same, and otherwise one per task. `chooses` is a key of LOOKS. Controls cost what they control, and are left out, as
    is what has no accuracy because it overflowed."""
    study = found.study
    measured = [row for row in found.results if row["metric"] == "accuracy" and row["mean"] is not None]
    trained = [row for row in measured if row["trainable"] and not study.is_control(row["variant"])]
    rows, settings = [], grouped(trained, SETTING)
    for of_setting in settings.values():
        variants = grouped(of_setting, itemgetter("variant")).values()
        same = len({tuple(row["task"] for row in own) for own in variants}) == 1
        for own in variants:
            rows += [_mean(study, own)] if same else [_mean(study, [row]) for row in own]
    tasks, order = list(dict.fromkeys(row["task"] for row in rows)), list(settings)
    return sorted(rows, key=lambda row: (order.index(SETTING(row)), tasks.index(row["task"])))


def _mean(study: Study, rows: list[dict[str, Any]]) -> dict[str, Any]:
    first, tasks = rows[0], [row["task"] for row in rows]
    numbers = {key: fmean(row[key] for row in rows) for key in ("mean", "trainable", "seconds", "majority")}
    return {
        **{key: first[key] for key in ("backbone", "regime", "k", "variant")},
        **numbers,
        "task": tasks[0] if len(tasks) == 1 else f"mean of {len(tasks)} tasks",
        "tasks": ";".join(tasks),
        "chooses": _chooses(study, first["variant"]),
        "seeds": max(row["seeds"] for row in rows),
        "labels": together(rows),
        "runs": ";".join(row["runs"] for row in rows),
    }


def _chooses(study: Study, variant: str) -> str:
    definition = study.definition(variant)
    if not definition.is_prompt:
        return "baseline"
    kinds = definition.choices.values()
    return "per instance" if "instance" in kinds else "per task" if "task" in kinds else "nothing"


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale is trained.")
    rows, left_out = style.fewer(rows)
    panels = [
        (setting, task, style.where(rows, setting, task=task))
        for setting in style.settings(rows)
        for task in style.unique(style.where(rows, setting), "task")
    ]
    lines, last = [], None
    for setting, task, own in panels:
        height = max(1.2, BETWEEN_LABELS * (len(own) + 1))
        lines.append(style.Band([task, ""], height, name_of(setting) if setting != last else ""))
        last = setting
    present = [look for look in LOOKS if look in style.unique(rows, "chooses")]
    legend = {WORDS[look]: Line2D([], [], linestyle="none", markersize=4.5, **LOOKS[look]) for look in present}
    text = (
        "Mean accuracy over runs, and over tasks where all variants were run on the same ones, against trainable "
        "parameters (left) and the seconds of one run in training steps (right), both on log axes. Seconds hold for "
        "the machines of the records; jobs that ran side by side slow one another. Names stand beside the panel in the "
        f"order of their accuracy. Dashed, where it is near: the majority rate.{left_out}"
    )
    room = style.label_width(style.unique(rows, "variant")) + 0.45
    figure, grid = style.page(rows, text, lines, 2.7, 0.65, room, between=room + 0.45, legend=legend)
    for (_, _, own), (left, right) in zip(panels, grid, strict=True):
        _panel(left, own, "trainable", "trainable parameters")
        _panel(right, own, "seconds", "seconds in training steps")
    return figure


def _panel(axes: Axes, rows: style.Rows, key: str, xlabel: str) -> None:
    points = [(max(float(row[key]), 1e-3), 100 * float(row["mean"]), row) for row in rows]
    low, high = style.limits((y for _, y, _ in points), 0.08)
    axes.set_xscale("log")
    least, most = min(x for x, _, _ in points), max(x for x, _, _ in points)
    beside = (most / least) ** 0.08 if most > least else 1.2
    axes.set_xlim(least / beside, most * beside)
    style.log_ticks(axes)
    axes.locator_params(axis="y", nbins=6)
    axes.set_ylim(low, high)
    style.majority(axes, rows)
    height = axes.get_position().height * axes.figure.get_figheight()  # type: ignore[union-attr]
    step = BETWEEN_LABELS / height
    shown = sorted(points, key=lambda point: point[1])
    places = spread([(y - low) / (high - low) for _, y, _ in shown], step)
    for (x, y, row), place in zip(shown, places, strict=True):
        axes.annotate(row["variant"], (x, y), xytext=(1.09, place), textcoords="axes fraction", va="center",
                      fontsize=6.5, annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": "0.75", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2,
                                  "relpos": (0, 0.5)})  # fmt: skip
        axes.plot(x, y, linestyle="none", markersize=4.5, zorder=3, **LOOKS[row["chooses"]])
    axes.set_xlabel(xlabel, labelpad=2)
    axes.set_ylabel("accuracy (%)")


def spread(places: list[float], step: float) -> list[float]:
    """Places in ascending order, moved as little as needed to be a step apart and, if they fit, within 0..1."""
    groups: list[tuple[float, int]] = []  # centre, members
    for place in places:
        centre, members = _within(place, 1, step), 1
        while groups and centre - groups[-1][0] < step * (members + groups[-1][1]) / 2:
            before, count = groups.pop()
            centre = (before * count + centre * members) / (count + members)
            members += count
            centre = _within(centre, members, step)
        groups.append((centre, members))
    return [centre + step * (n - (members - 1) / 2) for centre, members in groups for n in range(members)]


def _within(centre: float, members: int, step: float) -> float:
    half = step * (members - 1) / 2
    return min(max(centre, half), 1 - half) if 2 * half <= 1 else 0.5
