"""What lies in the folders of artifacts, against their records: sealed or not, files gone, bytes that differ."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dp import files
from dp.jobs.digests import Digests
from dp.jobs.finding import Finding
from dp.jobs.mark import read as read_mark


@dataclass(frozen=True)
class Look:
    """`record`: digest of record.json. `outputs`: name -> digest that it says; None where it is not sealed."""

    record: str
    outputs: dict[str, str] | None
    gone: list[str]
    differ: list[str]

    @property
    def is_right(self) -> bool:
        return self.outputs is not None and not self.differ


def look(folders: Iterable[Path], digests: Digests) -> dict[Path, Look]:
    """Folder -> what lies there, for those with a record; without those that a job is making anew."""
    records = {folder: f"{folder}/record.json" for folder in folders}
    found = digests.records(records.values())
    sealed = [(folder, found[name][1] or {}) for folder, name in records.items() if name in found]
    there = digests.of(f"{folder}/{name}" for folder, outputs in sealed for name in outputs)
    looks = {}
    for folder, outputs in sealed:
        names = {name: there.get(f"{folder}/{name}") for name in outputs}
        gone = [name for name, digest in names.items() if digest is None]
        differ = [name for name, digest in names.items() if digest not in (None, outputs[name])]
        one = Look(*found[records[folder]], gone, differ)
        if one.is_right or not _is_in_motion(folder, one.record):
            looks[folder] = one
    return looks


def edits(folder: Path, one: Look) -> Iterator[Finding]:
    """What was edited after the job wrote it."""
    if one.outputs is None:
        yield Finding("tampered", folder / "record.json", "is not what its job wrote, or not by this version")
    for name in one.differ:
        yield Finding("tampered", folder / name, "its bytes differ from its record.json")


def _is_in_motion(folder: Path, record: str) -> bool:
    """Whether a job works in a folder, or did since its record was read."""
    mark = read_mark(folder)
    try:
        return (mark is not None and mark["state"] == "running") or files.sha256(folder / "record.json") != record
    except FileNotFoundError:
        return True
