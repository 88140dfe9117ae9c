"""All tables of a report: each is a module here with a `table`, but for those of the paper."""

from importlib import import_module

from dp.paper import claimed as claims
from dp.report import latex, markdown
from dp.report.findings import Findings
from dp.report.layout import Table, records
from dp.report.tables import paper_tables
from dp.results.table import to_csv
from dp.study.contents import TABLES

MODULES = {name: import_module(f"dp.report.tables.{name}") for name in TABLES if name not in claims.TABLES}


def tables(found: Findings) -> list[Table]:
    """The tables that dp/study/contents.py names, in that order; one that has nothing to show says why."""
    return [MODULES[name].table(found) if name in MODULES else paper_tables.table(found, name) for name in TABLES]


def texts(table: Table) -> dict[str, str]:
    """File below the report's folder -> its text."""
    kinds = {
        "csv": to_csv(table.fields, records(table.groups)),
        "md": markdown.document(table),
        "tex": latex.document(table),
    }
    return {f"tables/{table.name}.{kind}": text for kind, text in kinds.items()}
