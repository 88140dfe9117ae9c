"""What records say about the code and the machine that they were made with."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dp.jobs.finding import Finding
from dp.jobs.job import Job
from dp.study import grid
from dp.study.study import Study

Settings = dict[Path, dict[str, Any]]
"""Folder -> `with` of its record."""


def dirty(settings: Settings) -> Iterator[Finding]:
    """Artifacts of code that no commit holds."""
    for folder, one in settings.items():
        if one["dirty"] is not False:
            why = "no commit" if one["dirty"] is None else f"made from edits on top of commit {one['commit'][:12]}"
            yield Finding("dirty-tree", folder, why)


def mixed(study: Study, asked: dict[Path, Job], settings: Settings) -> Iterator[Finding]:
    """Artifacts whose python, packages or device are not those of most that the same command made.

    Evaluations without a backbone use no device.
    """
    facts: dict[Path, dict[str, str | None]] = {}
    counts: dict[tuple[str, str], Counter[str | None]] = defaultdict(Counter)
    for folder, one in settings.items():
        job = asked[folder]
        facts[folder] = {"python": one["python"], **one["packages"]}
        if not job.cell or grid.needs_backbone(study, job.cell.variant):
            facts[folder]["device"] = one["device"]
        for name, value in facts[folder].items():
            counts[job.command, name][value] += 1
    for folder, found in facts.items():
        command = asked[folder].command
        if why := [text for name, value in found.items() if (text := _other(name, value, counts[command, name]))]:
            yield Finding("mixed-environment", folder, "; ".join(why))


def _other(name: str, value: str | None, count: Counter[str | None]) -> str | None:
    """What differs from the commonest value, the first one met where there are several."""
    usual, times = count.most_common(1)[0]
    if value == usual:
        return None
    who = "most have" if 2 * times > count.total() else f"{times} of {count.total()} have"
    return f"{name} {value or 'none'}, {who} {usual or 'none'}"
