"""The commands that make an artifact: each resolves one job, and hands it to what computes it."""

import argparse
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dp import files
from dp.backbones.definition import BackboneEntry
from dp.closed import one_of
from dp.commands import common
from dp.data import enough
from dp.errors import Interrupted, UserError
from dp.jobs import pins
from dp.jobs.closure import code_digest
from dp.jobs.inputs import inputs_of
from dp.jobs.job import Cell, Job
from dp.jobs.record import recording
from dp.study import grid, needs, resolve
from dp.study.params import FewShot
from dp.study.study import Catalogue, Study
from dp.tasks.model import Task
from dp.tasks.model import load as load_task

Rows = list[dict[str, Any]]

ARGUMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "fetch-task": {"--task": {}},
    "fetch-backbone": {"--backbone": {}},
    "tokenize": {"--backbone": {}, "--task": {}},
    "features": {
        "--backbone": {},
        "--task": {},
        "--pooling": {
            "choices": ("masked_mean", "padded_mean"),
            "default": "masked_mean",
            "help": "padded_mean: over all max_tokens positions (paper.md section 1)",
        },
    },
    "train": {"--run": {"help": "backbone/regime/task/variant/seed<n> or .../trial<n>"}},
    "choose": {"--variant": {"help": "backbone/regime/task/variant"}},
    "evaluate": {"--run": {"help": "backbone/regime/task/variant/seed<n>"}},
    "report": {},
}
"""Command -> its arguments, all of them required but those with a default."""


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    for name, options in ARGUMENTS[command].items():
        parser.add_argument(name, required="default" not in options, **options)


def run(arguments: argparse.Namespace) -> None:
    """Make the artifact that the arguments name. Raises UserError where the scale has none of that name."""
    match arguments.command:
        case "fetch-task":
            catalogue = common.catalogue(arguments)
            make(resolve.rows_job(catalogue, load_task(arguments.task).name), catalogue)
        case "fetch-backbone":
            catalogue = common.catalogue(arguments)
            known, why = catalogue.params.backbones, "params.yaml defines no such backbone"
            make(resolve.backbone_job(catalogue, one_of("--backbone", arguments.backbone, known, why)), catalogue)
        case _:
            study = common.study(arguments)
            if arguments.command == "train":
                _train(study, common.chosen(study, grid.needed_trainings(study), arguments.run))
            else:
                make(_job(study, arguments), study)


def _job(study: Study, arguments: argparse.Namespace) -> Job:
    scale = f"scale '{study.scale_name}'"
    if arguments.command in ("tokenize", "features"):
        one_of("--backbone", arguments.backbone, study.scale.backbones, f"{scale} has no such backbone")
        one_of("--task", arguments.task, study.tasks, f"{scale} has no such task from source '{study.source}'")
    match arguments.command:
        case "tokenize":
            needs.check_tasks(study)
            return resolve.tokens_job(study, arguments.backbone, arguments.task)
        case "features":
            return resolve.features_job(study, arguments.backbone, arguments.task, arguments.pooling)
        case "choose":
            if study.scale.search is None:
                raise UserError(f"{scale} has no search, so there is nothing to choose.")
            cells = {cell.variant_path: cell for cell in grid.trainings(study)}
            name = one_of("--variant", arguments.variant, cells, f"{scale} trains no such variant")
            return resolve.choice_job(study, cells[name])
        case "evaluate":
            return resolve.evaluation_job(study, common.chosen(study, grid.cells(study), arguments.run))
    from dp.results.runs import check_there

    job = resolve.report_job(study)
    check_there(one.folder / name for one in job.reads for name in one.names)
    return job


def make(job: Job, study: Study | Catalogue) -> None:
    """Compute a job into its folder, and record it."""
    inputs = inputs_of(job)
    with recording(job, inputs, _also_asked(job)) as made:
        made |= compute(job, job.folder, study, inputs)
        made |= pins.fact(job.command, made)
        inputs |= made.get("files", {})  # what was downloaded


def _train(study: Study, cell: Cell) -> None:
    """Make a training, and those that share its passes: where one fails, the others are made and recorded.

    Raises UserError or Interrupted, of the first that ended so.
    """
    beside = _beside(study, cell)
    if len(beside) == 1:
        make(beside[0], study)
        return
    inputs = {job.folder: inputs_of(job) for job in beside}
    outcomes: dict[Path, dict[str, Any] | UserError | Interrupted] = {}
    failed = []

    def recorded(left: list[Job]) -> None:
        if not left:
            outcomes.update(_trained_together(beside, {job.folder: job.folder for job in beside}, inputs))
            return
        job = left[0]
        try:
            with recording(job, inputs[job.folder]) as made:
                recorded(left[1:])
                outcome = outcomes[job.folder]
                if isinstance(outcome, Exception):
                    raise outcome
                made |= outcome
        except (UserError, Interrupted) as error:
            if error is not outcomes.get(job.folder):
                raise
            failed.append(error)

    recorded(beside)
    if failed:
        raise failed[-1]  # they end from the last to the first


