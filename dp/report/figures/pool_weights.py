from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dp.data.regime import Regime
from dp.report.figures import style
from dp.report.findings import Findings
from dp.results.labels import name_of

ABOUT = "Which prompts of its pool a variant uses: their mean weights over the reported examples, run by run."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "run", "prompt", "weight", "examples", "labels", "runs")
STEP = 0.125
"""Inches of one run."""
APART = 1.35
"""Steps from the last run of a variant to the first of the next."""
WRITTEN = 1000
"""Weights; more of them are drawn without their numbers."""
BESIDE: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right",
                          "va": "center"}  # fmt: skip


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per run and prompt, of trained variants: a control weighs the prompts of the runs that it controls."""
    return [
        row | {"run": row["factor"].removeprefix("pool of "), "prompt": row["value"], "weight": row["share"]}
        for row in found.choices
        if row["factor"].startswith("pool of ") and not found.study.is_control(row["variant"])
    ]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale has a pool of prompts.")
    rows, left_out = style.fewer(rows)
    blocks = {setting: _places(style.where(rows, setting)) for setting in style.settings(rows)}
    lines = [
        style.Band(style.unique(style.where(rows, setting), "task"), STEP * (max(ys.values()) + 1.4), name_of(setting))
        for setting, ys in blocks.items()
    ]
    prompts = max(int(row["prompt"]) for row in rows) + 1
    written = len(rows) <= WRITTEN
    text = (
        f"Mean weight (0 white, 1 black{'; per cent from 10 on' if written else ''}) of each prompt of the pool over "
        "the reported examples, one line per run. Prompts of two runs have nothing in common but their number; those "
        f"of a run of one prompt for several tasks are the same in all its tasks.{left_out}"
    )
    wide = max(style.text_width(_short(run), 5.5) for run in style.unique(rows, "run")) + 0.1
    left = style.label_width(style.unique(rows, "variant")) + wide
    figure, grid = style.page(rows, text, lines, max(1.5, 0.25 * prompts), left)
    for (setting, places), line in zip(blocks.items(), grid, strict=True):
        own = style.where(rows, setting)
        for task, axes in zip(style.unique(own, "task"), line, strict=True):
            on_task = style.of(own, task=task)
            for variant in style.unique(on_task, "variant"):
                weighed = style.of(on_task, variant=variant)
                ys = [places[variant, run] for run in style.unique(weighed, "run")]
                weights = np.full((len(ys), prompts), np.nan)
                for row in weighed:
                    weights[round(places[variant, row["run"]] - ys[0]), int(row["prompt"])] = float(row["weight"])
                edges = np.append(ys, ys[-1] + 1) - 0.5
                axes.pcolormesh(np.arange(prompts + 1), edges, weights, cmap="Greys", vmin=0, vmax=1, edgecolors="0.8",
                                linewidth=0.4)  # fmt: skip
                for n, x in np.argwhere(weights >= 0.1) if written else []:
                    color = "white" if weights[n, x] > 0.5 else "black"
                    words = f"{100 * weights[n, x]:.0f}"
                    axes.text(x + 0.5, ys[n] + 0.05, words, color=color, ha="center", va="center", fontsize=5.5)
            axes.set_ylim(max(places.values()) + 0.7, -0.7)
            axes.set_xlim(0, prompts)
            axes.set_xticks([n + 0.5 for n in range(prompts)], [str(n) for n in range(prompts)])
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.set_xlabel("prompt of the pool")
        for (_, run), y in places.items():
            line[0].annotate(_short(run), (0, y), xytext=(-4, 0), fontsize=5.5, color="0.4", **BESIDE)
        for variant in style.unique(own, "variant"):
            middle = fmean(y for (name, _), y in places.items() if name == variant)
            line[0].annotate(variant, (0, middle), xytext=(-72 * wide - 2, 0), fontsize=7, **BESIDE)
    return figure


def _places(rows: style.Rows) -> dict[tuple[str, str], float]:
    """(variant, run) -> y, a little apart from one variant to the next."""
    places: dict[tuple[str, str], float] = {}
    y, last = -APART, ""
    for variant in style.unique(rows, "variant"):
        for run in style.unique(style.of(rows, variant=variant), "run"):
            y += 1.0 if variant == last else APART
            places[variant, run], last = y, variant
    return places


def _short(run: str) -> str:
    """`seed0`, behind its backbone where a row has several; few-shot samples, whose k stands above, as `s0, seed0`."""
    parts = run.split(", ")
    return ", ".join(f"s{Regime.parse(part).sample}" if part.startswith("fewshot-") else part for part in parts)
