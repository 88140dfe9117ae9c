"""Few-shot accuracy: a block for the mean over tasks and each task, a line for each variant, a column for each k."""

from functools import partial

from dp.report.findings import Findings
from dp.report.layout import Column, Group, Table, TableLine, records
from dp.report.tables.cells import COLLAPSED, MEANS, accuracies, average, label_notes, percent
from dp.results.table import Row

FIELDS = ("backbone", "regime", "k", "task", "variant", "protocol", "seeds", "mean", "low", "high", "majority",
          "collapsed", "labels", "runs")  # fmt: skip


def table(found: Findings) -> Table:
    few = {(setting[0], setting[2]): ran for setting, ran in accuracies(found).items() if setting[1] == "fewshot"}
    counts = list(dict.fromkeys(k for _, k in few))
    groups = []
    for backbone in dict.fromkeys(backbone for backbone, _ in few):
        by_k = {str(k): few[backbone, k] for k in counts if (backbone, k) in few}
        tasks = list(dict.fromkeys(task for ran in by_k.values() for own in ran.values() for task in own))
        variants = list(dict.fromkeys(variant for ran in by_k.values() for variant in ran))
        blocks = {task: [task] for task in tasks}
        if len(tasks) > 1:
            blocks = {f"mean of {len(tasks)} tasks": tasks} | blocks
        for name, over in blocks.items():
            lines = [TableLine((variant,), _records(found, by_k, variant, over)) for variant in variants]
            groups.append(Group(f"{backbone}, {name}", [line for line in lines if line.records]))
    columns = [Column(f"k = {k}", partial(percent, found.study), "number", record=str(k)) for k in counts]
    rows = records(groups)
    notes = [
        f"{MEANS} Runs differ in training seed and in the sample of rows.",
        "k: examples per label to learn from and, apart from them, as many to select the step by.",
        "A mean stands where all its tasks were run; without an interval, aggregates.csv has none for these tasks.",
        COLLAPSED,
        *label_notes(rows),
    ]
    empty = "" if groups else f"Scale {found.study.scale_name} has no few-shot regime; planted and paper have one."
    title = "Few-shot accuracy, k examples per label"
    return Table("fewshot", title, FIELDS, ("variant",), columns, groups, notes, empty)


def _records(
    found: Findings, by_k: dict[str, dict[str, dict[str, Row]]], variant: str, over: list[str]
) -> dict[str, Row]:
    records = {}
    for k, ran in by_k.items():
        own = ran.get(variant, {})
        row = own.get(over[0]) if len(over) == 1 else average(found, own, over)
        if row:
            records[k] = row
    return records
