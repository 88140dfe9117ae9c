"""Take over results that other code made, with evidence that this code makes the same."""

import argparse
import sys
import time
from pathlib import Path

from dp import files
from dp.commands import common, making
from dp.errors import UserError, printable
from dp.jobs import made, record
from dp.jobs.inputs import adoptions
from dp.jobs.job import Job
from dp.jobs.made import Made
from dp.lineage import admission, doors, scales
from dp.lineage.adopting import NEVER, Outcome, adopt, sample, survey, tried
from dp.lineage.dvc_lock import LOCK
from dp.lineage.why.facts import seconds
from dp.study.resolve import jobs
from dp.study.study import Study

LONG = 10
"""Artifacts that are named one by one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sample", type=_count, default=1, metavar="N",
                        help="artifacts of each kind (command, backbone, variant) to make again; 1")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="make every artifact again, and compare it")
    parser.add_argument("--dry-run", action="store_true", help="say what would be made again, and how long that takes")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of artifacts from 1")
    return int(text)


def run(arguments: argparse.Namespace) -> None:
    """Adopt what is stale by code alone. Exits with 1 where anything made again is another: nothing of its kind is."""
    study = common.study(arguments)
    if not study.params.allow_dirty and (why := admission.no_commit()):
        raise UserError(f"An adoption names the code that it vouches for. {why}")
    members = list(jobs(study).values())
    found, code = survey(members), record.commit()
    if list(found.other.values()) == [NEVER] * (len(members) - 1):
        raise UserError(f"nothing of scale {study.scale_name} was made here; `snakemake --cores all` makes it.")
    _print(f"scale {study.scale_name}: {found.count} artifacts are stale by code alone, of {len(found.stale)} kinds")
    _list("not as they should be for other reasons, and left alone", found.other)
    chosen = {kind: sample(of_kind, len(of_kind) if arguments.all else arguments.sample)
              for kind, of_kind in found.stale.items()}  # fmt: skip
    again = [one for of_kind in chosen.values() for one in of_kind]
    if again:
        _print(f"made again: {len(again)}, which took {_took(again)} when they were made")
    if arguments.dry_run:
        for kind, of_kind in chosen.items():
            _print(f"  {kind}: {len(of_kind)} of {len(found.stale[kind])}, {_took(of_kind)}: {of_kind[0].folder}")
        return
    outcomes = _tried(study, again)
    if record.commit() != code:
        raise UserError(
            "the code changed while artifacts were made again, so nothing was adopted. Call adopt once more."
        )
    adopted, refused = adopt(members, found, outcomes)
    _print(f"adopted: {len(adopted)}")
    _list("not adopted", refused)
    if refused:
        sys.exit(1)
    if not found.other and _is_untold(members[-1]):
        _close(study, arguments)


def _is_untold(report: Job) -> bool:
    """Whether a report is here that does not know of all adoptions, of this call or of one that was stopped."""
    try:
        told = made.read(report)
    except ValueError:  # it is made anew in any case
        return True
    return told is not None and any(told.inputs.get(path) != files.sha256(Path(path)) for path in adoptions(report))


def _took(members: list[Made]) -> str:
    return seconds(sum(one.sharing * one.said("made", "wall_seconds") for one in members))


def _tried(study: Study, members: list[Made]) -> list[Outcome]:
    outcomes, started = [], time.monotonic()
    for outcome in tried(members, lambda job, folder, inputs: making.compute(job, folder, study, inputs)):
        outcomes.append(outcome)
        spent = seconds(time.monotonic() - started)
        said = f"another: {outcome.why}" if outcome.why else f"the same ({outcome.how})"
        _print(f"[{len(outcomes)}/{len(members)}, {spent}] {outcome.job.folder}: {said}")
    return outcomes


def _close(study: Study, arguments: argparse.Namespace) -> None:
    """Make the report anew, which says what was adopted, and let DVC record what lies here, where it did before."""
    with doors.step("making the report anew, which says what was adopted (snakemake)"):
        done = doors.snakemake("--quiet", "progress", settings=arguments.settings)
    if done.returncode:
        raise UserError(f"`snakemake` failed: {doors.said_by_snakemake(done)}")
    if not LOCK.is_file():
        return
    if arguments.settings:
        _print("not recorded by DVC, which knows no --set: `dvc repro` does")
        return
    if others := scales.unrecorded(study.scale_name):
        _print(f"not recorded by DVC, which would record what lies here of {', '.join(others)} too: `dvc repro` does")
        return
    with doors.step("recording it (dvc commit)"):
        done = doors.call("dvc", "commit", "--force", "--quiet")
    if done.returncode:
        raise UserError(f"`dvc commit` failed: {doors.words(done)}")


def _list(what: str, found: dict[Path, str]) -> None:
    if found:
        _print(f"{what}: {len(found)}")
        for folder, why in list(found.items())[:LONG]:
            _print(f"  {folder}: {why}")
        if len(found) > LONG:
            _print(f"  and {len(found) - LONG} more")


def _print(text: str) -> None:
    print(printable(text), flush=True)
