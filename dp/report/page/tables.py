"""The tables of the page: which columns of a report's CSV files it shows, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from dp.report.findings import Findings
from dp.report.layout import Column
from dp.report.page.verdict import SIGN, tone
from dp.results.groups import Key
from dp.results.table import OVERFLOW, Row, is_overflow


@dataclass(frozen=True)
class View:
    """One table: rows of (line of the CSV, numbers of the cells that it is made from, texts, classes)."""

    id: str
    title: str
    csv: str
    about: str
    columns: list[Column]
    rows: list[tuple[int, str, list[tuple[str, str]]]]


def views(found: Findings, cells_of: Callable[[Row], list[int]]) -> dict[str, View]:
    """Every table of the page, by id."""
    constant = {name for name in found.study.params.variants if found.study.is_majority(name)}
    columns = COLUMNS | {"results": _results(constant)}
    rows = {name: list(enumerate(getattr(found, csv), 2)) for name, (_, csv, _) in TABLES.items()}
    # Cost is the same for every metric of a cell.
    first = {itemgetter(*Key._fields)(row): (line, row) for line, row in reversed(rows["cost"]) if row["steps"]}
    rows["cost"] = sorted(first.values(), key=itemgetter(0))
    return {name: _view(name, title, f"{csv}.csv", about, columns[name], rows[name], cells_of)
            for name, (title, csv, about) in TABLES.items()}  # fmt: skip


def _view(
    name: str,
    title: str,
    csv: str,
    about: str,
    columns: list[Column],
    rows: list[tuple[int, Row]],
    cells_of: Callable[[Row], list[int]],
) -> View:
    """The table without columns that are empty throughout; what is one value throughout is said once."""
    values = {column: list(dict.fromkeys(column.text(row) for _, row in rows)) for column in columns}
    alike = [column for column in columns if column.title in SAID_ONCE and len(rows) > 1 and len(values[column]) == 1
             and any(values[column])]  # fmt: skip
    if alike:
        about += f" Throughout: {'; '.join(f'{column.title} {values[column][0]}' for column in alike)}."
    columns = [column for column in columns if any(values[column]) and column not in alike]
    shown = [
        (line, " ".join(map(str, cells_of(row))), [_cell(column, row) for column in columns]) for line, row in rows
    ]
    return View(name, title, csv, about, columns, shown)


def _cell(column: Column, row: Row) -> tuple[str, str]:
    """(text, class)"""
    text = column.text(row)
    if column.kind == "verdict":
        return f"{SIGN[tone(text)]} {text}", f"v {tone(text)}"
    if column.kind == "flag":
        return text, "f" if text.startswith(SIGN["low"]) else ""
    return text, {"number": "n", "long": "l"}.get(column.kind, "")


def plain(key: str) -> Callable[[Row], str]:
    return lambda row: "" if row.get(key) is None else str(row[key])


def listed(key: str) -> Callable[[Row], str]:
    return lambda row: plain(key)(row).replace(";", ", ")


def number(key: str, scale: float = 1.0, form: str = ".2f") -> Callable[[Row], str]:
    return lambda row: _number(row.get(key), scale, form)


def opened(key: str, scale: float = 1.0, form: str = ".2f") -> Callable[[Row], str]:
    """The number that a row is about, or what stands in its place."""
    return lambda row: _number(row.get(key), scale, form) or (OVERFLOW if is_overflow(row) else "")


def interval(low: str, high: str, scale: float = 1.0) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        ends = [_number(row.get(key), scale, ".2f") for key in (low, high)]
        return f"[{', '.join(ends)}]" if all(ends) else ""

    return text


def _number(value: Any, scale: float, form: str) -> str:
    return "" if value is None or value == "" else f"{scale * float(value):{form}}"


def collapsed(constant: set[str]) -> Callable[[Row], str]:
    """`no`, how many of the runs, or that the variant is meant to predict one class."""

    def text(row: Row) -> str:
        fallen, _, runs = row["collapsed"].partition("/")
        if row["mean"] is None:
            return f"{SIGN['low']} {OVERFLOW}"
        if row["variant"] in constant:
            return "by design"
        return f"{SIGN['low']} {fallen} of {runs} collapsed" if fallen != "0" else "no"

    return text


VARIANT, TASK, BACKBONE, REGIME, K = WHERE = [
    Column(key, plain(key), "number" if key == "k" else "text", filter=True, key=key)
    for key in ("variant", "task", "backbone", "regime", "k")
]
VERDICT = Column("verdict", plain("verdict"), "verdict", filter=True, key="verdict")
MEAN = Column("mean, %", opened("mean", 100), "number", opens=True, key="mean")
INTERVAL = Column("95 % interval", interval("low", "high", 100), "number", key="interval")
RUNS = Column("runs", plain("seeds"), "number")
ROWS = Column("rows", plain("n"), "number")
PROTOCOL = Column("protocol", plain("protocol"), filter=True)
LABELS = Column("labels", listed("labels"), filter=True, key="labels")
P_VALUES = [Column("p", number("p", form=".4f"), "number"), Column("p, Holm", number("p_holm", form=".4f"), "number")]
TESTED = [INTERVAL, *P_VALUES, Column("test", plain("test"), filter=True), RUNS, ROWS, LABELS]

SAID_ONCE = ("backbone", "regime", "k", "metric", "against", "looked at", "evaluations", "interval over", "protocol",
             "labels", "test")  # fmt: skip


def _results(constant: set[str]) -> list[Column]:
    return [
        *WHERE,
        Column("metric", plain("metric"), filter=True, key="metric"),
        MEAN,
        INTERVAL,
        Column("interval over", plain("interval")),
        Column("collapsed", collapsed(constant), "flag", filter=True),
        Column("majority, %", number("majority", 100), "number", key="majority"),
        RUNS,
        ROWS,
        PROTOCOL,
        LABELS,
    ]


COLUMNS: dict[str, list[Column]] = {
    "claims": [
        VERDICT,
        Column("claim", plain("claim")),
        Column("table", plain("table"), filter=True),
        Column("kind", plain("kind"), filter=True),
        VARIANT,
        TASK,
        BACKBONE,
        Column("regime", plain("regime")),
        Column("k", plain("k"), "number"),
        Column("metric", plain("metric")),
        Column("paper", number("value"), "number"),
        Column("here", opened("ours"), "number", opens=True),
        Column("95 % interval", interval("low", "high"), "number"),
        Column("difference", number("difference", form="+.2f"), "number"),
        Column("tolerance", number("tolerance"), "number"),
        RUNS,
        Column("why", plain("reason"), "long"),
        Column("collapsed in the paper", plain("paper_collapsed")),
        Column("protocol", plain("protocol")),
        LABELS,
    ],
    "predictions": [
        VERDICT,
        *WHERE,
        Column("broken on purpose", plain("broken")),
        Column("predicted, %", interval("predicted_low", "predicted_high", 100), "number", key="predicted"),
        MEAN,
        INTERVAL,
        RUNS,
        Column("predicted because", plain("because"), "long"),
    ],
    "null": [
        VERDICT,
        Column("backbone", plain("backbone"), filter=True),
        Column("variant", plain("variant"), key="variant"),
        Column("against", plain("against")),
        RUNS,
        Column("mean, %", opened("mean", 100), "number", opens=True),
        Column("against, %", number("against_mean", 100), "number"),
        Column("difference", number("difference", 100, "+.2f"), "number"),
        INTERVAL,
        *P_VALUES,
        Column("same: p", number("p_equivalent", 1, ".4f"), "number"),
    ],
    "comparisons": [
        *WHERE,
        Column("against", plain("against"), filter=True),
        Column("difference, points", opened("difference", 100, "+.2f"), "number", opens=True, key="difference"),
        *TESTED,
    ],
    "aggregates": [
        VARIANT,
        BACKBONE,
        REGIME,
        K,
        Column("tasks", listed("tasks"), "long"),
        RUNS,
        Column("mean, %", opened("mean", 100), "number", opens=True),
        Column("95 % interval of the mean", interval("mean_low", "mean_high", 100), "number"),
        Column("IQM, %", number("iqm", 100), "number"),
        Column("95 % interval of the IQM", interval("iqm_low", "iqm_high", 100), "number"),
        Column("against", plain("against"), filter=True),
        Column("probability of improvement", number("improvement"), "number"),
        Column("its 95 % interval", interval("improvement_low", "improvement_high"), "number"),
        LABELS,
    ],
    "optimism": [
        *WHERE,
        Column("looked at", plain("rows"), filter=True),
        Column("evaluations", plain("evaluations"), "number"),
        RUNS,
        Column("best, %", opened("best", 100), "number", opens=True),
        Column("last, %", number("last", 100), "number"),
        Column("chosen, %", number("chosen", 100), "number"),
        Column("best − last", number("best_minus_last", 100, "+.2f"), "number"),
        Column("best − chosen", number("best_minus_chosen", 100, "+.2f"), "number"),
        Column("95 % interval", interval("low", "high", 100), "number"),
        LABELS,
    ],
    "prices": [
        *WHERE,
        Column("switches", listed("switches"), filter=True),
        Column("with, %", opened("with", 100), "number", opens=True),
        Column("without, %", number("without", 100), "number"),
        Column("against", plain("against")),
        Column("difference, points", number("difference", 100, "+.2f"), "number", key="difference"),
        *TESTED,
    ],
    "cost": [
        *WHERE,
        Column("tuned parameters", number("trainable", form=",.0f"), "number", opens=True),
        Column("updates", number("steps", form=",.0f"), "number"),
        Column("seconds in steps", number("seconds", form=",.1f"), "number"),
        Column("settings tried", plain("trials"), "number"),
        Column("chosen by the search", listed("chosen")),
        PROTOCOL,
    ],
}
TABLES = {
    "claims": ("The paper's claims", "claims",
        "Numbers are percentages; the difference and its tolerance are in points."),
    "predictions": ("Predicted and measured", "predictions",
        "A prediction holds where the whole interval lies inside the predicted range, fails where it lies wholly "
        "outside, and is unclear otherwise. What is broken on purpose has the intact variant's range, and must fail."),
    "null": ("The null task", "null_task",
        "Where nothing dynamic can help, a variant fails if it is better (p, Holm below 0.05) or worse by more than "
        "the margin, and holds if it is as good within the margin (same: p below 0.05)."),
    "results": ("All results", "results",
        "The interval is over runs (seeds), or pre-trained backbones, where they differ, else over the reported rows "
        "(examples). Collapsed: one "
        "class throughout, or an accuracy interval that holds the majority rate."),
    "comparisons": ("Each variant against its baseline", "comparisons",
        "Differences in points; p, Holm: corrected for the number of tests of its family."),
    "aggregates": ("Over tasks", "aggregates",
        "IQM: interquartile mean. Probability of improvement: how often a run of the variant beats one of the "
        "baseline, over the tasks that it was run on."),
    "optimism": ("What picking the best evaluation adds", "optimism",
        "The best of all evaluations of a run, the last one, and the one that selection chose: best minus chosen is "
        "what reporting the best would have added, in points."),
    "prices": ("What each switch of a protocol costs", "prices",
        "The same variant with and without switches of the released protocol; differences in points."),
    "cost": ("Cost of a run", "results", "A mean over runs; seconds are those spent in training steps."),
}  # fmt: skip
"""Id -> title, the CSV whose lines it shows, what its numbers are."""
