"""What each switch of the released code is worth: the same variant with and without it."""

import re

from dp.report.findings import Findings
from dp.report.layout import Column, Group, Shown, Table, TableLine
from dp.report.tables.cells import Setting, interval, label_notes, name_of
from dp.results.table import OVERFLOW, Row
from dp.statistics import ALPHA
from dp.study.protocols import MEANING

FIELDS = ("backbone", "regime", "k", "task", "variant", "switches", "against", "n", "seeds", "with", "without",
          "difference", "low", "high", "p", "p_holm", "test", "labels", "runs")  # fmt: skip
SWITCH = re.compile(r"\w+")


def table(found: Findings) -> Table:
    blocks: dict[Setting, dict[str, dict[str, Row]]] = {}
    for row in found.prices:
        setting = row["backbone"], row["regime"], row["k"] or None
        blocks.setdefault(setting, {}).setdefault(row["variant"], {})[row["task"]] = row
    groups = [
        Group(
            name_of(setting),
            [TableLine(_stubs(next(iter(records.values()))), records) for records in of_variant.values()],
        )
        for setting, of_variant in blocks.items()
    ]
    columns = [
        Column(task, _price, "number", record=task) for task in dict.fromkeys(row["task"] for row in found.prices)
    ]
    used = {name for row in found.prices for name in SWITCH.findall(row["switches"])}
    notes = [
        "Points of accuracy that a switch adds [95 % interval]: the variant with it minus the same without. *: p < "
        f"{ALPHA} after Holm's correction within a block. protocol.csv has both "
        "accuracies, p, its test, and the names where several switches are on together.",
        *(f"{name}: {meaning}." for name, meaning in MEANING.items() if name in used),
        *label_notes(found.prices),
    ]
    empty = (
        ""
        if groups
        else f"Scale {found.study.scale_name} runs no variant both with and without a switch of the released code "
        "(docs/methods.md), so there is nothing to price; scale ablation does."
    )
    title = "What each switch of the released code adds, in points of accuracy"
    return Table("protocol", title, FIELDS, ("variant", "switch"), columns, groups, notes, empty)


def _stubs(row: Row) -> tuple[str, str]:
    """The variant without the switch, and the switch, or how many they are."""
    names = SWITCH.findall(row["switches"])
    return row["against"], names[0] if len(names) == 1 else f"{len(names)} together"


def _price(row: Row) -> Shown:
    if row["difference"] is None:
        return Shown(OVERFLOW)
    small = row["p_holm"] not in (None, "") and row["p_holm"] < ALPHA
    return Shown(f"{100 * row['difference']:+.1f}", interval(row["low"], row["high"], 100), "*" if small else "")
