"""Results that outlive the code that made them: a sample is made again, and, where it is the same, the rest is adopted.

The evidence stands beside each record (`dp.jobs.adoption`), and neither records nor results change (docs/adopt.md).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from dp import files
from dp.data.regime import Regime
from dp.errors import UserError
from dp.jobs import adoption, made, record
from dp.jobs.adoption import Adoption, Retrial
from dp.jobs.closure import code_digest
from dp.jobs.inputs import inputs_of, verified
from dp.jobs.job import Job
from dp.jobs.made import Made
from dp.jobs.mark import read as read_mark
from dp.jobs.stale import CODE, now_of
from dp.lineage.compare import different, different_file
from dp.numerics import seeds
from dp.sources.cache import cache
from dp.tasks.model import load as load_task

Compute = Callable[[Job, Path, dict[str, str]], dict[str, Any]]
"""Makes a job's outputs in a folder, from what it reads (path -> sha256), and returns its facts."""
SEED = 0
"""Of the sample."""
TOLERANCE = 1e-3
"""Of numbers that a GPU made (`dp.lineage.compare`); what a CPU made is compared by its bytes."""
NEVER = "was never made"
OF_THE_RECORD = ("status", "outputs", "started", "wall_seconds", "peak_memory_mib", "gpu_peak_memory_mib")
"""Facts in `made` that the record itself adds."""
OF_THE_MACHINE = ("parts_of_a_pass", "compiled")
"""Facts that the machine at hand decides."""
SURROUNDINGS = ("python", "packages", "platform", "processor_count")
"""Of this process, that change bytes: what was found the same under others is made again."""


class Kind(NamedTuple):
    """Jobs that the same lines of code make: one of them stands for all.

    made_by: digest of the code and kind of processor that made them; what one code made says nothing of another's.
    """

    command: str
    backbone: str
    what: str
    made_by: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in self[:3] if part)


@dataclass
class Candidates:
    """Of a scale's jobs but its report: `stale` by code alone, by kind; why each `other` is not as it should be."""

    stale: dict[Kind, list[Made]] = field(default_factory=dict)
    other: dict[Path, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.stale.values()))


class Outcome(NamedTuple):
    """Of one job that was made again: the first difference, or None. `how`: what was compared."""

    job: Job
    why: str | None
    how: str


def survey(jobs: Iterable[Job]) -> Candidates:
    """What may be adopted. Raises UserError where outputs are not what their record says: nothing rests on those."""
    result, digests = Candidates(), dict[str, str]()
    now = now_of(digests)
    for job in jobs:
        if job.command == "report":
            continue
        try:
            member = made.read(job)
        except ValueError as error:
            result.other[job.folder] = str(error)
            continue
        if member is None:
            result.other[job.folder] = NEVER
            continue
        digests |= member.outputs
        if (mark := read_mark(job.folder)) and mark["state"] == "running":
            result.other[job.folder] = f"is being made (process {mark['pid']} on {mark['host']})"
            continue
        reasons = list(member.reasons(now))
        below = next((f"rests on {folder}" for folder in job.upstream if folder in result.other), None)
        if why := below or next((reason for reason in reasons if not reason.startswith(CODE)), None):
            result.other[job.folder] = why
        elif reasons:
            verified(job.folder)
            made_by = f"{member.said('used', 'code', 'digest')} on {'cpu' if _on_cpu(member) else 'gpu'}"
            result.stale.setdefault(kind_of(job)._replace(made_by=made_by), []).append(member)
    return result


def kind_of(job: Job) -> Kind:
    """Command, backbone, and what else decides which lines of code a job runs: kind of variant, regime, metrics."""
    asked = job.asked
    match job.command:
        case "fetch-task":
            return Kind(job.command, "", f"{asked['task']} from {asked['source']}")
        case "fetch-backbone":
            return Kind(job.command, job.folder.name, asked["source"]["kind"])
        case "tokenize":
            return Kind(job.command, asked["backbone"], asked["task"])
        case "features":
            return Kind(job.command, asked["backbone"], asked["pooling"])
        case "choose":
            return Kind(job.command, job.folder.parts[3], asked["method"])
    definition = asked["definition"]
    factors = (_factor(definition[key], asked["learned"].get(key))
               for key in ("position", "length", "representation") if key in definition)  # fmt: skip
    of = definition.get("baseline") or " x ".join(factors)
    parts = [("control of " if asked["control"] else "") + of, Regime.parse(asked["regime"]).kind]
    parts += ["linear head"] if asked["head"] == "linear" else []
    parts += ["trial"] if job.cell and job.cell.trial is not None else []
    if job.command == "evaluate":
        parts += [name for name in load_task(asked["task"]).metrics if name != "accuracy"]
    return Kind(job.command, asked["backbone"], ", ".join(parts + asked["switches"]))


