"""How far a scale is: what became of each of its artifacts, what they took, and what the rest will take."""

import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from dp import paths
from dp.jobs import state
from dp.jobs.artifacts import Artifact, artifacts
from dp.jobs.closure import code_digest
from dp.jobs.record import unsealed
from dp.jobs.stale import Now, now_of, other_inputs
from dp.study.study import Study

State = Literal["done", "running", "failed", "stale", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "stale", "missing")


class Cost(NamedTuple):
    """`unit` is gpu or core; hours of a GPU, or of a CPU times its threads."""

    unit: str
    hours: float


@dataclass(frozen=True)
class Made:
    """What the survey needs of one record. `digest`: of record.json."""

    command: str
    asked: dict[str, Any]
    code: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    cost: Cost
    digest: str
    overflow: str | None


@dataclass(frozen=True)
class Standing:
    """What became of one artifact. `why`: of a stale or missing one, unless it was simply never made. `overflow`: of a
    done one that ended in this status and in no number, the reason."""

    artifact: Artifact
    state: State
    why: str | None = None
    mark: dict[str, Any] | None = None
    cost: Cost | None = None  # of a done one
    overflow: str | None = None

    @property
    def group(self) -> tuple[str, str | None, str | None, str | None]:
        """(command, backbone, kind of regime, variant): artifacts of one group cost about the same."""
        one = self.artifact
        match one.command:
            case "train" | "evaluate" | "choose":
                backbone, regime, _, variant = one.folder.parts[3:7]
                return one.command, backbone, regime.partition("-")[0], variant
            case "tokenize" | "features":
                return one.command, one.folder.parts[3], None, None
            case "fetch-backbone":
                return one.command, one.folder.name, None, None
        return one.command, None, None, None

    @property
    def log(self) -> Path:
        """What the job printed, where Snakemake ran it."""
        return paths.LOGS / self.artifact.folder.relative_to(paths.RESULTS).with_name(
            f"{self.artifact.folder.name}.log"
        )


