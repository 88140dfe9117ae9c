from operator import itemgetter
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure

from dp.report.figures import style
from dp.report.findings import Findings
from dp.results.groups import grouped
from dp.results.labels import name_of

ABOUT = "What was chosen for each question (or task) by the variants that are predicted to tell them apart."
COLUMNS = ("backbone", "regime", "k", "task", "factor", "variant", "runs", "group", "value", "share", "labels")
ACROSS = 4


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per group and candidate; split, length: means over runs. Prompts of two runs' pools have nothing in
    common but a number, so a pool is told by run (`runs` is its seed)."""
    rows = []
    for one in found.separations:
        if one.about["planted"] == "no":
            continue
        told = {run.draw: shares for run, shares in zip(one.runs, one.shares, strict=True)}
        if one.about["factor"] != "pool":
            mean = {group: np.mean([shares[group] for shares in one.shares], axis=0) for group in one.shares[0]}
            told = {f"{len(one.runs)} runs": mean}
        rows += [
            one.about | {"runs": name, "group": group, "value": value, "share": float(share)}
            for name, shares in told.items()
            for group, vector in shares.items()
            for value, share in enumerate(vector)
        ]
    return rows


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
            axes.set_xlabel({"split": "split s (vectors in front)", "pool": "prompt of the pool"}.get(
                first["factor"], first["factor"]))  # fmt: skip
        about = line[0][0]
        where = name_of((about["backbone"], about["regime"], about["k"])).replace(", ", "\n", 1)
        task = [about["task"]] if about["group"] not in about["task"] else []  # tasks that are groups stand there
        row[0].set_ylabel("\n".join([where, *task, about["factor"]]), rotation=0, ha="right", va="center", labelpad=10)
    text = (
        "Per cent of the rows of a question (or task) for which each candidate was chosen, or the mean weight of each "
        "prompt of a pool; below 5 is not written. Where the factor tells two questions apart, their rows differ."
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
