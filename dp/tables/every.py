"""All tables of a report."""

from dp.findings import Findings
from dp.tables import cost, fewshot, multitask, paper_tables, protocol
from dp.tables.layout import Table


def tables(found: Findings) -> list[Table]:
    """The tables that dp/report.py names, in that order; one that has nothing to show says why."""
    return [
        *paper_tables.tables(found),
        fewshot.table(found),
        multitask.table(found),
        cost.table(found),
        protocol.table(found),
    ]