def _beside(study: Study, cell: Cell) -> list[Job]:
    return [resolve.training_job(study, one) for one in grid.together(study, cell)]


def _trained_together(
    jobs: list[Job], folders: Mapping[Path, Path], inputs: Mapping[Path, dict[str, str]]
) -> dict[Path, dict[str, Any] | UserError | Interrupted]:
    """Outcome by the folder of each job. folders: where each is to write, by the same."""
    from dp.compute.train import train_together

    requests = [_request(job, folders[job.folder], inputs[job.folder]) for job in jobs]
    return dict(zip(folders, train_together(requests), strict=True))


def _request(job: Job, folder: Path, inputs: dict[str, str]) -> Any:
    from dp.compute.train import TrainingRequest

    return TrainingRequest(job.asked, job.the("backbone"), job.all("tokens"), job.all("features"), job.all("policy"),
                           job.get("choice"), folder, _identity(job, inputs))  # fmt: skip


def _one_of_several(job: Job, folder: Path, study: Study, inputs: dict[str, str]) -> dict[str, Any]:
    """One of the trainings that share passes, into a folder; the others are made beside it and thrown away."""
    assert job.cell is not None
    beside = _beside(study, job.cell)
    with TemporaryDirectory(dir=folder.parent) as scratch:
        folders = {one.folder: Path(scratch) / one.folder.name for one in beside} | {job.folder: folder}
        read = {one.folder: inputs_of(one) for one in beside} | {job.folder: inputs}
        outcome = _trained_together(beside, folders, read)[job.folder]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def compute(job: Job, folder: Path, study: Study | Catalogue, inputs: dict[str, str]) -> dict[str, Any]:
    """Write a job's outputs into a folder, its own or another, and return the facts for its record.

    inputs: as `inputs_of`.
    What computes is imported only here: no command waits for the libraries of another.
    """
    asked = job.asked
    match job.command:
        case "fetch-task":
            from dp.compute.fetch_task import fetch_task
            from dp.results import metrics

            task = load_task(asked["task"])
            metrics.check(task.metrics, len(task.label_names), f"dp/tasks/{task.name}.yaml")
            return fetch_task(task, asked["source"], asked["folder"], folder)
        case "fetch-backbone":
            from dp.compute.fetch_backbone import fetch_backbone

            return fetch_backbone(BackboneEntry.model_validate(asked), folder)
        case "features":
            from dp.compute.features import FeaturesConfig, features

            config = FeaturesConfig.model_validate(asked | {"family": job.family})
            return features(config, job.the("tokens"), job.the("backbone"), folder)
        case "train":
            from dp.compute.train import train

            if "together" in asked:
                assert isinstance(study, Study)
                return _one_of_several(job, folder, study, inputs)
            return train(_request(job, folder, inputs))
        case "choose":
            from dp.compute.choose import choose

            return choose(job.all("trial").values(), folder)
        case "evaluate":
            from dp.compute.evaluate import EvaluationConfig, evaluate

            return evaluate(EvaluationConfig.model_validate(asked), job.the("tokens"), job.get("features"),
                            job.get("backbone"), job.get("tuned"), folder)  # fmt: skip
    assert isinstance(study, Study)
    if job.command == "tokenize":
        from dp.compute.tokenize import Checks, TokensConfig, tokenize

        task = load_task(asked["task"])
        needs.check(study, asked["backbone"])
        checks = Checks(partial(_check_rows, study, task),
                        partial(needs.check_positions, study, asked["backbone"], task.name))  # fmt: skip
        return tokenize(TokensConfig.model_validate(asked), task, job.the("rows"), job.the("backbone"), folder, checks)
    from dp.compute.report import report

    return report(study, folder)


def _check_rows(study: Study, task: Task, chosen: dict[str, Rows], official: Rows) -> None:
    """Raises UserError where a task has too few rows of a class for what the scale trains, selects and reports."""
    regimes = [one for one in study.scale.regimes if isinstance(one, FewShot) and task.name in study.tasks_in(one)]
    few_shot = [k for regime in regimes for k in regime.k]
    selects = "select_on_reported" not in study.params.protocols[study.scale.protocol]
    try:
        enough.check(chosen, official, task.label_names, few_shot, selects)
    except UserError as error:
        raise UserError(f"task '{task.name}', scale '{study.scale_name}': {error}") from None


def _also_asked(job: Job) -> dict[str, Any]:
    """What a task's file says of its source, which only the job itself looks up."""
    if job.command != "fetch-task":
        return {}
    from dp.sources.rows import source_of

    task = load_task(job.asked["task"])
    return {"version": task.version, "definition": source_of(task, job.asked["source"]).model_dump()}


def _identity(job: Job, inputs: dict[str, str]) -> str:
    """Of a training that may be resumed: what it reads, the code and torch, beside its configuration."""
    return files.digest([inputs, code_digest(job.command, job.family), metadata.version("torch")])
