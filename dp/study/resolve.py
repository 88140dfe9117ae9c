"""Every job that a scale asks for, resolved: what is asked of it, and what it reads of which other job."""

from graphlib import TopologicalSorter
from pathlib import Path

from dp import files, paths
from dp.jobs.job import ADOPTED, FILES, RECORD, Cell, Job, Upstream, outputs_of
from dp.jobs.project import project_files
from dp.study import grid
from dp.study.contents import report_config, report_files
from dp.study.study import Catalogue, Study


def jobs(study: Study) -> dict[Path, Job]:
    """Folder -> job, each behind those it reads; the report is the last."""
    cells = grid.cells(study)
    encoded = sorted({(cell.backbone, cell.task) for cell in cells})
    pooled = sorted(
        {(c.backbone, c.task, grid.pooling(study, c.variant)) for c in cells if grid.needs_features(study, c.variant)}
    )
    trainings = grid.needed_trainings(study)
    searched = {cell.variant_path: cell for cell in trainings if cell.trial is None} if study.scale.search else {}
    every = [
        *(rows_job(study, task) for task in study.tasks),
        *(backbone_job(study, name) for name in study.scale.backbones),
        *(tokens_job(study, *where) for where in encoded),
        *(features_job(study, *where) for where in pooled),
        *(choice_job(study, cell) for cell in searched.values()),
        *(training_job(study, cell) for cell in trainings),
        *(evaluation_job(study, cell) for cell in cells),
    ]
    by_folder = {job.folder: job for job in every}
    order = TopologicalSorter({job.folder: job.upstream for job in every}).static_order()
    ordered = {folder: by_folder[folder] for folder in order}
    report = _report_of(study, ordered)
    return ordered | {report.folder: report}


def rows_job(study: Study | Catalogue, task: str) -> Job:
    """The canonical rows of a task."""
    folder, asked = paths.task_rows(task, study.source_of(task)), grid.rows_config(study, task)
    return Job(folder, "fetch-task", asked, FILES["fetch-task"], project=project_files("fetch-task", task))


def backbone_job(study: Study | Catalogue, name: str) -> Job:
    """A backbone's configuration, weights and tokenizer."""
    asked = grid.backbone_config(study, name)
    return Job(paths.backbone(name), "fetch-backbone", asked, FILES["fetch-backbone"], family=asked["family"])


def tokens_job(study: Study, backbone: str, task: str) -> Job:
    """Token ids of a task under a backbone, and its splits. Of the backbone it reads all but the weights."""
    rows = Upstream("rows", paths.task_rows(task, study.source_of(task)), outputs_of("fetch-task"))
    words = Upstream("backbone", paths.backbone(backbone), outputs_of("fetch-backbone", without="model.safetensors"))
    folder, asked = paths.tokens(study.scale_name, backbone, task), grid.tokens_config(study, backbone, task)
    return Job(folder, "tokenize", asked, FILES["tokenize"], (rows, words), project_files("tokenize", task),
               family=asked["family"])  # fmt: skip


def features_job(study: Study, backbone: str, task: str, pooling: str) -> Job:
    """Instance features of a task under a backbone."""
    folder = paths.features(study.scale_name, backbone, task, pooling)
    reads = (_tokens(study, backbone, task), _backbone(backbone))
    asked, family = grid.features_config(study, backbone, task, pooling), study.params.backbones[backbone].family
    return Job(folder, "features", asked, FILES["features"], reads, family=family)


def choice_job(study: Study, cell: Cell) -> Job:
    """The choice among the trials of a training's variant. Raises ValueError where the scale has no search."""
    if study.scale.search is None:
        raise ValueError(f"scale {study.scale_name} has no search")
    scale, names = study.scale_name, outputs_of("train", RECORD)
    tried = tuple(Upstream("trial", paths.train_run(scale, trial.run), names, trial.run)
                  for trial in grid.trials(study, cell))  # fmt: skip
    folder = paths.choice(scale, cell.variant_path)
    return Job(folder, "choose", study.scale.search.model_dump(), FILES["choose"], tried)


