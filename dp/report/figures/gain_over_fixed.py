from math import hypot
from operator import itemgetter
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dp import paths
from dp.data.regime import Regime
from dp.jobs import record
from dp.report.figures import by_variant, style
from dp.report.findings import Findings
from dp.results.groups import grouped
from dp.results.labels import together

ABOUT = "What each variant gains over `fixed`, averaged over tasks, from the smallest backbone to the largest."
COLUMNS = ("backbone", "parameters", "regime", "k", "task", "variant", "against", "gain", "low", "high", "paper",
           "labels", "runs")  # fmt: skip
AGAINST, AVERAGE = "fixed", "average"
MOST = 5
"""Regimes."""
TASK: dict[str, Any] = {"marker": "|", "color": "0.5", "markersize": 5, "markeredgewidth": 0.9}
OURS: dict[str, Any] = {"marker": "o", "color": style.ACCENT, "markersize": 4.5}
PAPER: dict[str, Any] = {"marker": "D", "color": "black", "markerfacecolor": "white", "markersize": 4.5}


def data(found: Findings) -> list[dict[str, Any]]:
    """Rows of comparisons.csv against `fixed`, backbones by size, and behind those of a variant their average.

    `paper`: what the paper's tables say of that average (regime full). The interval of an average joins the tasks' own
    ones as independent (square-and-add, Zou and Donner 2008): each side is the root of their summed squares over their
    number. The tasks of a union share their runs, so there each side is the mean of theirs.
    """
    params = found.study.params
    sizes = {params.model_of(name): _parameters(name) for name in found.study.scale.backbones}
    claimed = {(row["backbone"], row["variant"]): float(row["value"]) / 100
               for row in found.claims if row["kind"] == "gain" and row["value"]}  # fmt: skip
    against = (row for row in found.comparisons if row["against"] == AGAINST)
    cells = grouped(against, itemgetter("backbone", "regime", "k", "variant"))
    rows: list[dict[str, Any]] = []
    for (backbone, regime, k, variant), own in cells.items():
        about = {"backbone": backbone, "parameters": sizes[backbone], "regime": regime, "k": k, "variant": variant,
                 "against": AGAINST}  # fmt: skip
        rows += [
            about | {key: row[key] for key in ("task", "low", "high", "labels", "runs")} | {"gain": row["difference"]}
            for row in own
        ]
        if any(row["difference"] is None for row in own):  # a run overflowed, so there is no average either
            numbers: tuple[float | None, ...] = (None, None, None)
        else:
            seeds = [name for name in found.study.scale.backbones if found.study.params.model_of(name) == backbone]
            shared = Regime.parse(regime).is_union or len(seeds) > 1
            numbers = average([(row["difference"], row["low"], row["high"]) for row in own], dependent=shared)
        gain, low, high = numbers
        rows.append(about | {"task": AVERAGE, "gain": gain, "low": low, "high": high, "labels": together(own),
                             "paper": claimed.get((backbone, variant)) if regime == "full" else None,
                             "runs": ";".join(row["runs"] for row in own)})  # fmt: skip
    return sorted(rows, key=lambda row: row["parameters"] or float("inf"))


def average(
    parts: list[tuple[float, float | None, float | None]], dependent: bool
) -> tuple[float, float | None, float | None]:
    """Mean of (difference, low, high) over tasks and its interval, which is None where a task has none."""
    gain = fmean(difference for difference, _, _ in parts)
    down = [difference - low for difference, low, _ in parts if low is not None]
    up = [high - difference for difference, _, high in parts if high is not None]
    if len(down) < len(parts) or len(up) < len(parts):
        return gain, None, None
    joined = fmean if dependent else lambda sides: hypot(*sides) / len(parts)
    return gain, gain - joined(down), gain + joined(up)


def _parameters(backbone: str) -> int | None:
    return record.read(paths.backbone(backbone))["made"].get("parameters")


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No backbone of this scale has runs of fixed and of another variant on the same task.")
    rows, without = style.numbers(rows)
    if not rows:
        return style.only_words(f"No gain over fixed has a number.{style.without_number(without)}")
    regimes = list(dict.fromkeys((row["regime"], row["k"]) for row in rows))
    regimes.sort(key=lambda regime: (regime[0] == "fewshot", -int(regime[1] or 0)))
    blocks = {_name(regime): style.of(rows, regime=regime[0], k=regime[1]) for regime in regimes[:MOST]}
    out = ", ".join(_name(regime) for regime in regimes[MOST:])
    drawn = [row for own in blocks.values() for row in own]
    titles = {row["backbone"]: f"{row['backbone']} {_size(row['parameters'])}".strip() for row in rows}
    legend = {
        "one task": Line2D([], [], linestyle="none", **TASK),
        "average over tasks": Line2D([], [], linewidth=1.2, **OURS),
    }
    if any(row["paper"] for row in drawn):
        legend["the paper's average"] = Line2D([], [], linestyle="none", **PAPER)
    text = (
        "Difference of mean accuracies in points; bars are 95 % intervals of the average. It is taken over the tasks "
        "that a variant was run on, so only variants of the same tasks can be compared. Backbones stand in the order "
        "of their parameters." + (f" Not drawn, but in the CSV: {out}." if out else "") + style.without_number(without)
    )
    figure, panels = by_variant.panels(
        drawn, text, blocks, "backbone", 2.0, "gain over fixed (points)", legend, titles=titles
    )
    for axes, points, place in panels:
        axes.axvline(0, color=style.INK, linewidth=0.9, zorder=1)
        for row in points:
            y, gain = place[row["variant"]], 100 * float(row["gain"])
            if row["task"] != AVERAGE:
                axes.plot(gain, y, linestyle="none", **TASK)
                continue
            if row["low"]:
                axes.plot([100 * float(row["low"]), 100 * float(row["high"])], [y, y], color=OURS["color"],
                          linewidth=1.2, solid_capstyle="butt")  # fmt: skip
            axes.plot(gain, y, linestyle="none", **OURS)
            if row["paper"]:
                axes.plot(100 * float(row["paper"]), y, linestyle="none", zorder=4, **PAPER)
        axes.set_xlim(by_variant.limits(drawn, ("gain", "paper")))
        same = [row for row in drawn if row["task"] == AVERAGE]
        low, high = by_variant.limits(same, ("low", "high", "gain", "paper"))
        axes.set_xlim(min(low, axes.get_xlim()[0]), max(high, axes.get_xlim()[1]))
    return figure


def _name(regime: tuple[str, str]) -> str:
    return regime[0] + (f", {regime[1]} per label" if regime[1] else "")


def _size(parameters: str) -> str:
    return f"({style.short(int(parameters))})" if parameters else ""
