"""What the page embeds of each cell: its runs, its learning curve, and the jobs that it rests on."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from dp import files, paths
from dp.jobs.made import Made
from dp.report.checklist import NOT_SETTINGS, flat
from dp.report.findings import Findings
from dp.report.page import curves
from dp.results.groups import by_row
from dp.results.runs import Run
from dp.results.table import Row, seconds_of
from dp.study.study import Study

T = TypeVar("T")
UNSAID = ("status", "started", "outputs", "peak_memory_mib", "gpu_peak_memory_mib", "label_counts", "labels")
RUN_LEVEL = ("train", "evaluate")


@dataclass(frozen=True)
class Traced:
    """`data`: what becomes JSON. `cells_of`: a row's digests of runs -> the numbers of the cells in data["cells"]."""

    data: dict[str, Any]
    cells_of: Callable[[Row], list[int]]


class Numbered(Generic[T]):
    """Each text, or row of steps, once; others hold its number."""

    def __init__(self) -> None:
        self.numbers: dict[T, int] = {}

    def __call__(self, one: T) -> int:
        return self.numbers.setdefault(one, len(self.numbers))


def data(found: Findings, made: list[Made]) -> Traced:
    """`made`: every job, upstream first."""
    study, strings = found.study, Numbered[str]()
    cells = by_row(found.runs)
    number_of = {run.digest[:12]: n for n, members in enumerate(cells.values()) for run in members}
    jobs = {job.folder.as_posix(): job for job in made}
    upstream = {folder: [one.as_posix() for one in job.job.upstream] for folder, job in jobs.items()}
    shared = {job.folder.as_posix(): n for n, job in enumerate(job for job in made if job.command not in RUN_LEVEL)}
    surroundings, steps = Numbered[str](), Numbered[tuple[int, ...]]()
    usual = _usual(cells.values(), jobs)
    embedded = []
    for members in cells.values():
        trained = list(dict.fromkeys(run.training.as_posix() for run in members if run.training))
        evaluated = [run.folder.as_posix() for run in members]
        trainings, folders = (list(dict.fromkeys(one.rpartition("/")[0] for one in of)) for of in (trained, evaluated))
        of_training, of_evaluation = ([below for one in of for below in upstream[one]] for of in (trained, evaluated))
        embedded.append({
            "at": [strings(folder.removeprefix(_prefix(paths.EVALUATE, study))) for folder in folders],
            "trained": [strings(folder.removeprefix(_prefix(paths.TRAIN, study))) for folder in trainings],
            "metrics": [strings(name) for name in members[0].metrics["metrics"]],
            "runs": [_run(run, folders, trainings, strings) for run in members],
            "code": [list(dict.fromkeys(strings(jobs[one].code) for one in of)) for of in (trained, evaluated)],
            "with": [list(dict.fromkeys(surroundings(_surroundings(jobs[one])) for one in of))
                     for of in (trained, evaluated)],
            "below": [_numbers(shared, of_training), _numbers(shared, of_evaluation)],
            "from": [strings(folder) for folder in dict.fromkeys(of_training) if jobs[folder].command == "train"],
            "facts": [strings(text) for text in _facts(members[0])],
            "settings": [strings(text) for text in _settings(members[0], jobs, usual)],
            "curve": curves.of(members, steps),
        })  # fmt: skip
    known = {
        "scale": study.scale_name,
        "report": paths.report(study.scale_name).as_posix(),
        "evaluate": _prefix(paths.EVALUATE, study),
        "train": _prefix(paths.TRAIN, study),
        "command": _command(study),
        "strings": list(strings.numbers),
        "surroundings": list(surroundings.numbers),
        "steps": list(steps.numbers),
        "jobs": [_job(jobs[folder], upstream[folder], shared) for folder in shared],
        "cells": embedded,
    }

    def cells_of(row: Row) -> list[int]:
        digests = str(row.get("runs") or "").split(";")
        return list(dict.fromkeys(number_of[one] for one in digests if one in number_of))

    return Traced(known, cells_of)


def _prefix(phase: Path, study: Study) -> str:
    return f"{(phase / study.scale_name).as_posix()}/"


def _command(study: Study) -> str:
    """How Snakemake is called for files of this report, which follow it."""
    params = study.params
    tasks = f"[{','.join(params.tasks)}]" if params.tasks else None
    settings = {"scale": study.scale_name, "source": params.source, "folder": params.folder, "tasks": tasks}
    config = [shlex.quote(f"{key}={value}") for key, value in settings.items() if value is not None]
    return " ".join(["snakemake --cores all --config", *config, "--"])


