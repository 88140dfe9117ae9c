"""The paper's three tables, in its layout, with our numbers beside its own."""

from typing import Any

from dp.report.findings import Findings
from dp.report.layout import Column, Group, Shown, Table, TableLine, records
from dp.report.tables.cells import AVERAGE, Setting, accuracies, average, collapsed, interval, label_notes
from dp.results.table import OVERFLOW, Row, is_overflow

TASKS = {"boolq": "BoolQ", "multirc": "MultiRC", "wic": "WiC", "cb": "CB", "rte": "RTE"}
TITLES = {
    "A_position": "SuperGLUE accuracy (%) of the paper and ours: where the prompt goes",
    "B_length": "SuperGLUE accuracy (%) of the paper and ours: how many vectors the prompt has",
    "C_prompt": "SuperGLUE accuracy (%) of the paper and ours: pools of prompts with positions, and fine-tuning",
}
MARKS = {"reproduced": "=", "differs": "!=", "unclear": "?", "collapsed": "c", "not run": "",
         "not comparable": "n/c"}  # fmt: skip
FIELDS = ("kind", "backbone", "regime", "k", "task", "variant", "protocol", "paper", "paper_collapsed", "ours", "low",
          "high", "difference", "tolerance", "seeds", "collapsed", "verdict", "reason", "labels", "runs")  # fmt: skip


def table(found: Findings, name: str) -> Table:
    claims = [row for row in found.claims if row["table"] == name and row["kind"] in ("cell", AVERAGE)]
    groups = [*_claimed(found, claims), *_further(found, claims)]
    columns = [
        Column(title, show, "number", above, task)
        for task, above in (TASKS | {AVERAGE: "average"}).items()
        for title, show in (("paper", _paper), ("ours", _ours))
    ]
    empty = "" if claims else f"claims.csv has no row of {name}, so there is nothing to set ours beside."
    return Table(name, TITLES[name], FIELDS, ("method",), columns, groups, _notes(found, records(groups)), empty)


def _claimed(found: Findings, claims: list[Row]) -> list[Group]:
    """A group for each backbone, a line for each method, in the paper's order."""
    measured = accuracies(found)
    lines: dict[str, dict[str, dict[str, Row]]] = {}
    for claim in claims:
        of_method = lines.setdefault(claim["backbone"], {}).setdefault(claim["variant"], {})
        of_method[AVERAGE if claim["kind"] == AVERAGE else claim["task"]] = _record(found, measured, claim)
    return [Group(backbone, [TableLine((variant,), records) for variant, records in methods.items()])
            for backbone, methods in lines.items()]  # fmt: skip


def _record(found: Findings, measured: dict[Setting, dict[str, dict[str, Row]]], claim: Row) -> Row:
    setting = claim["backbone"], claim["regime"], claim["k"] or None
    own = measured.get(setting, {}).get(claim["variant"], {}).get(claim["task"])
    task = " + ".join(TASKS) if claim["kind"] == AVERAGE else claim["task"]
    return {key: claim.get(key) for key in FIELDS} | {
        "task": task,
        "paper": float(claim["value"]),
        "paper_collapsed": str(claim["paper_collapsed"]).lower() in ("true", "yes", "1"),
        "collapsed": own["collapsed"] if own else "",
        "mark": collapsed(found.study, own) if own and claim["verdict"] != "collapsed" else "",
    }


def _further(found: Findings, claims: list[Row]) -> list[Group]:
    """What this scale ran on the paper's tasks with the table's variants, and the paper has no number for."""
    variants = list(dict.fromkeys(claim["variant"] for claim in claims))
    claimed = {(claim["backbone"], claim["variant"]) for claim in claims}
    groups = []
    for (backbone, regime, _), ran in accuracies(found).items():
        lines = []
        for variant in variants:
            own = {task: row for task, row in ran.get(variant, {}).items() if task in TASKS}
            if regime != "full" or not own or (backbone, variant) in claimed:
                continue
            rows = {task: own[task] for task in TASKS if task in own}
            if mean := average(found, ran[variant], list(TASKS)):
                rows[AVERAGE] = mean
            lines.append(TableLine((variant,), {name: _unclaimed(found, row) for name, row in rows.items()}))
        if lines:
            groups.append(Group(f"{backbone} (not in the paper's table)", lines))
    return groups


def _unclaimed(found: Findings, row: Row) -> Row:
    facts: dict[str, Any] = {key: row.get(key) for key in FIELDS}
    numbers = {to: None if row[name] is None else 100 * row[name]
               for to, name in (("ours", "mean"), ("low", "low"), ("high", "high"))}  # fmt: skip
    kind = AVERAGE if " + " in row["task"] else "cell"
    return facts | numbers | {"kind": kind, "paper": None, "verdict": "", "mark": collapsed(found.study, row)}


def _paper(record: Row) -> Shown:
    if record["paper"] is None:
        return Shown()
    return Shown(f"{record['paper']:.2f}", mark="c" if record["paper_collapsed"] else "")


def _ours(record: Row) -> Shown:
    if record["ours"] is None:
        return Shown(OVERFLOW if is_overflow(record) else "")
    marks = [mark for mark in (MARKS.get(record["verdict"], ""), record["mark"]) if mark]
    return Shown(f"{record['ours']:.1f}", interval(record["low"], record["high"]), ", ".join(marks))


def _notes(found: Findings, records: list[Row]) -> list[str]:
    ours = [record for record in records if record["ours"] is not None or is_overflow(record)]
    notes = [
        "paper: as printed in arXiv 2303.02909v2, one run for each number. c: the paper's number sits at the majority "
        "class, so its run collapsed."
    ]
    if not ours:
        scale = found.study.scale_name
        return [
            *notes,
            f"ours: scale {scale} runs none of this; snakemake --cores all --config "
            "scale=paper-released does, and scale=paper under the controlled protocol.",
        ]
    seeds = sorted({int(record["seeds"]) for record in ours if record["seeds"]})
    protocols = list(dict.fromkeys(record["protocol"] for record in ours if record["protocol"]))
    return [
        *notes,
        "ours: mean [95 % interval] in percent. =: reproduced; !=: differs; ?: unclear, the interval decides neither; "
        "n/c: not comparable; c: collapsed (c 1/3: one of three runs); no mark: the paper has no such number. "
        "claims.csv has the tolerance and the reason of each verdict.",
        f"ours: runs behind a number: {_from_to(seeds)}; protocol {', '.join(protocols)}.",
        "An average without an interval has none in aggregates.csv; there is an average where all five tasks were run.",
        *label_notes(ours),
    ]


def _from_to(counts: list[int]) -> str:
    if not counts:
        return "not recorded"
    return str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