def training_job(study: Study, cell: Cell) -> Job:
    """A training, or a trial of one. It reads the tasks of a union in their order."""
    scale, tasks = study.scale_name, grid.tasks_of(study, cell)
    reads = [*_encoded(study, cell, tasks), _backbone(cell.backbone)]
    reads += [Upstream("policy", paths.train_run(scale, source.run), outputs_of("train", RECORD), factor)
              for factor, source in grid.sources(study, cell).items()]  # fmt: skip
    if study.scale.search and cell.trial is None:
        reads.append(Upstream("choice", paths.choice(scale, cell.variant_path), outputs_of("choose")))
    folder = paths.train_run(scale, cell.run)
    asked = grid.training_config(study, cell)
    return Job(folder, "train", asked, FILES["train"], tuple(reads), cell=cell, family=asked["family"])


def evaluation_job(study: Study, cell: Cell) -> Job:
    """The evaluation of a cell on the reported split of its own task."""
    reads, training = _encoded(study, cell, [cell.task]), grid.training(study, cell)
    if not study.is_majority(cell.variant):
        reads.append(_backbone(cell.backbone))
    if training:
        reads.append(Upstream("tuned", paths.train_run(study.scale_name, training.run), outputs_of("train", RECORD)))
    folder = paths.evaluation(study.scale_name, cell.run)
    asked = grid.run_config(study, cell)
    return Job(folder, "evaluate", asked, FILES["evaluate"], tuple(reads), cell=cell, family=asked["family"])


def report_job(study: Study) -> Job:
    """The report of a scale: of all its other jobs it reads the records, and what its tables and figures show."""
    return jobs(study)[paths.report(study.scale_name)]


def parameters(study: Study) -> str:
    """One digest of what the parameters decide in all jobs before the report, wherever the folder of the tasks lies."""
    asked = {one.folder.as_posix(): one.asked for one in jobs(study).values() if one.command != "report"}
    return files.digest({job: own | ({"folder": None} if "folder" in own else {}) for job, own in asked.items()})


def _report_of(study: Study, before: dict[Path, Job]) -> Job:
    shown = {one.folder for job in before.values() for one in job.reads if one.role == "tuned"}
    asked_about = study.predictions.tasks_with_questions if study.predictions else []
    questions = {paths.task_rows(task, study.source_of(task)) for task in asked_about}

    def names(job: Job) -> tuple[str, ...]:
        match job.command:
            case "evaluate":
                return (RECORD, ADOPTED, *FILES["evaluate"])
            case "train" if job.folder in shown:
                return (RECORD, ADOPTED, "steps.jsonl")
            case "fetch-task" if job.folder in questions:
                return (RECORD, ADOPTED, "validation.jsonl")
        return (RECORD, ADOPTED)

    reads = tuple(Upstream("any", job.folder, names(job)) for job in before.values())
    made = tuple(report_files(study))
    folder, project = paths.report(study.scale_name), project_files("report")
    return Job(folder, "report", report_config(study), made, reads, project)


def _tokens(study: Study, backbone: str, task: str) -> Upstream:
    return Upstream("tokens", paths.tokens(study.scale_name, backbone, task), outputs_of("tokenize"), task)


def _backbone(name: str) -> Upstream:
    return Upstream("backbone", paths.backbone(name), outputs_of("fetch-backbone"))


def _encoded(study: Study, cell: Cell, tasks: list[str]) -> list[Upstream]:
    """Tokens of some tasks, and their features where the cell's variant reads them."""
    reads = [_tokens(study, cell.backbone, task) for task in tasks]
    if grid.needs_features(study, cell.variant):
        pooling = grid.pooling(study, cell.variant)
        for task in tasks:
            folder = paths.features(study.scale_name, cell.backbone, task, pooling)
            reads.append(Upstream("features", folder, outputs_of("features"), task))
    return reads
