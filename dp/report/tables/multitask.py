"""One prompt for the union of several tasks, beside the same variant trained on each of them alone."""

from functools import partial

from dp.data.regime import Regime
from dp.report.findings import Findings
from dp.report.layout import Column, Group, Table, TableLine, records
from dp.report.tables.cells import AVERAGE, COLLAPSED, MEANS, accuracies, average, label_notes, percent
from dp.results.table import Row
from dp.study.grid import is_trained

FIELDS = ("union", "backbone", "regime", "k", "task", "variant", "protocol", "seeds", "mean", "low", "high", "majority",
          "collapsed", "labels", "runs")  # fmt: skip
PARTS = {"single": "alone", "union": "union"}


def table(found: Findings) -> Table:
    cells = accuracies(found)
    groups, every = [], []
    for (backbone, regime, _), ran in cells.items():
        if not Regime.parse(regime).is_union:
            continue
        alone = cells.get((backbone, "full", None), {})
        tasks = list(dict.fromkeys(task for own in ran.values() for task in own))
        every += tasks
        lines = [
            TableLine((variant,), _records(found, regime, tasks, {"single": alone.get(variant, {}), "union": own}))
            for variant, own in ran.items()
        ]
        groups.append(Group(f"{backbone}, {regime}", lines))
    shown = {name for group in groups for line in group.lines for name in line.records}
    columns = [
        Column(head, partial(percent, found.study), "number", name, f"{name} {part}")
        for name in dict.fromkeys([*every, AVERAGE])
        for part, head in PARTS.items()
        if f"{name} {part}" in shown
    ]
    rows = records(groups)
    untrained = [name for name in dict.fromkeys(row["variant"] for row in rows) if not is_trained(found.study, name)]
    notes = [
        f"{MEANS} alone: trained on this task's full train split; union: one training for all tasks of the block. "
        "Empty: not run.",
        "An average is over the tasks of its block and stands where all were run; without an interval, aggregates.csv "
        "has none for these tasks.",
        *([f"Not trained, so the same alone and in a union: {', '.join(untrained)}."] if untrained else []),
        COLLAPSED,
        *label_notes(rows),
    ]
    empty = "" if groups else f"Scale {found.study.scale_name} has no multitask regime; planted and paper have one."
    title = "One prompt for several tasks, beside one for each"
    return Table("multitask", title, FIELDS, ("variant",), columns, groups, notes, empty)


def _records(found: Findings, union: str, tasks: list[str], parts: dict[str, dict[str, Row]]) -> dict[str, Row]:
    records = {}
    for name in (*tasks, AVERAGE):
        for part, own in parts.items():
            row = average(found, own, tasks) if name == AVERAGE else own.get(name)
            if row:
                records[f"{name} {part}"] = row | {"union": union}
    return records
