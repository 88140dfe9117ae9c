"""docs/demo: the one committed copy of results, and whether code and parameters at hand would make it again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from dp import files, paths
from dp.errors import UserError
from dp.jobs import record
from dp.jobs.closure import code_digest
from dp.jobs.project import is_of_project, project_digest
from dp.jobs.stale import changed_modules, first_difference
from dp.study.resolve import jobs, parameters
from dp.study.study import Study

SCALE = "demo"
FOLDER = Path("docs") / SCALE
FILES = (
    "predictions.md", "predictions.csv", "null_task.csv", "planted_choices.csv", "results.csv",
    "figures/predictions.csv", "figures/predictions.png", "figures/planted_choices.csv", "figures/planted_choices.png",
)  # fmt: skip
REMEDY = f"Commit, run `snakemake --cores all --config scale={SCALE}`, then `python -m dp publish`, and commit {FOLDER}"


def publish(study: Study) -> None:
    """Copy FILES and the record of the scale's report to FOLDER.

    Raises UserError for another scale than SCALE, and where a clean tree would make another report now.
    """
    if study.scale_name != SCALE:
        raise UserError(f"publish: the committed results are of scale '{SCALE}', not '{study.scale_name}'.")
    report = paths.report(SCALE)
    found = list(problems(study, report))
    if found:
        raise UserError(f"publish: {report} is not what a commit makes: {'; '.join(found)}. {REMEDY}.")
    for name in (*FILES, "record.json"):
        with files.replacing(FOLDER / name) as beside:
            shutil.copyfile(report / name, beside)
    kept = {FOLDER / name for name in (*FILES, "record.json")}
    for path in FOLDER.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()


def problems(study: Study, folder: Path = FOLDER) -> Iterator[str]:
    """Why a copy of a report is not what code and parameters at hand make, file by file."""
    try:
        made = record.read(folder)
    except UserError as error:
        yield str(error)
        return
    for name in FILES:
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
    if changed := changed_modules(made, "report"):
        yield f"code of report changed: {', '.join(changed)}"
    for command, digests in facts.get("code", {}).items():
        if digests != sorted({code_digest(command, job.family) for job in wanted.values() if job.command == command}):
            yield f"code of {command} changed"
    for path, digest in made["used"]["inputs"].items():
        if is_of_project(path) and project_digest(path) != digest:
            yield f"{path} changed"
