"""All evaluations of a grid, read with their records and refused where a table could not vouch for them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp import files, paths
from dp.errors import UserError
from dp.jobs import adoption, pins, record
from dp.jobs.inputs import verified
from dp.jobs.job import ADOPTED, Cell, Job, outputs_of
from dp.jobs.stale import first_difference
from dp.results import outputs
from dp.study import resolve
from dp.study.grid import cells, training
from dp.study.study import Study


@dataclass(frozen=True)
class Run:
    """One evaluated cell: metrics.json and the records of its evaluation, training (None: untrained) and tokens."""

    cell: Cell
    model: str  # what tables call its backbone
    folder: Path
    training: Path | None  # the folder of the training that it shows
    digest: str
    metrics: dict[str, Any]
    evaluated: dict[str, Any]
    trained: dict[str, Any] | None
    tokens: dict[str, Any]
    unpinned: bool = False  # it rests on a commit of the hub that the project, as committed, did not name
    adopted: bool = False  # it, or what it rests on, was made by other code (docs/adopt.md)

    @property
    def regime(self) -> str:
        """As in results.csv: without the k and the sample seed of few-shot."""
        return self.cell.parsed_regime.in_tables

    @property
    def k(self) -> int | None:
        """Examples per label of few-shot; None for the full train split."""
        return self.cell.parsed_regime.k

    @property
    def draw(self) -> str:
        """What tells it from the others of its row: `seed11`, behind the backbone or the sample where they differ."""
        parts = [self.cell.backbone] * (self.model != self.cell.backbone) + [self.cell.regime] * (self.k is not None)
        return ", ".join([*parts, f"seed{self.cell.seed}"])

    @property
    def overflow(self) -> str | None:
        """Why it ended in a status and holds no number (dp/training/overflow.py); None where it has its metrics."""
        return self.metrics.get("overflow")

    def predictions(self) -> list[dict[str, Any]]:
        """Read anew: a row for each reported example; none where the run overflowed."""
        return outputs.predictions(self.folder, 0 if self.overflow else self.metrics["n"])

    @property
    def records(self) -> list[dict[str, Any]]:
        return [one for one in (self.evaluated, self.trained) if one]


def read(study: Study, some: list[Cell] | None = None) -> list[Run]:
    """The runs of the study in the order of its grid, or those of some cells in theirs.

    Raises UserError where runs are missing, differ from their records, were made under other parameters, or, unless
    `allow_dirty`, come from code without a commit.
    """
    grid = cells(study) if some is None else some
    jobs = resolve.jobs(study)
    check_there(_inputs(study, jobs[paths.report(study.scale_name)], some))
    adopted, unpinned = adoption.resting(jobs.values()), pins.unpinned(jobs.values())
    runs = [_read(study, cell, adopted, unpinned) for cell in grid]
    stale = [f"{run.folder} ({key})" for run in runs if (key := _changed(study, run))]
    remedy = (
        "run the pipeline again; where it finds nothing to make, delete their folders"  # another run's were put there
    )
    _refuse(stale, "evaluations were made under other parameters", remedy)
    if not study.params.allow_dirty:
        dirty = [str(run.folder) for run in runs if not all(map(record.is_committed, run.records))]
        remedy = "commit, delete their folders and run again, or set allow_dirty: true to admit and label them"
        _refuse(dirty, "runs were made from code that no commit holds", remedy)
    return runs


def evaluated(study: Study) -> list[Cell]:
    """The cells of the grid whose evaluation is there."""
    return [cell for cell in cells(study) if (paths.evaluation(study.scale_name, cell.run) / "record.json").is_file()]


def check_there(inputs: Iterable[Path]) -> None:
    """Raises UserError that counts the missing ones among the files that a report reads."""
    missing = [str(path) for path in inputs if path.name != ADOPTED and not path.is_file()]
    _refuse(missing, "files that the report reads are missing", "run the pipeline, which makes them, then report")


def _inputs(study: Study, report: Job, some: list[Cell] | None) -> list[Path]:
    """Every file that the report reads, or of those the ones about some cells."""
    reads = report.reads
    if some is not None:
        jobs = [resolve.evaluation_job(study, cell) for cell in some]
        about = {folder for job in jobs for folder in (job.folder, *job.upstream)}
        about |= {paths.task_rows(cell.task, study.source_of(cell.task)) for cell in some}
        reads = tuple(one for one in reads if one.folder in about)
    return [one.folder / name for one in reads for name in one.names]


def _read(study: Study, cell: Cell, adopted: set[Path], unpinned: set[Path]) -> Run:
    folder = paths.evaluation(study.scale_name, cell.run)
    shown = training(study, cell)
    trained = paths.train_run(study.scale_name, shown.run) if shown else None
    verified(folder)
    if trained:
        verified(trained, outputs_of("train", without="tuned.safetensors"))
    return Run(
        cell=cell,
        model=study.params.model_of(cell.backbone),
        folder=folder,
        training=trained,
        digest=files.sha256(folder / "record.json"),
        metrics=outputs.metrics(folder),
        evaluated=record.read(folder),
        trained=record.read(trained) if trained else None,
        tokens=record.read(paths.tokens(study.scale_name, cell.backbone, cell.task)),
        unpinned=folder in unpinned,
        adopted=folder in adopted,
    )


def _changed(study: Study, run: Run) -> str | None:
    return first_difference(run.evaluated["asked"], resolve.evaluation_job(study, run.cell).asked)


def _refuse(items: list[str], what: str, remedy: str) -> None:
    if items:
        shown = ", ".join(items[:10]) + (", ..." if len(items) > 10 else "")
        raise UserError(f"{len(items)} {what}: {shown}. To mend it, {remedy}.")
