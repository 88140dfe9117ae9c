"""`dp claims`: the paper's claims beside what has been evaluated so far."""

import argparse
import sys
from collections import Counter

from rich import box
from rich.table import Table

from dp.commands import common
from dp.lineage.status_text import console
from dp.paper import matching, verdicts
from dp.paper.claimed import TABLES, Claim, Paper, load
from dp.results import runs
from dp.results.table import Row
from dp.study.study import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--table", help=f"the claims of one table of the paper: {', '.join(TABLES)}, or its letter")
    chosen.add_argument("--claim", help="one claim, as claims.csv names it")


def run(arguments: argparse.Namespace) -> None:
    """Print a row for each claim of the table or name that is asked for, else for each that has runs or an end."""
    study, paper = common.study(arguments), load()
    claims = chosen(paper, arguments.table, arguments.claim)
    judged = verdicts.rows(study, _runs(study, paper, claims), claims)
    shown = judged if arguments.table or arguments.claim else [row for row in judged if row["seeds"]]
    counts = Counter(row["verdict"] for row in judged)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts.VERDICTS if counts[verdict])
    parts: list[Table | str] = [f"scale {study.scale_name}, {len(judged)} claims: {said}"]
    if arguments.claim:
        parts.insert(0, _one(paper.claim(arguments.claim), judged[0]))
    elif shown:
        parts.insert(0, _table(shown))
    _print(parts)


def chosen(paper: Paper, table: str | None, claim: str | None) -> list[Claim]:
    """The claims of a table, one claim, or all."""
    if table:
        return paper.of_table(table)
    return [paper.claim(claim)] if claim else list(paper.claims.values())


def _runs(study: Study, paper: Paper, claims: list[Claim]) -> list[runs.Run]:
    """The runs that are there, of those that decide these claims."""
    matcher = matching.Matcher(study, paper)
    needed = {cell for claim in claims for cell in matcher.needed(claim)}
    return runs.read(study, [cell for cell in runs.evaluated(study) if cell in needed])


def _print(parts: list[Table | str]) -> None:
    """Without blanks at the ends of lines."""
    to = console(sys.stdout)
    with to.capture() as text:
        to.print(*parts, sep="\n", soft_wrap=not sys.stdout.isatty())
    print("\n".join(line.rstrip() for line in text.get().split("\n")).strip("\n"))


def _table(rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("claim", "verdict", "paper", "ours", "95 % interval", "difference", "seeds", "why"):
        table.add_column(name, justify="left" if name in ("claim", "verdict", "why") else "right", overflow="fold")
    for row in rows:
        table.add_row(row["claim"], row["verdict"], _paper(row), _percent(row["ours"]), _interval(row),
                      _percent(row["difference"], "+"), str(row["seeds"] or ""), row["reason"])  # fmt: skip
    return table


def _one(claim: Claim, row: Row) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    where = [row[key] for key in ("backbone", "regime", "task", "variant") if row[key]]
    facts = {"claim": claim.id, "source": claim.source, "says": claim.says,
             "about": " / ".join(where) + (f" minus {claim.against}" if claim.against else ""), "paper": _paper(row),
             "ours": _percent(row["ours"]), "95 % interval": _interval(row),
             "difference": _percent(row["difference"], "+"),
             "protocol": row["protocol"], "seeds": str(row["seeds"] or ""), "labels": row["labels"],
             "verdict": row["verdict"], "why": row["reason"]}  # fmt: skip
    for key, value in facts.items():
        if value:
            table.add_row(key, value)
    return table


def _paper(row: Row) -> str:
    if row["value"] is None:
        return "> 0" if row["kind"] == "text" else ""
    return row["value"] + (f" ± {row['tolerance']:.2f}" if row["tolerance"] else "")


def _interval(row: Row) -> str:
    return "" if row["ours"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"


def _percent(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.2f}"
