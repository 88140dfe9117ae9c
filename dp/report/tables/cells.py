"""What several tables share: accuracies by cell, averages over tasks, and how a number is shown."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from dp.report.findings import Findings
from dp.report.layout import Shown
from dp.results.labels import spelled_out, together
from dp.results.table import OVERFLOW, Row
from dp.study.study import Study

Setting = tuple[str, str, int | None]
"""Backbone, regime and k, as in results.csv."""
AVERAGE = "average"
MEANS = (
    "Accuracy in percent: mean [95 % interval] over runs or, of several pre-trained backbones, over the means on each; "
    "over the reported examples where there is one or all agree."
)
COLLAPSED = (
    "c: collapsed, that is, at the majority class or of one class throughout; c 1/3: one of three runs. The majority "
    "class itself is not marked."
)


def accuracies(found: Findings) -> dict[Setting, dict[str, dict[str, Row]]]:
    """Setting -> variant -> task -> row of results.csv, in the order of the scale."""
    cells = by_setting(row for row in found.results if row["metric"] == "accuracy")
    order = found.study.scale.variants
    return {setting: {name: ran[name] for name in order if name in ran} for setting, ran in cells.items()}


def by_setting(rows: Iterable[Row]) -> dict[Setting, dict[str, dict[str, Row]]]:
    """Setting -> variant -> task -> row."""
    cells: dict[Setting, dict[str, dict[str, Row]]] = {}
    for row in rows:
        setting = row["backbone"], row["regime"], row["k"]
        cells.setdefault(setting, {}).setdefault(row["variant"], {})[row["task"]] = row
    return cells


def average(found: Findings, own: dict[str, Row], tasks: Sequence[str]) -> Row | None:
    """The mean over tasks of one variant's rows (by task), as a row; None where one of the tasks was not run.

    Its interval is that of aggregates.csv, where that has one over the same tasks. Without a mean where a run of a task
    overflowed.
    """
    if not tasks or any(task not in own for task in tasks):
        return None
    if len(tasks) == 1:
        return own[tasks[0]]
    rows = [own[task] for task in tasks]
    key = {name: rows[0][name] for name in ("backbone", "regime", "k", "variant")}
    intervals = (
        (row["mean_low"], row["mean_high"])
        for row in found.aggregates
        if set(row["tasks"].split(";")) == set(tasks) and row.items() >= key.items()
    )
    low, high = next(intervals, (None, None))
    means = [row["mean"] for row in rows]
    mean = None if None in means else fmean(means)
    return key | {"task": " + ".join(tasks), "seeds": max(row["seeds"] for row in rows), "mean": mean,
                  "low": low, "high": high,
                  "majority": None, "collapsed": "", "protocol": rows[0]["protocol"], "labels": together(rows),
                  "runs": ";".join(row["runs"] for row in rows)}  # fmt: skip


def percent(study: Study, row: Row) -> Shown:
    """A row of results.csv or an average: its share in percent with one decimal, or that its runs overflowed."""
    if row["mean"] is None:
        return Shown(OVERFLOW)
    return Shown(f"{100 * row['mean']:.1f}", interval(row["low"], row["high"], 100), collapsed(study, row))


def interval(low: float | None, high: float | None, scale: float = 1) -> str:
    return "" if low is None or high is None else f"[{scale * low:.1f}, {scale * high:.1f}]"


def collapsed(study: Study, row: Row) -> str:
    """The mark of a number some of whose runs sit at the majority class."""
    some, _, every = row["collapsed"].partition("/")
    if some in ("", "0") or study.is_majority(row["variant"]):
        return ""
    return "c" if some == every else f"c {some}/{every}"


def label_notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The labels of the numbers in words, each with where it holds. Averages have those of the numbers beside them."""
    return [f"{text}." for text in spelled_out([row for row in rows if " + " not in row["task"]])]
