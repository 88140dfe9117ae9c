from operator import itemgetter
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure

from dp.report.figures import style
from dp.report.findings import Findings
from dp.results.groups import grouped
from dp.results.labels import name_of
from dp.statistics.intervals import Floats

ABOUT = "What was chosen for each question (or task) by the variants that are predicted to tell them apart."
COLUMNS = ("backbone", "regime", "k", "task", "factor", "variant", "runs", "group", "value", "share", "labels")
ACROSS = 4


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per group and candidate: means over runs. Prompts of two runs' pools have nothing in common but a number,
    so those of each run are put in the order of the groups that they serve.
    """
    rows = []
    for one in found.separations:
        if one.about["planted"] == "no":
            continue
        told = [_in_order(shares) for shares in one.shares] if one.about["factor"] == "pool" else one.shares
        rows += [
            one.about | {"runs": f"{len(one.runs)} runs", "group": group, "value": value, "share": float(share)}
            for group in told[0]
            for value, share in enumerate(np.mean([shares[group] for shares in told], axis=0))
        ]
    return rows


def _in_order(shares: dict[str, Floats]) -> dict[str, Floats]:
    """The prompts of a pool by the group that gives each the most weight; those of one group, the heaviest first."""
    table = np.array(list(shares.values()))  # [groups, prompts]
    order = np.lexsort((-table.max(axis=0), table.argmax(axis=0)))
    return {group: vector[order] for group, vector in shares.items()}


def draw(rows: style.Rows) -> Figure:
    lines = [line for entry in _split(rows, "backbone", "regime", "k", "task", "factor") for line in _wrapped(entry)]
    heights = [0.22 * len(style.unique(line[0], "group")) + 0.9 for line in lines]
    figure = Figure(figsize=(2.3 * ACROSS + 2.6, sum(heights) + 0.9), layout="constrained")
    grid = figure.subplots(len(lines), ACROSS, squeeze=False, height_ratios=heights)
    for line, row in zip(lines, grid, strict=True):
        for axes in row[len(line) :]:
            axes.set_visible(False)
        for axes, panel in zip(row, line, strict=False):
            groups, first = style.unique(panel, "group"), panel[0]
            shares = np.array([[float(r["share"]) for r in panel if r["group"] == group] for group in groups])
            percent = np.vectorize(lambda share: f"{100 * share:.0f}" if share >= 0.05 else "")(shares)
            seaborn.heatmap(shares, ax=axes, cmap="Greys", vmin=0, vmax=1, cbar=False, linewidths=0.4, linecolor="0.8",
                            annot=percent, fmt="", annot_kws={"fontsize": 6}, xticklabels=1 + shares.shape[1] // 12,
                            yticklabels=groups if panel is line[0] else False, clip_on=False)  # fmt: skip
            axes.tick_params(rotation=0)
            axes.set_title(f"{first['variant']}\n{first['runs']}", fontsize=8)
            axes.set_xlabel({"split": "split s (vectors in front)", "pool": "prompt of the pool, in order"}.get(
                first["factor"], first["factor"]))  # fmt: skip
        about = line[0][0]
        where = name_of((about["backbone"], about["regime"], about["k"])).replace(", ", "\n", 1)
        task = [about["task"]] if about["group"] not in about["task"] else []  # tasks that are groups stand there
        row[0].set_ylabel("\n".join([where, *task, about["factor"]]), rotation=0, ha="right", va="center", labelpad=10)
    text = (
        "Per cent of the rows of a question (or task) for which each candidate was chosen, or the mean weight of each "
        "prompt of a pool; below 5 is not written. Where the factor tells two questions apart, their rows differ.\n"
        "The prompts of each run's pool are in the order of the groups that give them the most weight, then averaged."
    )
    style.caption(figure, rows, text)
    return figure


def _split(rows: style.Rows, *keys: str) -> list[style.Rows]:
    """Rows that share the values of the keys, in their order."""
    return list(grouped(rows, itemgetter(*keys)).values())


def _wrapped(entry: style.Rows) -> list[list[style.Rows]]:
    """The panels of one entry, one for each variant and runs, in lines of at most ACROSS."""
    panels = _split(entry, "variant", "runs")
    return [panels[start : start + ACROSS] for start in range(0, len(panels), ACROSS)]
