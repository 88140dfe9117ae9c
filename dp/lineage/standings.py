"""How far a scale is: what became of each of its artifacts, what they took, and what the rest will take."""

import itertools
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from dp import paths
from dp.data.regime import Regime
from dp.jobs.job import ADOPTED, RECORD, Job
from dp.jobs.made import Made, read
from dp.jobs.mark import read as read_mark
from dp.jobs.stale import Now, now_of
from dp.lineage import cluster_logs
from dp.study.resolve import jobs
from dp.study.study import Study

State = Literal["done", "running", "failed", "stale", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "stale", "missing")


class Spent(NamedTuple):
    """`unit` is gpu or core; hours of a GPU, or of a CPU times its threads."""

    unit: str
    hours: float


@dataclass(frozen=True)
class Standing:
    """What became of one artifact. `why`: of a stale or missing one, unless it was simply never made. Of a done one:
    `host`, the machine that made it, and `overflow`, the reason why it ended in this status and in no number."""

    job: Job
    state: State
    why: str | None = None
    mark: dict[str, Any] | None = None
    cost: Spent | None = None  # of a done one
    overflow: str | None = None
    host: str | None = None

    @property
    def group(self) -> tuple[str, str | None, str | None, str | None]:
        """(command, backbone, kind of regime, variant): artifacts of one group cost about the same."""
        one = self.job
        match one.command:
            case "train" | "evaluate" | "choose":
                backbone, regime, _, variant = one.folder.parts[3:7]
                return one.command, backbone, Regime.parse(regime).kind, variant
            case "tokenize" | "features":
                return one.command, one.folder.parts[3], None, None
            case "fetch-backbone":
                return one.command, one.folder.name, None, None
        return one.command, None, None, None

    @property
    def log(self) -> Path:
        """What the job printed, where Snakemake ran it: the first training's, where it makes several."""
        first = self.job.asked.get("together", [self.job.folder.name])[0]
        return paths.LOGS / self.job.folder.relative_to(paths.RESULTS).with_name(f"{first}.log")

    @property
    def logs(self) -> dict[str, str]:
        """`log`: that one. `cluster_log`: what a cluster's scheduler printed of the job. Those that are there."""
        if not self.mark and not self.log.is_file():
            return {}  # it never began
        found = {"log": self.log, "cluster_log": cluster_logs.of(self.log)}
        return {name: str(path) for name, path in found.items() if path and path.is_file()}


