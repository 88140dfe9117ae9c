"""Files below results/ that belong to no artifact, and their removal."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from dp import paths
from dp.closed import read_yaml, validated
from dp.errors import UserError
from dp.jobs.digests import Digests
from dp.jobs.finding import Finding
from dp.jobs.job import ADOPTED, RECORD
from dp.jobs.look import Look
from dp.jobs.mark import read as read_mark
from dp.lineage.scales import PHASES, SCALES
from dp.study.params import Scale
from dp.study.study import Study

Names = dict[Path, set[str] | None]
"""Folder of an artifact -> names of the files that its record vouches for; None where no good record says."""


def orphans(
    study: Study, asked: Iterable[Path], looks: dict[Path, Look], digests: Digests
) -> tuple[list[Finding], list[str]]:
    """Files and whole folders of this scale and of results/download that no artifact owns; and what was not checked.

    A download belongs if any scale may ask for it. Folders of a scale that has no file are orphans; other scales' are
    left alone, and so is everything behind a symbolic link.
    """
    downloads, notes = _downloads()
    known: Names = dict.fromkeys((*downloads, *asked))
    known |= {folder: set(one.outputs) for folder, one in looks.items() if one.outputs is not None}
    others = {folder: f"{folder}/record.json" for folder in downloads if folder not in looks}
    records = digests.records(others.values())
    known |= {folder: set(outputs) for folder, name in others.items() if (outputs := records.get(name, (0, None))[1])}
    on_the_way = {parent for folder in known for parent in folder.parents}
    scales = {path.stem for path in SCALES.glob("*.yaml")}
    found = [*_under(paths.DOWNLOAD, known, on_the_way)]
    for phase in PHASES:
        for entry in _entries(phase):
            path = Path(entry.path)
            if entry.name not in scales:
                found.append(Finding("orphaned", path, f"there is no {SCALES / entry.name}.yaml{_count(path)}"))
            elif entry.name == study.scale_name:
                found += _under(path, known, on_the_way)
    return found, notes


def prune(findings: Iterable[Finding]) -> list[Path]:
    """Remove what is orphaned, and folders that became empty by it; returns what was removed, links as such.

    Raises UserError, with nothing removed, where a scale does not load: its downloads would be lost.
    """
    _, unread = _downloads()
    if unread:
        raise UserError(f"--prune removes nothing while {unread[0]}. Mend or remove that file first.")
    removed = []
    for one in findings:
        if one.kind != "orphaned":
            continue
        if one.path.is_dir() and not one.path.is_symlink():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)
        removed.append(one.path)
        for parent in one.path.parents:
            if len(parent.parts) <= len(paths.TRAIN.parts) or any(parent.iterdir()):
                break
            parent.rmdir()
            removed.append(parent)
    return removed


def _downloads() -> tuple[list[Path], list[str]]:
    """What every scale may download, from whichever source; and a line for each scale that does not load."""
    found, notes = [], []
    for path in sorted(SCALES.glob("*.yaml")):
        try:
            scale = validated(Scale, read_yaml(path), path)
        except UserError as error:
            notes.append(f"{path} does not load, so what it downloads counts as orphaned ({error})")
            continue
        found += [paths.backbone(name) for name in scale.backbones]
        found += [paths.task_rows(task, source) for source, tasks in scale.tasks.items() for task in tasks]
    return found, notes


def _under(folder: Path, known: Names, on_the_way: set[Path]) -> Iterator[Finding]:
    if folder in known:
        names = known[folder]
        found = [] if names is None else [*_beside(folder, names)]
        mark = read_mark(folder) if found else None
        if not mark or mark["state"] != "running":
            yield from found
        return
    for entry in _entries(folder):
        path = Path(entry.path)
        if path in known or path in on_the_way:
            yield from _under(path, known, on_the_way)
        elif _holds_files(entry):
            yield Finding("orphaned", path, f"belongs to no artifact{_count(path)}")


def _beside(artifact: Path, names: set[str], inside: str = "") -> Iterator[Finding]:
    """What lies in an artifact's folder beside its outputs, its record and what a stopped run left."""
    for entry in _entries(artifact / inside):
        name = inside + entry.name
        if name in names or name in (RECORD, ADOPTED, "failure.json", "state", "starts"):
            continue
        if any(one.startswith(f"{name}/") for one in names):
            yield from _beside(artifact, names, f"{name}/")
        elif _holds_files(entry):
            yield Finding("orphaned", artifact / name, f"is no output of {artifact}{_count(artifact / name)}")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Sorted; none where there is no such folder, or a link stands in its place."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def _holds_files(entry: os.DirEntry[str]) -> bool:
    return not entry.is_dir(follow_symlinks=False) or _files(Path(entry.path)) > 0


def _count(path: Path) -> str:
    if path.is_symlink() or not path.is_dir():
        return ""
    count = _files(path)
    return f" ({count} file{'' if count == 1 else 's'})"
