from typing import Any

from matplotlib.figure import Figure

from dp.report.figures import strips, style
from dp.report.findings import Findings

ABOUT = "How many vectors a variant that chooses uses: how often each length was taken on the reported examples."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "length", "share", "examples", "seeds", "labels", "runs")


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per length 0..P; the share is taken over the examples of all runs together."""
    return [row | {"length": row["value"]} for row in strips.data(found, "length", "length")]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale chooses a length.")
    last = max(int(row["length"]) for row in rows)
    return strips.draw(rows, "length", "length (vectors used)", f"0 uses no vector, {last} all of them")
