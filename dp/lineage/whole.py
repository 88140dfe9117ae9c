"""Of what several sites made, a consistent whole: each artifact was made from the others that are taken."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dp.jobs.job import ADOPTED, RECORD, SUMS, Job
from dp.jobs.stale import is_made, other_inputs
from dp.lineage.versions import Left, Version, difference, of_project, sorts

TELLING = tuple(f"/{name}" for name in (RECORD, ADOPTED, SUMS, "steps.jsonl"))
"""Files that say how something was made, times among it: others may go with the same bytes of all else."""


@dataclass(frozen=True)
class Conflict:
    """Versions of one artifact that differ though all rest on the same: one of each sort, and the first difference.

    `rests`: how many artifacts rest on each. `settled`: whether a preferred site has one of them. `taken`: None, too,
    where none was made from the very records that are taken.
    """

    folder: Path
    why: str
    versions: list[Version]
    rests: list[int]
    settled: bool
    taken: Version | None

    def __str__(self) -> str:
        makers = [f"{one}, {count} rest on it" for one, count in zip(self.versions, self.rests, strict=True)]
        end = f"; taken from {self.taken.sites[0] if self.taken else 'none'}" if self.settled else ""
        return f"{self.folder}: {self.why}; made by {'; by '.join(makers)}{end}"


@dataclass(frozen=True)
class Whole:
    """`taken`: folder -> version, upstream first. `left`: what differs from that, or rests on what is not taken."""

    taken: dict[Path, Version]
    conflicts: list[Conflict]
    left: list[Left]


def consistent(
    jobs: Mapping[Path, Job], versions: Mapping[Path, Sequence[Version]], sites: Sequence[str], prefer: Sequence[str]
) -> Whole:
    """Upstream first, of each artifact a version that was made from what is taken.

    Of several that differ, a conflict, one that a preferred site has; of several that are the same but for records and
    times the one that most rests on, since a job that read a record needs that very one; then by the order of `sites`.
    """
    whole, digests, ranks = Whole({}, [], []), dict[str, str](), _Ranks(jobs, versions, sites, prefer)

    def now(path: str) -> str | None:
        return digests.get(path, "") if is_made(path) else of_project(path)

    def but_telling(path: str) -> str | None:
        return None if path.endswith(TELLING) else now(path)

    for folder, job in jobs.items():
        known = sorted(versions.get(folder, ()), key=ranks)
        unfit = {one: next(other_inputs(job, one.made.inputs, now), None) for one in known}
        taken = next((one for one in known if unfit[one] is None), None)
        # Who was made from the same is a rival, whatever its records. A report is made from records.
        asked = now if job.command == "report" else but_telling
        rivals = [one for one in known if next(other_inputs(job, one.made.inputs, asked), None) is None]
        several = list({id(ranks.alike[one]): one for one in reversed(rivals)}.values())[::-1]
        if len(several) > 1:
            counts = [len(ranks.resting_on(one)) for one in several]
            settled = ranks.preference(several[0]) < len(prefer)
            whole.conflicts.append(Conflict(folder, difference(*several[:2]), several, counts, settled, taken))
        if taken:
            whole.taken[folder] = taken
            digests |= taken.outputs
        for one in known:
            if taken is None or taken not in ranks.alike[one]:
                why = f"rests on what is not taken ({unfit[one]})" if unfit[one] else "differs from what is taken"
                whole.left.extend(Left(site, job, why) for site in one.sites)
    return whole


class _Ranks:
    """The order in which versions of an artifact are tried."""

    def __init__(
        self,
        jobs: Mapping[Path, Job],
        versions: Mapping[Path, Sequence[Version]],
        sites: Sequence[str],
        prefer: Sequence[str],
    ) -> None:
        self.sites, self.prefer = sites, prefer
        self.sorts = {folder: sorts(several) for folder, several in versions.items()}
        self.alike = {one: members for found in self.sorts.values() for members in found for one in members}
        self.above = _above(jobs, versions)
        self.winning = set[Version]()  # unless a site that is preferred has another
        for found in self.sorts.values():
            best = min(self.preference(members[0]) for members in found)
            self.winning |= {one for members in found if self.preference(members[0]) == best for one in members}

    def __call__(self, one: Version) -> tuple[int, int, int]:
        kept = {other.made.folder for other in self.above[one] & self.winning}
        return self.preference(one), -len(kept), min(map(self.sites.index, one.sites))

    def preference(self, one: Version) -> int:
        """Place among the preferred sites of the first that has it or one alike; of no such site, their number."""
        return min(map(self._place, self.alike[one]))

    def resting_on(self, one: Version) -> set[Path]:
        """Folders of what was made from a version, or from one alike."""
        return {other.made.folder for same in self.alike[one] for other in self.above[same]}

    def _place(self, one: Version) -> int:
        return min((self.prefer.index(site) for site in one.sites if site in self.prefer), default=len(self.prefer))


def _above(jobs: Mapping[Path, Job], versions: Mapping[Path, Sequence[Version]]) -> Mapping[Version, set[Version]]:
    """Version -> all that were made from it, but reports."""
    found: dict[Version, set[Version]] = defaultdict(set)
    below: dict[Version, set[Version]] = {}
    for folder, job in jobs.items():
        for one in versions.get(folder, ()) if job.command != "report" else ():
            read: dict[Path, dict[str, str]] = defaultdict(dict)
            for path, digest in one.made.inputs.items():
                read[Path(path).parent][path] = digest
            candidates = ((other, read[up]) for up in job.upstream for other in versions.get(up, ()))
            direct = {other for other, asked in candidates if asked.items() <= other.outputs.items()}
            below[one] = direct.union(*(below[other] for other in direct))
            for other in below[one]:
                found[other].add(one)
    return found