def _factor(value: Any, learned: str | None) -> str:
    """A fixed number of vectors or a fixed split is one kind, whatever the number. learned: frozen, and of what."""
    return f"frozen {learned}" if learned else "fixed" if isinstance(value, int) else str(value)


def sample(members: list[Made], count: int) -> list[Made]:
    """The first `count` in a seeded order, so that a larger sample holds a smaller one."""
    return sorted(members, key=lambda one: seeds.derive(SEED, "adoption sample", str(one.folder)))[:count]


def tried(members: Iterable[Made], compute: Compute) -> Iterator[Outcome]:
    """Make jobs again in a scratch folder and compare. What was found the same is not made again by the next call."""
    kept = cache() / "adopt"
    here = {key: value for key, value in record.environment().items() if key in SURROUNDINGS}
    kept.mkdir(parents=True, exist_ok=True)
    for member in members:
        code = code_digest(member.command, member.job.family)
        same = kept / files.digest([str(member.folder), member.digest, code, here])
        how = "bytes" if _on_cpu(member) else f"numbers within {TOLERANCE:g}"
        if same.is_file():
            yield Outcome(member.job, None, how)
            continue
        with TemporaryDirectory(dir=kept) as scratch:  # its own: another call may work beside it
            why = _difference(member, Path(scratch), compute)
        if why is None:
            same.touch()
        yield Outcome(member.job, why, how)


def _difference(member: Made, scratch: Path, compute: Compute) -> str | None:
    from dp.numerics.devices import is_cpu  # imports torch

    job, tolerance = member.job, 0.0 if _on_cpu(member) else TOLERANCE
    if "compute" in job.asked and _on_cpu(member) != is_cpu(job.asked["compute"]["device"]):
        here, hide = ("a GPU", "; CUDA_VISIBLE_DEVICES= hides it") if _on_cpu(member) else ("a CPU", "")
        return f"was made on {member.said('with', 'device')}, and would be made on {here} here{hide}"
    try:
        facts = compute(job, scratch, inputs_of(job))
    except UserError as error:
        return f"cannot be made again: {error}"
    for name in job.outputs:
        if why := different_file(job.folder / name, scratch / name, tolerance):
            return f"{name}: {why}{_elsewhere(member)}"
    old = {key: value for key, value in member.record["made"].items() if key not in OF_THE_RECORD + OF_THE_MACHINE}
    new = {key: value for key, value in facts.items() if key not in ("status", *OF_THE_MACHINE)}
    why = different(old, json.loads(json.dumps(new)), tolerance)
    return f"{why}, in its record's `made`" if why else None


def _elsewhere(member: Made) -> str:
    """What of the surroundings is other than when it was made: that, too, can change bytes."""
    here = record.environment()
    other = [key for key in ("platform", "processor_count", "threads", "device")
             if member.said("with", key) not in (None, here[key])]  # fmt: skip
    packages = member.said("with", "packages") or {}
    other += [name for name in ("torch", "transformers", "numpy") if packages.get(name) != here["packages"][name]]
    return f" (and it was made with another {', '.join(other)})" if other else ""


def _on_cpu(member: Made) -> bool:
    return member.said("with", "device") == "cpu"


def adopt(jobs: Iterable[Job], found: Candidates, outcomes: Iterable[Outcome]) -> tuple[list[Path], dict[Path, str]]:
    """Write the evidence beside what it holds for. Folders that were adopted; and, of those that were not, why.

    A kind is adopted where all that was made again of it is the same, and of it what rests on nothing that is not.
    """
    stale = {member.folder: (kind, member) for kind, of_kind in found.stale.items() for member in of_kind}
    by_kind: dict[Kind, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        by_kind[stale[one.job.folder][0]].append(one)
    refused, adopted = dict(found.other), list[Path]()
    state, day = record.commit(), datetime.now(UTC).date().isoformat()
    for job in jobs:
        if job.folder not in stale:
            continue
        kind, member = stale[job.folder]
        tries = by_kind[kind]
        wrong = next((f"{one.job.folder} is another: {one.why}" for one in tries if one.why), None)
        if below := next((folder for folder in job.upstream if folder in refused), None):
            wrong = wrong or f"rests on {below}, which is not adopted"
        if wrong or not tries:
            refused[job.folder] = wrong or "none of its kind was made again"
            continue
        again = [str(one.job.folder) for one in tries]
        evidence = Retrial(kind=str(kind), made_again=again, of=len(found.stale[kind]), how=tries[0].how, seed=SEED)
        was, now = str(member.said("used", "code", "digest")), code_digest(job.command, job.family)
        vouched = Adoption(record=member.digest, was=was, now=now, day=day, evidence=evidence, **state)
        adoption.write(job.folder, vouched)
        adopted.append(job.folder)
    return adopted, {folder: why for folder, why in refused.items() if folder not in found.other}
