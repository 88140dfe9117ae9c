"""All tables of a report."""

from dp.report.findings import Findings
from dp.report.tables import cost, fewshot, multitask, paper_tables, protocol
from dp.report.tables.layout import Table


def tables(found: Findings) -> list[Table]:
    """The tables that dp/study/report.py names, in that order; one that has nothing to show says why."""
    return [
        *paper_tables.tables(found),
        fewshot.table(found),
        multitask.table(found),
        cost.table(found),
        protocol.table(found),
    ]
