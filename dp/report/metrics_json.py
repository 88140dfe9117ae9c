"""metrics/: the accuracy of each row as plain numbers, for tools that read metrics from JSON, as `dvc metrics show`."""

from dp.report.findings import Findings
from dp.results.table import Row, is_overflow
from dp.study.contents import metrics_file

Numbers = dict[str, float | int]


def numbers(found: Findings) -> dict[str, Numbers]:
    """File of each row of results.csv about accuracy -> its mean, low, high and majority, shares 0..1.

    `seeds` counts its runs, and `collapsed` those of them that did. Where a run overflowed there is no mean, low, high
    and collapsed, and `overflowed` is 1.
    """
    return {_name(row): _of(row) for row in found.results if row["metric"] == "accuracy"}


def _name(row: Row) -> str:
    regime = f"{row['regime']}-k{row['k']}" if row["k"] else row["regime"]
    return metrics_file(row["backbone"], regime, row["task"], row["variant"])


def _of(row: Row) -> Numbers:
    if is_overflow(row):
        return {"majority": row["majority"], "seeds": row["seeds"], "overflowed": 1}
    collapsed = int(row["collapsed"].split("/")[0])
    return {key: row[key] for key in ("mean", "low", "high", "majority", "seeds")} | {"collapsed": collapsed}