class Survey:
    """Looks at a study's jobs, again and again: a record is read once for each time that it is written."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.jobs = jobs(study)
        self._seen: dict[Path, tuple[object, Made | None]] = {}

    def standings(self) -> dict[Path, Standing]:
        """Folder -> standing of every job, upstream first.

        done: the record is there with all its outputs, and was made of these parameters, this code and these inputs,
        which are done themselves; stale: it is there, but was not. A mark of a running job goes before both, that of a
        failed one before all but done. What was killed is missing.
        """
        found: dict[Path, Standing] = {}
        digests: dict[str, str] = {}
        doubtful: set[Path] = set()
        now = now_of(digests, doubtful)
        for folder, job in self.jobs.items():
            made, unreadable = self._made(job)
            found[folder] = self._standing(job, made, unreadable, found, now)
            if made:
                digests |= made.outputs
            else:
                doubtful.add(folder)
        return found

    def _standing(
        self, job: Job, made: Made | None, why: str | None, found: dict[Path, Standing], now: Now
    ) -> Standing:
        mark = read_mark(job.folder)
        if made:
            why = next(made.reasons(now), None) if all(map(os.path.isfile, made.outputs)) else GONE
            if why is None and (other := next((up for up in job.upstream if found[up].state != "done"), None)):
                why = f"what it reads is {found[other].state}"
        if mark and mark["state"] == "running":
            return Standing(job, "running", mark=mark)
        if made and why is None:
            over = made.said("made", "overflow")
            why_over = over["why"] if over else None
            return Standing(job, "done", cost=_cost(made), overflow=why_over, host=made.said("with", "host"))
        if mark and mark["state"] == "failed":
            return Standing(job, "failed", mark=mark)
        if why and why != GONE:
            return Standing(job, "stale", why)
        if mark:
            return Standing(job, "missing", KILLED_TRAINING if job.command == "train" else KILLED, mark)
        return Standing(job, "missing", why)

    def _made(self, job: Job) -> tuple[Made | None, str | None]:
        """What a job left, and, where it cannot be read, that it cannot."""
        stamp = _stamp(job.folder / RECORD), _stamp(job.folder / ADOPTED)
        if stamp[0] is None:
            self._seen.pop(job.folder, None)
            return None, None
        if job.folder not in self._seen or self._seen[job.folder][0] != stamp:
            self._seen[job.folder] = stamp, _read(job)
        made = self._seen[job.folder][1]
        return made, None if made else "its record cannot be read"


GONE = "an output is gone"
KILLED = "killed; the same command runs again"
KILLED_TRAINING = "killed; resumes from its last checkpoint"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _read(job: Job) -> Made | None:
    """None where it is no record. Of what many records repeat, names and digests, one copy is kept."""
    try:
        made = read(job, edited=True)
    except (ValueError, OSError):
        return None
    if made:
        used = made.record["used"]
        for holder, key in ((used["code"], "modules"), (used, "inputs")):
            holder[key] = {sys.intern(name): sys.intern(digest) for name, digest in holder[key].items()}
    return made


def _cost(made: Made) -> Spent:
    hours, threads = made.said("made", "wall_seconds") / 3600, made.said("with", "threads") or 1
    return Spent("core", hours * threads) if made.said("with", "device") == "cpu" else Spent("gpu", hours)


def costs(standings: Iterable[Standing]) -> dict[str, float]:
    """Hours by unit, of those that are done."""
    total = {"gpu": 0.0, "core": 0.0}
    for one in standings:
        if one.cost:
            total[one.cost.unit] += one.cost.hours
    return total


def makers(standings: Iterable[Standing]) -> dict[str, int]:
    """Host -> how many done artifacts it made, the most first; "unknown" where a record names none."""
    return dict(Counter(one.host or "unknown" for one in standings if one.state == "done").most_common())


class Estimate(NamedTuple):
    """Hours by unit that artifacts will take; `unknown` counts those that nothing done is like."""

    hours: dict[str, float]
    unknown: int


def left(standings: Iterable[Standing], done: Iterable[Standing]) -> Estimate:
    """What the unfinished among `standings` will take, to judge by `done` ones.

    Each takes the median of those of its group, else of its command and backbone, else of its command; where some ran
    on a GPU and some did not, of the larger part of them.
    """
    known: dict[tuple[str | None, ...], list[Spent]] = defaultdict(list)
    for one in done:
        if one.cost:
            for depth in (4, 2, 1):
                known[one.group[:depth]].append(one.cost)
    typical = {key: _median(found) for key, found in known.items()}
    hours, unknown = {"gpu": 0.0, "core": 0.0}, 0
    for one in standings:
        if one.state == "done":
            continue
        if cost := next((typical[key] for depth in (4, 2, 1) if (key := one.group[:depth]) in typical), None):
            hours[cost.unit] += cost.hours
        else:
            unknown += 1
    return Estimate(hours, unknown)


def _median(found: list[Spent]) -> Spent:
    by_unit = {unit: [cost.hours for cost in found if cost.unit == unit] for unit in ("gpu", "core")}
    unit = max(by_unit, key=lambda name: len(by_unit[name]))
    return Spent(unit, median(by_unit[unit]))


@dataclass(frozen=True)
class Grid:
    """The runs of one backbone and regime (sample seeds of few-shot together): counts by variant, task and command."""

    backbone: str
    regime: str
    tasks: list[str]  # columns; the union of tasks, where trainings read it, is the first
    rows: dict[str, dict[str, dict[str, Counter[str]]]]  # variant -> task -> train | evaluate -> artifacts by state

    def total(self, command: str) -> Counter[str]:
        """Artifacts by state, over all cells."""
        return sum(
            (counts.get(command, Counter()) for cells in self.rows.values() for counts in cells.values()), Counter()
        )


def grids(study: Study, standings: Iterable[Standing]) -> list[Grid]:
    """Trainings (trials among them) and evaluations, in the order of the scale."""
    found: dict[tuple[str, str], dict[str, dict[str, dict[str, Counter[str]]]]] = {}
    for one in standings:
        if cell := one.job.cell:
            rows = found.setdefault((cell.backbone, str(cell.parsed_regime.of_any_sample)), {})
            counts = rows.setdefault(cell.variant, {}).setdefault(cell.task, {})
            counts.setdefault(one.job.command, Counter())[one.state] += 1
    tasks = {name: n for n, name in enumerate(study.tasks)}
    names = [name for part in study.scale.regimes for name in part.names]
    regimes = dict.fromkeys(str(Regime.parse(name).of_any_sample) for name in names)
    result = []
    for key in itertools.product(study.scale.backbones, regimes):
        if not (rows := found.get(key, {})):
            continue
        columns = sorted({task for cells in rows.values() for task in cells}, key=lambda task: tasks.get(task, -1))
        result.append(Grid(*key, columns, {name: rows[name] for name in study.scale.variants if name in rows}))
    return result


def as_json(study: Study, standings: dict[Path, Standing]) -> dict[str, Any]:
    """The whole survey as one document."""
    everything = list(standings.values())
    phases: dict[str, list[Standing]] = defaultdict(list)
    for one in everything:
        phases[one.job.phase].append(one)

    def totals(members: list[Standing]) -> dict[str, Any]:
        count, rest = Counter(one.state for one in members), left(members, everything)
        return {
            "artifacts": len(members),
            "states": {name: count[name] for name in STATES},
            "spent_hours": costs(members),
            "left_hours": rest.hours,
            "left_unknown": rest.unknown,
        }

    return {
        "scale": study.scale_name,
        **totals(everything),
        "phases": {phase: totals(members) for phase, members in phases.items()},
        "made_by": makers(everything),
        "grids": [vars(one) for one in grids(study, everything)],
        "not_done": [
            {"folder": str(one.job.folder), "command": one.job.command, "state": one.state, "why": one.why,
             "mark": one.mark, "log": None, "cluster_log": None, **one.logs}
            for one in everything if one.state != "done"
        ],
        "overflowed": {str(one.job.folder): one.overflow for one in everything if one.overflow},
    }  # fmt: skip
