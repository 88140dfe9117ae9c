from typing import Any

from matplotlib.figure import Figure

from dp.report.figures import strips, style
from dp.report.findings import Findings

ABOUT = "Where a variant that chooses puts the input: how often each split was taken on the reported examples."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "split", "share", "examples", "seeds", "labels", "runs")


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per split 0..P; the share is taken over the examples of all runs together."""
    return [row | {"split": row["value"]} for row in strips.data(found, "split", "position")]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale chooses a split.")
    last = max(int(row["split"]) for row in rows)
    meaning = f"0 puts all vectors behind the input, {last} all in front"
    return strips.draw(rows, "split", "split s (vectors in front)", meaning)
