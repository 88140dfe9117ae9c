from math import log2
from typing import Any

from matplotlib.figure import Figure

from dp.report.figures import bundles, style
from dp.report.findings import Findings

ABOUT = "Accuracy against the examples per label, one line per variant, beside what the full train split gives."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "mean", "low", "high", "interval", "seeds", "majority",
           "labels", "runs")  # fmt: skip


def data(found: Findings) -> list[dict[str, Any]]:
    """Few-shot rows of results.csv, and those of regime full of the same backbone, task and variant."""
    accuracy = [
        row for row in found.results if row["metric"] == "accuracy" and not found.study.is_majority(row["variant"])
    ]
    few = {(row["backbone"], row["task"], row["variant"]) for row in accuracy if row["regime"] == "fewshot"}
    return [
        row
        for row in accuracy
        if row["regime"] in ("fewshot", "full") and (row["backbone"], row["task"], row["variant"]) in few
    ]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("This scale trains on no few-shot sample.")
    every, (rows, without) = rows, style.numbers(rows)
    if not rows:
        return style.only_words(f"No few-shot number of this scale can be drawn.{style.without_number(without)}")
    # One block per backbone: both regimes stand in its panels.
    parts = list(bundles.parts([row | {"regime": "", "k": ""} for row in rows]))
    lines = [style.Band(part.tasks, 1.35, part.header.rstrip(", ")) for part in parts]
    text = (
        "Points are means, bars 95 % intervals, moved aside a little where they would hide one another. At the right: "
        "the full train split, with a thin line of its height across the panel. Dashed: the majority rate. Grey: "
        "fixed. A backbone with many variants takes several lines; the vertical axis of a task is the same in all of "
        f"them.{style.without_number(without)}"
    )
    right = style.label_width(style.unique(rows, "variant")) + 0.55
    figure, grid = style.page(every, text, lines, 1.9, 0.6, right, between=0.4)
    shots = sorted({int(row["k"]) for row in rows if row["k"]})
    full = log2(shots[-1]) + 1
    for part, line in zip(parts, grid, strict=True):
        own = style.of(rows, backbone=part.setting[0])
        looks: dict[str, dict[str, Any]] = {}
        if bundles.REFERENCE in style.unique(own, "variant"):
            looks[bundles.REFERENCE] = style.REFERENCE | {"marker": "s", "markersize": 5}
        looks |= {variant: style.marked(n) | {"linewidth": 1.1} for n, variant in enumerate(part.variants)}
        for task, axes in zip(part.tasks, line, strict=True):
            on_task = style.of(own, task=task)
            for n, (variant, look) in enumerate(looks.items()):
                aside = 0.07 * (n - (len(looks) - 1) / 2)
                points = sorted(style.of(on_task, variant=variant), key=lambda row: int(row["k"] or 10**9))
                x = [(log2(int(row["k"])) if row["k"] else full) + aside for row in points]
                mean, low, high = ([100 * float(row[key]) for row in points] for key in ("mean", "low", "high"))
                axes.vlines(x, low, high, color=look["color"], linewidth=0.9, zorder=look.get("zorder", 2))
                few = sum(bool(row["k"]) for row in points)
                axes.plot(x[:few], mean[:few], **look)
                axes.plot(x[few:], mean[few:], **look)
                for level in mean[few:]:
                    axes.axhline(level, color=look["color"], linewidth=0.6, linestyle=look.get("linestyle", "-"),
                                 alpha=0.4, zorder=1)  # fmt: skip
            style.majority(axes, on_task)
            values = [100 * float(row[key]) for row in on_task for key in ("low", "high", "majority")]
            axes.set_ylim(style.limits(values, 0.05))
            has_full = any(not row["k"] for row in rows)
            axes.set_xlim(log2(shots[0]) - 0.4, (full if has_full else full - 1) + 0.4)
            ticks = {log2(k): str(k) for k in shots} | ({full: "full"} if has_full else {})
            axes.set_xticks(list(ticks), list(ticks.values()))
            axes.set_xlabel("examples per label", labelpad=2)
        line[0].set_ylabel("accuracy (%)")
        bundles.named(line[-1], looks)
    return figure
