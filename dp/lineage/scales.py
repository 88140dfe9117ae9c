"""Results of other scales than the one that is asked for: where they lie, and whether DVC recorded them."""

import json
from collections.abc import Iterable
from pathlib import Path

from dp import paths
from dp.lineage import doors
from dp.lineage.dvc_lock import LOCK

PHASES = tuple(phase for phase in paths.PHASES if phase != paths.DOWNLOAD)
"""Phases whose folders are a scale's own; downloads serve all scales."""
SCALES = Path("workflow", "scales")


def is_begun(asked: Iterable[Path]) -> bool:
    """Whether anything of the scale's own was made. `asked`: folders of its artifacts."""
    own = (folder for folder in asked if not folder.is_relative_to(paths.DOWNLOAD))
    return any((folder / "record.json").is_file() for folder in own)


def others(scale: str) -> list[str]:
    """Scales, besides this one, of which anything was made; sorted."""
    known = {path.stem for path in SCALES.glob("*.yaml")} - {scale}
    return sorted(name for name in known if any(any((phase / name).rglob("record.json")) for phase in PHASES))


def unrecorded(scale: str) -> list[str]:
    """Those of the others that dvc.lock does not name."""
    found = others(scale)
    recorded = {name for phase in PHASES for name in _recorded(phase)} if found else set()
    return [name for name in found if name not in recorded]


def _recorded(phase: Path) -> list[str]:
    """Names in a phase's folder as DVC recorded it; none where it recorded nothing, or its listing is not here."""
    if not LOCK.is_file():
        return []
    done = doors.call("dvc", "list", ".", phase.as_posix(), "--json")
    return [one["path"] for one in json.loads(done.stdout)] if done.returncode == 0 else []