def _run(run: Run, folders: list[str], trainings: list[str], strings: Numbered[str]) -> list[Any]:
    """[folder, training folder, its name, training's name, digest, why collapsed, step, of steps, seconds, *values]

    Of a run that overflowed the step and the values are None, and it says why in place of a collapse.
    """
    made = run.trained["made"] if run.trained else {}
    return [
        folders.index(run.folder.parent.as_posix()),
        trainings.index(run.training.parent.as_posix()) if run.training else None,
        run.folder.name,
        run.training.name if run.training else None,
        run.digest[:12],
        strings(run.metrics["collapsed_because"] or run.overflow or ""),
        made.get("selected_step"),
        made.get("steps"),
        seconds_of(run.trained) if run.trained else None,
        *(one and round(100 * one["value"], 4) for one in run.metrics["metrics"].values()),
    ]


def _surroundings(job: Made) -> str:
    """Commit, machine and packages of a job, a line each."""
    said = job.record["with"]
    tree = {True: "uncommitted changes", False: "clean tree"}.get(said.get("dirty"), "not known whether clean")
    lines = [f"commit {said['commit']}, {tree}" if said.get("commit") else "no commit"]
    lines += [f"{name} {said[key]}" for name, key in (("host", "host"), ("device", "device"), ("CUDA", "cuda"),
              ("Python", "python"), ("platform", "platform"), ("threads", "threads"))
              if said.get(key) is not None]  # fmt: skip
    packages = said.get("packages") or {}
    lines.append("packages " + ", ".join(f"{name} {version}" for name, version in packages.items() if version))
    return "\n".join(lines)


def _job(job: Made, upstream: list[str], shared: dict[str, int]) -> dict[str, Any]:
    made = job.record["made"]
    facts = [f"{key.replace('_', ' ')}: {_said(value)}" for key, value in made.items()
             if key not in UNSAID and value not in (None, {}, [])]  # fmt: skip
    return {
        "folder": job.folder.as_posix(),
        "command": job.command,
        "digest": files.sha256(job.folder / "record.json")[:12],
        "facts": facts,
        "outputs": [f"{name} sha256:{digest}" for name, digest in made["outputs"].items()],
        "below": _numbers(shared, upstream),
    }


def _said(value: Any) -> str:
    """`rows: train 80, validation 100`; lists inside are logs, which the record holds."""
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{key} {one}" for key, one in value.items() if not isinstance(one, list))


def _numbers(shared: dict[str, int], folders: Iterable[str]) -> list[int]:
    return list(dict.fromkeys(shared[folder] for folder in folders if folder in shared))


def _facts(run: Run) -> list[str]:
    """What a reader asks of a training: how much was tuned, on how many rows, and what selected the step."""
    if run.trained is None:
        return ["not trained"]
    made = run.trained["made"]
    names = {"trainable_parameters": "parameters tuned", "backbone_frozen": "backbone frozen",
             "train_rows": "rows trained on", "setting": "chosen by the search"}  # fmt: skip
    facts = [f"{name}: {made[key]}" for key, name in names.items() if made.get(key) is not None]
    selection = made.get("selection") or {}
    return facts + [f"selection {key}: {selection[key]}" for key in ("rule", "rows") if key in selection]


def _settings(run: Run, jobs: dict[str, Made], usual: dict[str, str]) -> list[str]:
    """The variant's definition, and the parameters that most trainings of the scale have otherwise."""
    asked = _asked(run, jobs)
    definition = [f"{key}: {value}" for key, value in _told(asked.get("definition") or {})]
    return definition + [f"{key}: {value} (mostly {usual[key]})" for key, value in _parameters(asked)
                         if usual.get(key, value) != value]  # fmt: skip


def _usual(cells: Iterable[list[Run]], jobs: dict[str, Made]) -> dict[str, str]:
    """Parameter -> its most frequent value among the scale's trained cells."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for members in cells:
        if members[0].training:
            for key, value in _parameters(_asked(members[0], jobs)):
                counts[key][value] += 1
    return {key: sorted(count.items(), key=lambda one: (-one[1], one[0]))[0][0] for key, count in counts.items()}


def _asked(run: Run, jobs: dict[str, Made]) -> dict[str, Any]:
    return jobs[(run.training or run.folder).as_posix()].record["asked"]


def _parameters(asked: dict[str, Any]) -> list[tuple[str, str]]:
    return _told({key: value for key, value in asked.items() if key not in NOT_SETTINGS})


def _told(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, str(value)) for key, value in flat(values) if value != []]
