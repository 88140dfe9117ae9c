"""All tables of a report."""

from dp.findings import Findings
from dp.tables import cost, fewshot, multitask, paper_tables, protocol
from dp.tables.layout import Table

NAMES = ("A_position", "B_length", "C_prompt", "fewshot", "multitask", "cost", "protocol")


def tables(found: Findings) -> list[Table]:
    """The tables named NAMES, in that order; one that has nothing to show says why."""
    return [
        *paper_tables.tables(found),
        fewshot.table(found),
        multitask.table(found),
        cost.table(found),
        protocol.table(found),
    ]
