"""One thing that an audit found, and the kinds there are."""

from dataclasses import dataclass
from pathlib import Path

BROKEN = ("missing", "failed", "tampered", "stale")
"""What lies here is not what would be made now."""
KINDS = (*BROKEN, "orphaned", "dirty-tree", "mixed-environment", "collapsed", "overflow", "seeds", "unlocked")


@dataclass(frozen=True)
class Finding:
    kind: str
    path: Path
    why: str


def some(names: list[str]) -> str:
    """Up to three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
