"""results.md: a table of variant x task for each backbone, regime and metric, with its labels spelled out."""

from collections.abc import Iterable
from functools import partial
from operator import itemgetter

from dp.escapes import markdown as escaped
from dp.report import markdown
from dp.report.markdown import Marked
from dp.results import comparisons
from dp.results.groups import grouped
from dp.results.labels import spelled_out
from dp.results.runs import Run
from dp.results.table import Row
from dp.study.study import Study


def document(study: Study, table: list[Row], compared: list[Row], runs: list[Run], figures: Iterable[str]) -> str:
    """The Markdown text, from the rows of results.csv and comparisons.csv and, for the sizes of splits, the runs' token
    records.
    """
    parts = [f"# Results of scale {study.scale_name}", escaped(study.scale.description)]
    if study.part_of_tasks:
        parts.append(f"A part of the scale: {study.part_of_tasks}.")
    if said := comparisons.in_words(study, compared):
        parts.append(f"**{said}**")
    parts.append(HOW_TO_READ)
    sections = grouped(table, itemgetter("backbone", "regime", "k", "metric"))
    for (backbone, regime, k, metric), rows in sections.items():
        shots = f" ({k} per label)" if k else ""
        parts += [f"## {backbone}, {regime}{shots}: {metric}", _table(study, rows), _notes(study, rows, runs)]
        if metric == "accuracy":
            parts += [f"### {backbone}, {regime}{shots}: cost", _cost(rows)]
    parts += [f"## {name}\n\n![{name}](figures/{name}.png)" for name in figures]
    return "\n\n".join(parts) + "\n"


HOW_TO_READ = """\
All numbers are percentages: mean [95 % interval]; n counts the reported examples. The interval is Student's t over runs
or, of several pre-trained backbones, over the means on each, where these differ; else over the reported examples.
`collapsed 1/3` says that one of three runs predicts one class throughout or has an accuracy interval that contains the
majority rate. `results.csv` has the same numbers, with the digests of the records they come from."""


def _table(study: Study, rows: list[Row]) -> str:
    tasks, lines = markdown.by_variant(rows, partial(_cell, study))
    sizes = {row["task"]: row["n"] for row in rows}
    head = ["variant", *[f"{task} (n = {sizes[task]:,})" for task in tasks]]
    if rows[0]["metric"] == "accuracy" and not any(study.is_majority(row["variant"]) for row in rows):
        rate = {row["task"]: f"{100 * row['majority']:.1f}" for row in rows}
        lines.append([Marked("*majority rate*"), *[rate[task] for task in tasks]])
    return markdown.table(head, lines, "l" + "r" * len(tasks))


def _cost(rows: list[Row]) -> str:
    """Trainable parameters / updates / seconds in them of a run, and the settings that were tried for it."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows if row["steps"]):
        own = {row["task"]: row for row in rows if row["variant"] == variant}
        costs = [
            f"{own[task]['trainable']:,} / {own[task]['steps']:,} / {own[task]['seconds']:.0f} s" if task in own else ""
            for task in tasks
        ]
        chosen = [f"{task}: {row['chosen']}" for task, row in own.items() if row["chosen"]]
        first = next(iter(own.values()))
        lines.append([variant, first["protocol"], *costs, str(first["trials"]), "; ".join(chosen)])
    return markdown.table(["variant", "protocol", *tasks, "trials", "chosen"], lines, f"ll{'r' * len(tasks)}rl")


def _cell(study: Study, row: Row) -> str:
    fallen = row["mean"] is not None and not row["collapsed"].startswith("0/") and not study.is_majority(row["variant"])
    return f"{markdown.percent(row)} collapsed {row['collapsed']}" if fallen else markdown.percent(row)


def _notes(study: Study, rows: list[Row], runs: list[Run]) -> str:
    notes = [f"- {escaped(text)}." for text in spelled_out(rows)]
    facts = {run.cell.task: run.tokens["made"] for run in runs if run.model == rows[0]["backbone"]}
    for task in dict.fromkeys(row["task"] for row in rows):
        size, available, cut = (facts[task][key] for key in ("rows", "available", "truncated"))
        used = [f"{split} {n:,} of {available[split]:,}" for split, n in size.items() if n < available[split]]
        short = [f"{split} {n:,} of {size[split]:,}" for split, n in cut.items() if n]
        notes += [f"- {task}, rows used: {', '.join(used)}."] if used else []
        notes += [f"- {task}, inputs cut to {study.scale.max_tokens} tokens: {', '.join(short)}."] if short else []
    return "\n".join(notes)
