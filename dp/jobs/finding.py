"""One thing that an audit found, and the kinds there are."""

from dataclasses import dataclass
from pathlib import Path

BROKEN = ("missing", "failed", "tampered", "stale")
"""What lies here is not what would be made now."""
KINDS = (
    *BROKEN, "orphaned", "dirty-tree", "mixed-environment", "unpinned", "collapsed", "overflow", "seeds", "unlocked",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    kind: str
    path: Path
    why: str


def some(names: list[str], most: int = 3) -> str:
    """Up to so many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
