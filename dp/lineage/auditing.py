"""Is what lies here what the code, the parameters and the data say? (docs/audit.md)"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp.jobs import adoption, made, pins
from dp.jobs.adoption import Adoption
from dp.jobs.digests import Digests
from dp.jobs.finding import KINDS, Finding
from dp.jobs.job import ADOPTED, RECORD, Job
from dp.jobs.look import Look, edits, look
from dp.jobs.mark import read as read_mark
from dp.jobs.stale import now_of
from dp.lineage import numbers, orphans, scales
from dp.lineage.dvc_lock import unlocked
from dp.study.resolve import jobs
from dp.study.study import Study


@dataclass(frozen=True)
class Audit:
    """`findings`: by kind in the order of KINDS, then upstream first. `notes`: what could not be checked, and why."""

    findings: list[Finding]
    artifacts: int
    files: int
    bytes_hashed: int
    notes: list[str]


def audit(study: Study, full: bool = False) -> Audit:
    """Everything that `python -m dp audit` says. `full`: every byte is read again."""
    asked, digests = jobs(study), Digests(full)
    looks = look(asked, digests)
    found, records = _of_artifacts(asked, looks)
    settings = {folder: record["with"] for folder, record in records.items()}
    found = _inherited(asked, found)
    found += _dirty(settings)
    found += mixed(study, asked, settings)
    found += [Finding("unpinned", folder, why) for folder, record in records.items() if (why := pins.loose(record))]
    found += numbers.collapsed(study, looks)
    found += numbers.seeds(study, looks)
    astray, unread = orphans.orphans(study, jobs(study.whole), looks, digests)
    unrecorded, unchecked = unlocked()
    found = sorted([*found, *astray, *unrecorded], key=lambda one: KINDS.index(one.kind))
    notes = [*_adopted(asked), *unread, *unchecked, *_elsewhere(study, asked)]
    return Audit(found, len(asked), digests.read, digests.hashed, notes)


def _adopted(asked: dict[Path, Job]) -> list[str]:
    """A line for each command and code of which artifacts were adopted."""
    by_code: dict[tuple[str, str, str], list[Adoption]] = {}
    for folder, job in asked.items():
        if found := adoption.of(folder):
            by_code.setdefault((job.command, found.was[:12], found.now[:12]), []).append(found)
    lines = []
    for (command, was, now), members in by_code.items():
        again = {folder for one in members for folder in one.evidence.made_again}
        ways = ", ".join(sorted({one.evidence.how for one in members}))
        kinds = {one.evidence.kind for one in members}
        lines.append(f"adopted: {len(members)} of {command}, made by code {was} and not {now}, which made {len(again)} "
                     f"of {len(kinds)} kinds again, the same in {ways}")  # fmt: skip
    return lines


def _elsewhere(study: Study, asked: dict[Path, Job]) -> list[str]:
    """A line where nothing of this scale was made, but something of others."""
    if scales.is_begun(asked) or not (there := scales.others(study.scale_name)):
        return []
    command = f"python -m dp audit --set scale={there[0]}"
    lie = f"results of {', '.join(there)} lie here"
    return [f"nothing of scale {study.scale_name} was made here; {lie}, and `{command}` audits those"]


def before_jobs(asked: dict[Path, Job]) -> tuple[list[Finding], list[Finding]]:
    """Records and outputs that were edited after their jobs wrote them; and what is stale by itself, an artifact each.

    What is not there is no matter.
    """
    looks = look(asked, Digests())
    tampered = [edit for folder, one in looks.items() for edit in edits(folder, one)]
    return tampered, [one for one in _of_artifacts(asked, looks)[0] if one.kind == "stale"]


def _of_artifacts(asked: dict[Path, Job], looks: dict[Path, Look]) -> tuple[list[Finding], dict[Path, Any]]:
    """What is wrong with each artifact by itself; and folder -> its record."""
    found: list[Finding] = []
    records: dict[Path, dict[str, Any]] = {}
    known = {f"{folder}/{RECORD}": one.record for folder, one in looks.items()}
    for folder, one in looks.items():
        known |= {f"{folder}/{name}": digest for name, digest in (one.outputs or {}).items()}
    now = now_of(known, {folder for folder in asked if folder not in looks or looks[folder].outputs is None})
    for folder, job in asked.items():
        mark, here = read_mark(folder), looks.get(folder)
        if mark and mark["state"] == "running":
            found.append(Finding("missing", folder, f"is running (process {mark['pid']} on {mark['host']})"))
            continue
        if mark and mark["state"] == "failed":
            found.append(Finding("failed", folder, mark["error"]))
        elif here is None and (folder / RECORD).exists():
            found.append(Finding("missing", folder, "was made anew meanwhile; audit again"))
        elif here is None:
            found.append(Finding("missing", folder, "its job was killed" if mark else "has no record.json"))
        if here is None:
            continue
        found += [Finding("missing", folder / name, "is gone, though its record is there") for name in here.gone]
        found += edits(folder, here)
        if (folder / ADOPTED).is_file() and adoption.of(folder, here.record) is None:
            found.append(Finding("tampered", folder / ADOPTED, "is not what `adopt` wrote about this record"))
        try:
            record = made.read(job) if here.outputs is not None else None
        except (OSError, ValueError):  # a job that began meanwhile took it away
            continue
        if record:
            records[folder] = record.record
            if why := "; ".join(record.reasons(now)):
                found.append(Finding("stale", folder, why))
    return found, records


def _inherited(asked: dict[Path, Job], found: list[Finding]) -> list[Finding]:
    """What rests on something broken is stale, too: with the findings so far, in the order of the artifacts."""
    own: dict[Path | None, list[Finding]] = {}
    for one in found:
        folder = next((path for path in (one.path, *one.path.parents) if path in asked), None)
        own.setdefault(folder, []).append(one)
    nearest: dict[Path, tuple[int, Path, str]] = {}
    complete: list[Finding] = []
    for folder, job in asked.items():
        complete += own.get(folder, [])
        if folder in own:
            nearest[folder] = (0, folder, own[folder][0].kind)
            continue
        if broken := [nearest[one] for one in job.upstream if one in nearest]:
            distance, root, kind = min(broken, key=lambda one: one[0])
            nearest[folder] = (distance + 1, root, kind)
            complete.append(Finding("stale", folder, f"rests on {root}, which is {kind}"))
    return complete


def _dirty(settings: dict[Path, Any]) -> Iterator[Finding]:
    """Artifacts of code that no commit holds."""
    for folder, one in settings.items():
        if one["dirty"] is not False:
            why = "no commit" if one["dirty"] is None else f"made from edits on top of commit {one['commit'][:12]}"
            yield Finding("dirty-tree", folder, why)


def mixed(study: Study, asked: dict[Path, Job], settings: dict[Path, Any]) -> Iterator[Finding]:
    """Artifacts whose python, packages or device are not those of most that the same command made.

    Evaluations without a backbone use no device.
    """
    facts: dict[Path, dict[str, str | None]] = {}
    counts: dict[tuple[str, str], Counter[str | None]] = defaultdict(Counter)
    for folder, one in settings.items():
        job = asked[folder]
        facts[folder] = {"python": one["python"], **one["packages"]}
        if not job.cell or not study.is_majority(job.cell.variant):
            facts[folder]["device"] = one["device"]
        for name, value in facts[folder].items():
            counts[job.command, name][value] += 1
    for folder, found in facts.items():
        command = asked[folder].command
        if why := [text for name, value in found.items() if (text := _unusual(name, value, counts[command, name]))]:
            yield Finding("mixed-environment", folder, "; ".join(why))


def _unusual(name: str, value: str | None, count: Counter[str | None]) -> str | None:
    """What differs from the commonest value, the first one met where there are several."""
    usual, times = count.most_common(1)[0]
    if value == usual:
        return None
    who = "most have" if 2 * times > count.total() else f"{times} of {count.total()} have"
    return f"{name} {value or 'none'}, {who} {usual or 'none'}"
