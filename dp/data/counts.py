"""How many rows each class has."""

from collections import Counter
from typing import Any


def label_counts(rows: list[dict[str, Any]], classes: int) -> list[int]:
    """Rows of each class, in class order."""
    counts = Counter(row["label"] for row in rows)
    return [counts[label] for label in range(classes)]
