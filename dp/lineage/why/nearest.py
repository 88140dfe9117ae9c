"""The nearest valid address to one that is none."""

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path

from dp import paths


def nearest_file(path: Path) -> str:
    """A file below results/ that agrees with a path part by part; for a log, a file of what the job made."""
    if paths.LOGS in path.parents:
        path = paths.RESULTS / path.relative_to(paths.LOGS).with_suffix("")

    def below(folder: str) -> Iterable[str]:
        found = sorted(one.name for one in Path(folder).iterdir()) if Path(folder).is_dir() else []
        return [name for name in found if f"{folder}/{name}" != str(paths.LOGS) and not name.startswith(".")]

    return _nearest(path.as_posix().split("/"), below)


def nearest_name(name: str, names: list[str]) -> str:
    """Of the names of runs, or the cells that they belong to."""
    children: dict[str, dict[str, None]] = {}
    for one in names:
        parts = one.split("/")
        for end, part in enumerate(parts):
            children.setdefault("/".join(parts[:end]), {})[part] = None
    return _nearest(name.split("/"), lambda prefix: children.get(prefix, {}), depth=4)


def _nearest(parts: list[str], below: Callable[[str], Iterable[str]], depth: int = 99) -> str:
    """The address that agrees with the given one part by part, the nearest name where one is unknown."""
    found = ""
    for place in range(max(depth, len(parts))):
        known = list(below(found))
        if not known:
            break
        part = parts[place] if place < len(parts) else known[0]
        best = part if part in known else closest(part, known)
        found = f"{found}/{best}" if found else best
    return found


def closest(name: str, known: list[str]) -> str:
    """A name that goes on where this one ends, else the most similar one."""
    longer = next((one for one in known if one.startswith(name)), None)
    return longer or difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
