"""`dp sync --merge`: one scale that several sites made parts of, brought together and taken for made."""

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from dp import files, paths
from dp.closed import one_of
from dp.errors import Interrupted, UserError, printable
from dp.jobs.job import RECORD, Job
from dp.jobs.mark import read as read_mark
from dp.lineage import doors
from dp.lineage.sites import FOLDER, Site, bring
from dp.lineage.versions import HERE, Left, Version, offered
from dp.lineage.whole import Whole, consistent
from dp.study.resolve import jobs
from dp.study.study import Study

BESIDE = paths.RESULTS / ".merging"
"""Where an artifact is copied to before it is renamed into its place; what is no phase is nothing to DVC."""
REPLACED = paths.RESULTS / "replaced"
"""What lay here and had to give way, below the time of the call."""
LOCKS = Path(".snakemake", "locks")
"""Not empty while Snakemake works here."""
AT_ONCE = 5000
"""Targets of one call of Snakemake: a command line has its limit."""


def merge(study: Study, settings: list[str], sites: list[Site], prefer: list[str], fetch: bool = True) -> None:
    """Bring what the sites recorded, and take over all that makes a consistent whole with what lies here.

    settings: of this call, for Snakemake. prefer: names of sites, HERE among them, whose bytes win, the first first.
    Raises UserError with nothing changed where versions of an artifact differ and no preferred site has one of them.
    """
    names = [HERE, *(site.name for site in sites)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--merge: '{twice}' stands there twice, or is what lies here.")
    for name in prefer:
        one_of("--prefer", name, names, "no such site is merged")
    asked = jobs(study)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(FOLDER.with_suffix(".lock"), timeout=0):
            try:
                _merge(study, asked, settings, sites, prefer, fetch)
            finally:
                for left_behind in (FOLDER, BESIDE):
                    shutil.rmtree(left_behind, ignore_errors=True)
    except Timeout:
        raise UserError("another merge works in this folder: wait until it has ended.") from None
    except KeyboardInterrupt:
        raise Interrupted("stopped; what was merged so far is whole, and the same command goes on.") from None


def _merge(
    study: Study, asked: dict[Path, Job], settings: list[str], sites: list[Site], prefer: list[str], fetch: bool
) -> None:
    _refuse_running(asked)
    with doors.step(f"bringing what {' and '.join(site.name for site in sites)} recorded (DVC)"):
        roots = {HERE: Path().resolve(), **bring(sites, fetch)}
    with doors.step(
        f"checking what there is of {len(asked)} artifacts of scale {study.scale_name} against its records"
    ):
        versions, unfit = offered(asked, roots)
        whole = consistent(asked, versions, [*roots], prefer)
        own = {
            folder: mine for folder, found in versions.items() if (mine := [one for one in found if HERE in one.sites])
        }
        alone = consistent(asked, own, [*roots], prefer)
    for conflict in whole.conflicts:
        print(f"conflict: {printable(str(conflict))}")
    if open_ := [one for one in whole.conflicts if not one.settled]:
        known = dict.fromkeys(site for one in open_ for version in one.versions for site in version.sites)
        raise UserError(
            f"{len(open_)} artifacts differ between {' and '.join(known)}, each in a line above with who made it. "
            f"Nothing was merged. `--prefer {next(iter(known))}` takes that site's, and leaves out what rests on the "
            "others'."
        )
    _refuse_running(asked)  # bringing may have taken hours
    replaced = _place(whole, alone)
    for line in (*_account(study, asked, whole), *_left(unfit + whole.left)):
        print(printable(line))
    if replaced:
        print(f"{len(replaced)} artifacts that lay here gave way; they are kept in {replaced[0]}")
    with doors.step("taking them over (snakemake --touch)"):
        _take_over(list(whole.taken), settings)
    config = f" --config {' '.join(settings)}" if settings else ""
    rest = "makes the rest" if len(whole.taken) < len(asked) else "has nothing to do"
    print(f"merged: `snakemake --cores all{config}` {rest}, and `dvc repro` records all of it", flush=True)


def _refuse_running(asked: Mapping[Path, Job]) -> None:
    """Raises UserError where something else writes to results/ now."""
    if any(LOCKS.glob("*")):
        raise UserError(
            "a `snakemake` works in this folder: merge when it has ended; after a `kill -9`, `snakemake --unlock`."
        )
    marks = ((folder, read_mark(folder)) for folder in asked)
    running = next(((folder, mark) for folder, mark in marks if mark and mark["state"] == "running"), None)
    if running:
        folder, mark = running
        raise UserError(
            f"{folder} is being made (process {mark['pid']} on {mark['host']}): merge when it has ended. If that "
            f"process is gone, delete {paths.state(folder)}."
        )


def _place(whole: Whole, alone: Whole) -> list[Path]:
    """Folders where what had to give way is kept: what another version replaces, and what rested on that."""
    aside = REPLACED / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    kept = []

    def give_way(folder: Path) -> None:
        if folder.is_dir() and any(folder.iterdir()):
            place = aside / folder.relative_to(paths.RESULTS)
            place.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(place)
            kept.append(aside)

    for folder in reversed([*alone.taken]):  # what rests on others goes first
        if folder not in whole.taken:
            give_way(folder)
    for folder, one in whole.taken.items():
        if HERE not in one.sites:
            _copy(one)
            give_way(folder)
            folder.parent.mkdir(parents=True, exist_ok=True)
            BESIDE.rename(folder)
            paths.state(folder).unlink(missing_ok=True)
    return kept


def _copy(one: Version) -> None:
    """All files of an artifact, each verified once more, to BESIDE."""
    shutil.rmtree(BESIDE, ignore_errors=True)
    for path, digest in one.outputs.items():
        copy = BESIDE / Path(path).relative_to(one.made.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.root / path, copy)
        if files.sha256(copy) != digest:
            raise UserError(f"{path}: changed while it was copied from {one.sites[0]}. Merge again; what came is kept.")


def _account(study: Study, asked: Mapping[Path, Job], whole: Whole) -> list[str]:
    """How much of the scale is there now, and from where; what several made alike counts for the first of them."""
    counts = Counter(one.sites[0] for one in whole.taken.values())
    of = ", ".join(f"{count} {'here' if site == HERE else f'from {site}'}" for site, count in counts.items())
    rest = len(asked) - len(whole.taken)
    return [f"scale {study.scale_name}: {len(whole.taken)} of {len(asked)} artifacts: {of or 'none'}; {rest} to make"]


def _left(left: list[Left]) -> list[str]:
    """A line for each site, command and reason, without the folders that a reason names. A report is made anew."""
    told = (one for one in left if one.job.command != "report")
    named = re.compile(rf": {paths.RESULTS}/[^)]*")
    reasons = Counter((one.site, one.job.command, named.sub("", one.why)) for one in told)
    return [f"not taken of {site}: {count} x {command}: {why}" for (site, command, why), count in reasons.items()]


def _take_over(folders: list[Path], settings: list[str]) -> None:
    """Snakemake takes those for made, and no others; what it would still do for them would be a mistake of ours."""
    for start in range(0, len(folders), AT_ONCE):
        targets = [str(folder / RECORD) for folder in folders[start : start + AT_ONCE]]
        touched = doors.snakemake(
            "--touch", "--forceall", "--no-hooks", "--quiet", "progress", settings=settings, targets=targets
        )
        if touched.returncode:
            raise UserError(
                f"`snakemake --touch` failed: {doors.said_by_snakemake(touched)}\nThe files are there; where another "
                "Snakemake works in this folder, call the same command again when it has ended."
            )
        dry = doors.snakemake("--dry-run", settings=settings, targets=targets)
        if dry.returncode or "Nothing to be done" not in doors.words(dry):
            raise UserError(f"Snakemake would make some of it again: {doors.said_by_snakemake(dry)}")
