"""What several sites made of one scale: each artifact as it lies there, whole and of what this commit asks for."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dp.jobs import made
from dp.jobs.digests import Digests
from dp.jobs.finding import some
from dp.jobs.job import RECORD, Job
from dp.jobs.look import look
from dp.jobs.made import Made
from dp.jobs.project import is_of_project, project_digest
from dp.lineage.compare import different_file

HERE = "here"
"""The site that is this clone: what lies in its results/."""


@dataclass(frozen=True, eq=False)
class Version:
    """One artifact as some sites have it, to the byte of its record.

    `sites`: their names, in the order of the call. `root`: the folder that holds the first one's results/. `outputs`:
    path -> sha256 of its files, as `Made.outputs`.
    """

    made: Made
    root: Path
    outputs: dict[str, str]
    sites: tuple[str, ...]

    def __str__(self) -> str:
        """Who made it, and when."""
        return f"{' and '.join(self.sites)} ({self.made.said('with', 'host') or 'host unknown'}, {self.made.started})"


class Left(NamedTuple):
    """An artifact of some site that is not taken, and why."""

    site: str
    job: Job
    why: str


def offered(jobs: Mapping[Path, Job], sites: Mapping[str, Path]) -> tuple[dict[Path, list[Version]], list[Left]]:
    """Folder -> its versions; and what is damaged, or not what this commit would make.

    sites: name -> folder that holds its results/. Every byte is read and compared with its record.
    """
    found: dict[Path, list[Version]] = defaultdict(list)
    left = list[Left]()
    for site, root in sites.items():
        with chdir(root):
            there, damaged = _in_working_directory(jobs)
        left += [Left(site, jobs[folder], why) for folder, why in damaged.items()]
        for folder, (one, outputs) in there.items():
            if why := next(one.reasons(of_project), None):
                left.append(Left(site, one.job, why))
                continue
            known = found[folder]
            place = next((n for n, other in enumerate(known) if other.outputs == outputs), None)
            if place is None:
                known.append(Version(one, root, outputs, (site,)))
            else:
                same = known[place]
                known[place] = Version(same.made, same.root, outputs, (*same.sites, site))
    return dict(found), left


def of_project(path: str) -> str | None:
    """Digest of an input that is a file of the project; of others nobody can tell yet."""
    return project_digest(path) if is_of_project(path) else None


def sorts(versions: Sequence[Version]) -> list[list[Version]]:
    """Those together that are the same but for records and for times in logs."""
    found: list[list[Version]] = []
    for one in versions:
        same = next((members for members in found if not _differ(members[0], one)), None)
        if same is None:
            found.append([one])
        else:
            same.append(one)
    return found


def difference(one: Version, other: Version) -> str:
    """The first output of a job that differs between two versions, and in which value, where it is JSON."""
    name = _differ(one, other)[0]
    return f"{name}: {_values(name, one, other)}"


def _differ(one: Version, other: Version) -> list[str]:
    """Names of the outputs that differ. Lines of JSON may hold times, so they are read; else bytes decide."""
    folder = one.made.folder
    names = [name for name in one.made.job.outputs
             if one.outputs[f"{folder}/{name}"] != other.outputs[f"{folder}/{name}"]]  # fmt: skip
    return [name for name in names if not name.endswith(".jsonl") or _values(name, one, other)]


def _values(name: str, one: Version, other: Version) -> str | None:
    if name.endswith((".json", ".jsonl")):
        try:
            return different_file(one.root / one.made.folder / name, other.root / other.made.folder / name)
        except ValueError:  # it is no JSON
            pass
    return "its bytes differ"


def _in_working_directory(
    jobs: Mapping[Path, Job],
) -> tuple[dict[Path, tuple[Made, dict[str, str]]], dict[Path, str]]:
    """What lies whole there, with the digests of its files; and what is wrong with the rest."""
    found, damaged = {}, {}
    for folder, one in look(jobs, Digests()).items():
        if one.outputs is None:
            damaged[folder] = f"{RECORD} is not what its job wrote, or not by this version"
        elif broken := [*one.gone, *one.differ]:
            damaged[folder] = f"{some(broken)} not what its job wrote"
        elif artifact := made.read(jobs[folder]):
            found[folder] = artifact, artifact.outputs
    return found, damaged
