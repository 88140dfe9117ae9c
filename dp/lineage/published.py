"""The committed copies of results, below docs/, and whether code and parameters at hand would make them again."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dp import files, paths
from dp.closed import one_of
from dp.errors import UserError
from dp.jobs import record
from dp.jobs.closure import code_digest
from dp.jobs.job import RECORD
from dp.jobs.project import is_of_project, project_digest
from dp.jobs.stale import changed_modules, first_difference
from dp.study.resolve import jobs, parameters
from dp.study.study import Study

_PREDICTED = (
    "predictions.md", "predictions.csv", "null_task.csv", "planted_choices.csv", "results.csv", "comparisons.csv",
    "figures/predictions.csv", "figures/predictions.png", "figures/planted_choices.csv", "figures/planted_choices.png",
)  # fmt: skip
FILES = {
    "demo": _PREDICTED,
    "planted": _PREDICTED,
    "text": (
        "results.csv",
        "comparisons.csv",
        "aggregates.csv",
        "choices.csv",
        "figures/gain_over_fixed.csv",
        "figures/gain_over_fixed.png",
        "figures/split_by_input_length.csv",
        "figures/split_by_input_length.png",
    ),
    "ablation": ("prices.csv", "results.csv", "comparisons.csv", "tables/protocol.csv", "tables/protocol.md"),
}
"""Scale -> the files of its report that are committed below docs/, with the report's record in short."""


def folder_of(scale: str, part: Sequence[str] | None = None) -> Path:
    """part: the tasks that a report is of, where they are not all of its scale; each part has a folder of its own."""
    return Path("docs", scale, *(["+".join(part)] if part else []))


def remedy(scale: str, part: Sequence[str] | None = None) -> str:
    tasks = f" 'tasks=[{','.join(part)}]'" if part else ""
    return (
        f"Commit, run `snakemake --cores all --config scale={scale}{tasks}`, then `python -m dp publish --set "
        f"scale={scale}{f' --set{tasks}' if tasks else ''}`, and commit {folder_of(scale, part)}"
    )


def part_of(study: Study) -> list[str] | None:
    return study.tasks if study.part_of_tasks else None


def publish(study: Study) -> None:
    """Copy FILES of the scale's report below docs/, with its record in short.

    Raises UserError for a scale that is not published, and where a clean tree would make another report now.
    """
    scale = study.scale_name
    one_of("publish: scale", scale, FILES, "its results are not published")
    report, folder = paths.report(scale), folder_of(scale, part_of(study))
    found = list(problems(study, report))
    if found:
        said = "; ".join(found)
        raise UserError(f"publish: {report} is not what a commit makes: {said}. {remedy(scale, part_of(study))}.")
    for name in FILES[scale]:
        with files.replacing(folder / name) as beside:
            shutil.copyfile(report / name, beside)
    files.write_json(folder / RECORD, in_short(record.read(report)))
    kept = {folder / name for name in (*FILES[scale], RECORD)}
    for path in folder.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()


def in_short(report: dict[str, Any]) -> dict[str, Any]:
    """A report's record with one digest in place of those of the jobs' files: megabytes, that only their owner can use.

    `used.jobs` has their number, the digest of the mapping path -> sha256, and the seal of the report's own record.
    """
    inputs = report["used"]["inputs"]
    own = {path: digest for path, digest in inputs.items() if is_of_project(path)}
    others = {path: digest for path, digest in inputs.items() if path not in own}
    of_jobs = {"files": len(others), "digest": files.digest(others), "seal": report["seal"]}
    rest = {key: value for key, value in report.items() if key != "seal"}
    return record.sealed(rest | {"used": report["used"] | {"inputs": own, "jobs": of_jobs}})


def problems(study: Study, folder: Path | None = None, of_code: bool = True) -> Iterator[str]:
    """Why a copy of a report is not what code and parameters at hand make, file by file.

    Without `of_code`: why it is not what its own record says, made under the parameters at hand.
    """
    folder = folder or folder_of(study.scale_name, part_of(study))
    try:
        made = record.read(folder)
    except UserError as error:
        yield str(error)
        return
    for name in FILES[study.scale_name]:
        path = folder / name
        if not path.is_file():
            yield f"{path} is missing"
        elif files.sha256(path) != made["made"]["outputs"].get(name):
            yield f"{path} differs from its record.json"
    if made["with"]["dirty"] is not False:
        yield "made from code without a commit"
    wanted = jobs(study)
    if parameter := first_difference(made["asked"], wanted[paths.report(study.scale_name)].asked):
        yield parameter
    facts = made["made"]
    if facts.get("parameters") != parameters(study):
        yield "made under other parameters of its runs"
    if not of_code:
        return
    if changed := changed_modules(made, "report"):
        yield f"code of report changed: {', '.join(changed)}"
    for command, digests in facts.get("code", {}).items():
        if digests != sorted({code_digest(command, job.family) for job in wanted.values() if job.command == command}):
            yield f"code of {command} changed"
    for path, digest in made["used"]["inputs"].items():
        if is_of_project(path) and project_digest(path) != digest:
            yield f"{path} changed"