class Survey:
    """Looks at a study's artifacts, again and again: a record is read once for each time that it is written."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.artifacts = artifacts(study)
        self._seen: dict[Path, tuple[tuple[int, int, int], Made | None]] = {}

    @cached_property
    def _code(self) -> dict[str, str]:
        return {command: code_digest(command) for command in {one.command for one in self.artifacts.values()}}

    def standings(self) -> dict[Path, Standing]:
        """Folder -> standing of every artifact, upstream first.

        done: the record is there with all its outputs, and was made of these parameters, this code and these inputs,
        which are done themselves; stale: it is there, but was not. A mark of a running job goes before both, that of a
        failed one before all but done. What was killed is missing.
        """
        found: dict[Path, Standing] = {}
        digests: dict[str, str] = {}
        doubtful: set[Path] = set()
        now = now_of(digests, doubtful)
        for folder, artifact in self.artifacts.items():
            found[folder] = self._standing(artifact, found, now)
            made = self._made(folder)[0]
            if made:
                digests |= {f"{folder}/{name}": digest for name, digest in made.outputs.items()}
                digests[f"{folder}/record.json"] = made.digest
            else:
                doubtful.add(folder)
        return found

    def _standing(self, artifact: Artifact, found: dict[Path, Standing], now: Now) -> Standing:
        folder = artifact.folder
        made, why = self._made(folder)
        mark = state.read(folder)
        if made:
            why = _gone(folder, made) or self._changed(artifact, made, now)
            if why is None and (other := next((up for up in artifact.upstream if found[up].state != "done"), None)):
                why = f"what it reads is {found[other].state}"
        if mark and mark["state"] == "running":
            return Standing(artifact, "running", mark=mark)
        if made and why is None:
            return Standing(artifact, "done", cost=made.cost, overflow=made.overflow)
        if mark and mark["state"] == "failed":
            return Standing(artifact, "failed", mark=mark)
        if why and why != GONE:
            return Standing(artifact, "stale", why)
        if mark:
            return Standing(artifact, "missing", KILLED_TRAINING if artifact.command == "train" else KILLED, mark)
        return Standing(artifact, "missing", why)

    def _made(self, folder: Path) -> tuple[Made | None, str | None]:
        path = folder / "record.json"
        try:
            facts = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._seen.pop(folder, None)
            return None, None
        stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if folder not in self._seen or self._seen[folder][0] != stamp:
            self._seen[folder] = stamp, _read(path)
        made = self._seen[folder][1]
        return made, None if made else "its record cannot be read"

    def _changed(self, artifact: Artifact, made: Made, now: Now) -> str | None:
        for key, value in artifact.asked.items():
            if key not in made.asked or made.asked[key] != value:
                return f"parameter {key} changed"
        if made.code != self._code[artifact.command]:
            return f"code of {artifact.command} changed"
        if any(other_inputs(artifact, made.inputs, now)):
            return "what it reads changed"
        return None


GONE = "an output is gone"
KILLED = "killed; the same command runs again"
KILLED_TRAINING = "killed; resumes from its last checkpoint"


def _gone(folder: Path, made: Made) -> str | None:
    base = f"{folder}{os.sep}"
    return None if all(os.path.isfile(base + name) for name in made.outputs) else GONE


def _read(path: Path) -> Made | None:
    """None where it is no record."""
    try:
        content = path.read_bytes()
        record = unsealed(content)
        made, environment, used = record["made"], record["with"], record["used"]
        hours = made["wall_seconds"] / 3600
        on_gpu = environment["device"] != "cpu"
        cost = Cost("gpu", hours) if on_gpu else Cost("core", hours * (environment["threads"] or 1))
        inputs = {sys.intern(name): sys.intern(digest) for name, digest in used["inputs"].items()}
        digest, over = hashlib.sha256(content).hexdigest(), made.get("overflow")
        return Made(record["command"], record["asked"], used["code"]["digest"], inputs, made["outputs"], cost, digest,
                    over["why"] if over else None)  # fmt: skip
    except (ValueError, OSError):
        return None


def costs(standings: Iterable[Standing]) -> dict[str, float]:
    """Hours by unit, of those that are done."""
    total = {"gpu": 0.0, "core": 0.0}
    for one in standings:
        if one.cost:
            total[one.cost.unit] += one.cost.hours
    return total


class Estimate(NamedTuple):
    """Hours by unit that artifacts will take; `unknown` counts those that nothing done is like."""

    hours: dict[str, float]
    unknown: int


def left(standings: Iterable[Standing], done: Iterable[Standing]) -> Estimate:
    """What the unfinished among `standings` will take, to judge by `done` ones.

    Each takes the median of those of its group, else of its command and backbone, else of its command; where some ran
    on a GPU and some did not, of the larger part of them.
    """
    known: dict[tuple[str | None, ...], list[Cost]] = defaultdict(list)
    for one in done:
        if one.cost:
            for depth in (4, 2, 1):
                known[one.group[:depth]].append(one.cost)
    typical = {key: _median(found) for key, found in known.items()}
    hours, unknown = {"gpu": 0.0, "core": 0.0}, 0
    for one in standings:
        if one.state != "done":
            cost = next((typical[key] for depth in (4, 2, 1) if (key := one.group[:depth]) in typical), None)
            if cost:
                hours[cost.unit] += cost.hours
            else:
                unknown += 1
    return Estimate(hours, unknown)


def _median(found: list[Cost]) -> Cost:
    by_unit = {unit: [cost.hours for cost in found if cost.unit == unit] for unit in ("gpu", "core")}
    unit = max(by_unit, key=lambda name: len(by_unit[name]))
    return Cost(unit, median(by_unit[unit]))


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
        cell = one.artifact.cell
        if cell:
            rows = found.setdefault((cell.backbone, _without_sample(cell.regime)), {})
            counts = rows.setdefault(cell.variant, {}).setdefault(cell.task, {})
            counts.setdefault(one.artifact.command, Counter())[one.state] += 1
    order = {name: n for n, name in enumerate(study.scale.variants)}
    tasks = {name: n for n, name in enumerate(study.tasks)}
    regimes = list(dict.fromkeys(_without_sample(name) for regime in study.scale.regimes for name in regime.names))
    result = []
    for backbone in study.scale.backbones:
        for regime in regimes:
            rows = found.get((backbone, regime), {})
            columns = sorted({task for cells in rows.values() for task in cells}, key=lambda task: tasks.get(task, -1))
            if rows:
                ordered = {name: rows[name] for name in sorted(rows, key=order.__getitem__)}
                result.append(Grid(backbone, regime, columns, ordered))
    return result


def _without_sample(regime: str) -> str:
    """fewshot-k8 of fewshot-k8-s0."""
    return "-".join(regime.split("-")[:2]) if regime.startswith("fewshot-") else regime


def as_json(study: Study, standings: dict[Path, Standing]) -> dict[str, Any]:
    """The whole survey as one document."""
    everything = list(standings.values())
    phases: dict[str, list[Standing]] = defaultdict(list)
    for one in everything:
        phases[one.artifact.phase].append(one)

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
        "grids": [
            {"backbone": one.backbone, "regime": one.regime, "tasks": one.tasks, "rows": one.rows}
            for one in grids(study, everything)
        ],
        "not_done": [
            {"folder": str(one.artifact.folder), "command": one.artifact.command, "state": one.state, "why": one.why,
             "mark": one.mark, "log": str(one.log) if one.log.is_file() else None}
            for one in everything if one.state != "done"
        ],
        "overflowed": {str(one.artifact.folder): one.overflow for one in everything if one.overflow},
    }  # fmt: skip
