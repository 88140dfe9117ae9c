"""What a scale reads from the hub, and which of its revisions the project does not pin."""

from typing import NamedTuple

from dp.backbones.definition import HubSource
from dp.jobs import pins
from dp.jobs.job import RECORD
from dp.sources.hub_lock import RepoType, is_commit, pinned
from dp.study.resolve import backbone_job, rows_job
from dp.study.study import Study
from dp.tasks.model import HubRows, load


class Revision(NamedTuple):
    """Of the repository that a backbone or a task (`name`) comes from. `is_here`: it was fetched already."""

    name: str
    source: HubSource | HubRows
    repo_type: RepoType
    is_here: bool

    @property
    def is_pinned(self) -> bool:
        """By itself, or by the lock as it is committed."""
        repo, revision, committed = self.source.repo, self.source.revision, pins.committed_lock()
        return is_commit(revision) or (
            committed is not None and pinned(repo, revision, self.repo_type, committed) is not None
        )


def of_scale(study: Study) -> list[Revision]:
    """Of every backbone, then every task, that comes from the hub, in the order of the scale."""
    found = []
    for name in study.scale.backbones:
        source = study.params.backbones[name].source
        if isinstance(source, HubSource):
            here = (backbone_job(study, name).folder / RECORD).is_file()
            found.append(Revision(name, source, "model", here))
    for name in study.tasks:
        rows = load(name).sources.hub if study.source_of(name) == "hub" else None
        if rows:
            here = (rows_job(study, name).folder / RECORD).is_file()
            found.append(Revision(name, rows, "dataset", here))
    return found


def to_lock(study: Study) -> str | None:
    """What to do before a scale is fetched, so that its numbers are not labelled `unpinned`; None where nothing is."""
    loose = [one.name for one in of_scale(study) if not one.is_here and not one.is_pinned]
    if not loose:
        return None
    return (
        f"No commit of the project says which commit of the hub {', '.join(loose)} is to come from, so what rests on "
        f"it will be labelled unpinned. `python -m dp lock --scale {study.scale_name}` finds out, and says what to "
        "commit."
    )
