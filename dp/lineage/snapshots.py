"""One state of the study, read from a folder of results or from a git revision: its records, numbers and sources."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp import files, paths
from dp.errors import UserError, shown
from dp.escapes import csv_rows
from dp.jobs import git
from dp.jobs.record import RESTORE, parsed
from dp.lineage import dvc_lock

SOURCES = ("params.yaml", "dp", "workflow", "Snakefile", "environment.yml", "requirements.lock")
WORKING_TREE = "the working tree"

Record = dict[str, Any]
Row = dict[str, str]


@dataclass(frozen=True)
class Snapshot:
    """`records`: results/<phase>/... -> record.json, of its inputs those that no artifact made. `rows`: scale -> rows
    of results.csv. `sources`: path -> bytes of the parameters and the code; None where results are all there is.
    """

    name: str
    commit: str | None
    records: dict[str, Record]
    rows: dict[str, list[Row]]
    sources: dict[str, bytes] | None


def read(name: str | None) -> Snapshot:
    """A state by its name: a git revision of the project in the working directory, or a folder that holds results.

    None is the working tree. Raises UserError where a name is neither or both, or where results are missing.
    """
    if name is None:
        results = _results_in(Path())
        if results is None:
            raise UserError("the working tree has no results; run `dvc repro` or `dvc pull`, or name two states.")
        return _of_folder(results, WORKING_TREE)
    if not files.is_nameable(name):
        raise UserError(f"'{shown(name)}' can be neither a git revision nor a folder.")
    folder, commit = _results_in(Path(name)), git.commit_of(Path(), name)
    if folder and commit:
        raise UserError(f"'{name}' is a git revision and a folder of results; write ./{name} for the folder, or "
                        f"{commit[:12]} for the revision.")  # fmt: skip
    if folder:
        return _of_folder(folder, name)
    if commit:
        return _of_revision(name, commit)
    why = ""
    try:
        git.run(Path(), "rev-parse", "--git-dir")
    except git.GitError as error:
        why = f" ({error})"
    raise UserError(f"'{shown(name)}' is neither a folder that holds results nor a git revision here{why}.")


def _results_in(folder: Path) -> Path | None:
    """The folder of results that is meant by a project's folder, or by itself."""
    for one in (folder / paths.RESULTS, folder):
        if any((one / phase.name).is_dir() for phase in paths.PHASES):
            return one
    return None


def _of_folder(results: Path, name: str) -> Snapshot:
    """Paths are named as in a project, whatever the folder is called."""
    found = {
        f"{phase.as_posix()}/{path.relative_to(results / phase.name).as_posix()}": path
        for phase in paths.PHASES
        for parent, _, names in os.walk(results / phase.name)
        for path in (Path(parent) / one for one in names)
    }

    def content(path: str) -> bytes:
        try:
            return found[path].read_bytes()
        except OSError as error:
            raise UserError(f"{name}: {path} cannot be read ({error.strerror}). {RESTORE}") from None

    records, rows = _contents(found, content, name)
    project = results.parent
    has_sources = results.name == paths.RESULTS.name and (project / "params.yaml").is_file()
    return Snapshot(name, None, records, rows, _sources_in(project) if has_sources else None)


def _sources_in(project: Path) -> dict[str, bytes]:
    tops = [project / name for name in SOURCES]
    below = [path for top in tops for path in ([top] if top.is_file() else sorted(top.rglob("*")))]
    named = ((path.relative_to(project), path) for path in below if path.is_file())
    return {name.as_posix(): path.read_bytes() for name, path in named if "__pycache__" not in name.parts}


def _of_revision(name: str, commit: str) -> Snapshot:
    """What dvc.lock recorded at a commit, from DVC's cache or a remote."""
    try:
        lock = git.run(Path(), "show", f"{commit}:./dvc.lock")
    except git.GitError:
        raise UserError(f"{name}: this revision has no dvc.lock, so nobody knows its results. Check it out, run `dvc "
                        f"repro` and commit dvc.lock; or name a revision that has one.") from None  # fmt: skip
    stages = dvc_lock.parse(lock, f"{name}: dvc.lock")
    outs = [out["path"] for stage in stages.values() for out in stage["outs"]]
    recorded = [path for path in outs if Path(path) in paths.PHASES]
    records, rows = _from_dvc(commit, recorded, name)
    return Snapshot(name, commit, records, rows, _sources_at(commit))


def _from_dvc(commit: str, outs: list[str], name: str) -> tuple[dict[str, Record], dict[str, list[Row]]]:
    """Read through DVC within this process. Cache and remotes are those set up now, not those of the commit."""
    from dvc.api import DVCFileSystem  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    try:
        with Repo(".") as repo:
            config = dict(repo.config)
        # A revision of the project, which may be a folder of its repository: `rev` of a file system means the latter.
        with Repo(".", config=config) as repo, repo.switch(commit):
            system = DVCFileSystem(repo)
            found = [path for out in outs for path in system.find(out)]
            return _contents(found, system.cat_file, name)
    except UserError:
        raise
    except Exception as error:  # of DVC, of its index, of a remote's client: they share no class
        raise UserError(
            f"{name}: what dvc.lock records there cannot be read ({type(error).__name__}: {error}). If it was pushed, "
            f"`dvc fetch --all-commits` gets it; otherwise check the revision out and run `dvc repro` again."
        ) from None


def _contents(
    found: Iterable[str], content: Callable[[str], bytes], name: str
) -> tuple[dict[str, Record], dict[str, list[Row]]]:
    """Records and tables among the paths found. Raises UserError where one is not what its job wrote."""
    shared: dict[str, Any] = {}
    records = {
        path.removesuffix("/record.json"): _record(content(path), f"{name}: {path}", shared)
        for path in sorted(found)
        if path.endswith("/record.json")
    }
    if not records:
        raise UserError(f"{name}: holds no record.json, so there is nothing to compare.")
    rows = {}
    for folder, record in records.items():
        if record["command"] == "report":
            table = content(f"{folder}/results.csv")
            if hashlib.sha256(table).hexdigest() != record["made"]["outputs"].get("results.csv"):
                raise UserError(f"{name}: {folder}/results.csv differs from its record.json: it was edited or cut "
                                f"short. Restore it (`dvc checkout --force`) or report again.")  # fmt: skip
            rows[Path(folder).name] = csv_rows(io.StringIO(table.decode()))
    return records, rows


def _record(text: bytes, where: str, shared: dict[str, Any]) -> Record:
    """A record; those of one code or one environment hold the same object, for there may be tens of thousands."""
    try:
        record = parsed(text)
    except ValueError as error:
        raise UserError(f"{where} {error}. Restore it (`dvc checkout --force`) or make it again.") from None
    used = record["used"]
    record["used"] = {
        "inputs": {path: sha for path, sha in used["inputs"].items() if not path.startswith(f"{paths.RESULTS}/")},
        "code": shared.setdefault(used["code"]["digest"], used["code"]),
    }
    record["with"] = shared.setdefault(files.digest(record["with"]), record["with"])
    return record


def _sources_at(commit: str) -> dict[str, bytes]:
    there = git.run(Path(), "ls-tree", "-z", "--name-only", commit, "--", *SOURCES).decode().split("\0")[:-1]
    tar = git.run(Path(), "archive", "--format=tar", commit, "--", *there)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]
