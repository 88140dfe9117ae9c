"""Every artifact that a scale asks for: one folder with one record, the command that makes it, and what it reads."""

from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from dp import paths
from dp.jobs.project import project_files
from dp.jobs.record import SUMS
from dp.study import grid
from dp.study.grid import Cell
from dp.study.report import report_config, report_files
from dp.study.run import run_of
from dp.study.study import Study


@dataclass(frozen=True)
class Artifact:
    """A folder that one job makes.

    `asked` holds what the parameters decide; a record may say more. `upstream`: folders of the artifacts that the job
    reads. `cell`: the run, for a training or an evaluation. `files`: names of what it makes. `project`: files of the
    project that the job reads.
    """

    folder: Path
    command: str
    asked: dict[str, Any]
    upstream: tuple[Path, ...] = ()
    cell: Cell | None = None
    made: tuple[str, ...] | None = None
    project: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return paths.FILES[self.command] if self.made is None else self.made

    @property
    def paths(self) -> list[Path]:
        """Every file of the folder."""
        return [self.folder / name for name in (*self.files, SUMS, "record.json")]

    @property
    def phase(self) -> str:
        return self.folder.parts[1]


def artifacts(study: Study) -> dict[Path, Artifact]:
    """Folder -> artifact, each behind those it reads; the report is the last."""
    found = {one.folder: one for one in (*_rows(study), *_backbones(study), *_encoded(study), *_trained(study),
                                         *_evaluated(study))}  # fmt: skip
    order = TopologicalSorter({folder: one.upstream for folder, one in found.items()}).static_order()
    ordered = {folder: found[folder] for folder in order}
    report = paths.report(study.scale_name)
    made = tuple(report_files(study))
    return ordered | {report: Artifact(report, "report", report_config(study), tuple(ordered), made=made,
                                       project=project_files("report"))}  # fmt: skip


def _rows(study: Study) -> list[Artifact]:
    return [
        Artifact(paths.task_rows(task, study.source), "fetch-task", grid.rows_config(study, task),
                 project=project_files("fetch-task", task))
        for task in study.tasks
    ]  # fmt: skip


def _backbones(study: Study) -> list[Artifact]:
    return [
        Artifact(paths.backbone(name), "fetch-backbone", grid.backbone_config(study, name))
        for name in study.scale.backbones
    ]


def _encoded(study: Study) -> list[Artifact]:
    found = []
    cells = grid.cells(study)
    for backbone, task in sorted({(cell.backbone, cell.task) for cell in cells}):
        tokens, weights = paths.tokens(study.scale_name, backbone, task), paths.backbone(backbone)
        asked = grid.tokens_config(study, backbone, task)
        upstream = (paths.task_rows(task, study.source), weights)
        found.append(Artifact(tokens, "tokenize", asked, upstream, project=project_files("tokenize", task)))
    read = {
        (c.backbone, c.task, grid.pooling(study, c.variant)) for c in cells if grid.needs_features(study, c.variant)
    }
    for backbone, task, pooling in sorted(read):
        folder = paths.features(study.scale_name, backbone, task, pooling)
        asked = grid.features_config(study, backbone, task, pooling)
        upstream = (paths.tokens(study.scale_name, backbone, task), paths.backbone(backbone))
        found.append(Artifact(folder, "features", asked, upstream))
    return found


def _trained(study: Study) -> list[Artifact]:
    scale, found, chosen = study.scale_name, [], {}
    for cell in grid.needed_trainings(study):
        run = run_of(study, cell)
        upstream = [*run.tokens.values(), *run.features.values(), run.backbone]
        upstream += [paths.train_run(scale, source.run) for source in grid.sources(study, cell).values()]
        if study.scale.search and cell.trial is None:
            choice = paths.choice(scale, cell.variant_path)
            upstream.append(choice)
            tried = tuple(paths.train_run(scale, trial.run) for trial in grid.trials(study, cell))
            chosen[choice] = Artifact(choice, "choose", study.scale.search.model_dump(), tried)
        found.append(Artifact(paths.train_run(scale, cell.run), "train", run.config, tuple(upstream), cell))
    return [*chosen.values(), *found]


def _evaluated(study: Study) -> list[Artifact]:
    scale, found = study.scale_name, []
    for cell in grid.cells(study):
        run, training = run_of(study, cell), grid.training(study, cell)
        upstream = [run.tokens[cell.task], *run.features.values()]
        if grid.needs_backbone(study, cell.variant):
            upstream.append(run.backbone)
        if training:
            upstream.append(paths.train_run(scale, training.run))
        found.append(Artifact(paths.evaluation(scale, cell.run), "evaluate", run.config, tuple(upstream), cell))
    return found
