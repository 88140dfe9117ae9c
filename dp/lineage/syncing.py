"""From a fresh clone to an up-to-date one: DVC brings what it recorded, and Snakemake takes it for made."""

import json
import shlex
from pathlib import Path
from typing import Any

from dp import files
from dp.closed import read_yaml
from dp.errors import UserError, shown
from dp.jobs import made
from dp.jobs.finding import some
from dp.jobs.job import RECORD, Job
from dp.jobs.stale import now_of
from dp.lineage import doors
from dp.lineage.dvc_lock import LOCK, parse
from dp.study.resolve import jobs
from dp.study.study import load, settings_of

SHOWN = 10
SOURCES = ("dp", "workflow", "Snakefile", "environment.yml", "params.yaml")
"""What every stage of dvc.yaml depends on."""


def sync(remote: str | None = None, pull: bool = True) -> None:
    """Pull, compare, check every byte, then let Snakemake record the scale as made; nothing is computed.

    `remote`: the name of a DVC remote; None is the default one. `pull=False`: the data are here already. Raises
    UserError, with nothing taken over, where files are missing or damaged, or were made by other code or parameters.
    """
    read_yaml(Path("params.yaml"))  # outside a project that is what is said, as by every command
    stages = _lock()
    settings = recorded_settings(stages)
    study = load(Path(), settings_of(settings, f"{LOCK}: --config"))
    if pull:
        with doors.step("pulling what dvc.lock names (dvc pull)"):
            _pull(stages, remote)
    with doors.step("comparing code, parameters and results with dvc.lock (dvc status)"):
        _compare()
    asked = jobs(study)
    with doors.step(f"checking {len(asked)} artifacts of scale {study.scale_name} against their records"):
        check(asked)
    with doors.step("taking them over (snakemake --touch)"):
        _touch(settings)
    with doors.step("verifying (snakemake -n, dvc status)"):
        _verify(settings)
    print(f"up to date: `snakemake` and `dvc repro` have nothing to do for scale {study.scale_name}", flush=True)


def recorded_settings(stages: dict[str, Any]) -> list[str]:
    """The key=value words behind `--config` in the commands of dvc.lock; none, unless dvc.yaml was edited."""
    found = {stage: _config(entry["cmd"]) for stage, entry in stages.items()}
    settings = next(iter(found.values()))
    if any(other != settings for other in found.values()):
        said = ", ".join(f"{stage}: {' '.join(words) or 'none'}" for stage, words in found.items())
        raise UserError(
            f"{LOCK}: its stages were run with different settings ({said}), so there is no one scale to take over. "
            "Give all commands of dvc.yaml the same --config, and run `dvc repro`."
        )
    return settings


def check(jobs: dict[Path, Job]) -> None:
    """Raises UserError unless every artifact is sealed, whole, and made by this code from these parameters and inputs.

    DVC does not hash what it downloads, and `dvc status` compares with what was downloaded: only the records tell.
    """
    damaged: list[Path] = []
    other: list[str] = []
    digests: dict[str, str] = {}
    now = now_of(digests)
    for folder, job in jobs.items():
        try:
            one = made.read(job)
        except (OSError, ValueError):
            damaged.append(folder / RECORD)
            continue
        if one is None:
            other.append(f"{folder} (not made)")
            continue
        digests |= one.outputs
        outputs = {Path(path): digest for path, digest in one.outputs.items()}
        damaged += [path for path, digest in outputs.items() if not path.is_file() or files.sha256(path) != digest]
        if why := next(one.reasons(now), None):
            other.append(f"{folder} ({why})")
    if damaged:
        raise UserError(
            f"{len(damaged)} files are not what their jobs wrote, though DVC holds them so: "
            f"{some(_with_objects(damaged), SHOWN)}. They were damaged in the remote, on the way, or before the push. "
            "Nothing was taken over. Delete each file and its object in .dvc/cache, and call sync again. If it comes "
            "the same again, the remote's object is damaged: docs/sharing.md says how to replace it."
        )
    if other:
        raise UserError(
            f"{len(other)} artifacts are not what this commit would make: {some(other, SHOWN)}. Nothing was taken "
            "over. Delete those folders, and `snakemake --cores all` makes them again; `dvc repro` records them."
        )


def _lock() -> dict[str, Any]:
    """Stage -> what DVC recorded of it."""
    try:
        text = LOCK.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"there is no {LOCK} in this folder, so nothing was recorded: run the pipeline (`dvc repro`), or check out "
            "a commit that has one."
        ) from None
    try:
        stages = parse(text, str(LOCK))
    except UserError as error:
        raise UserError(f"{error} Restore it with `git checkout -- {LOCK}`.") from None
    if not stages:
        raise UserError(f"{LOCK}: names no stage, so nothing was recorded: run the pipeline (`dvc repro`).")
    return stages


def _config(command: str) -> list[str]:
    """The key=value words behind `--config` in a command."""
    found, inside = [], False
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"{LOCK}: the command {shown(command)} is none ({error}).") from None
    for word in words:
        inside = word == "--config" or (inside and not word.startswith("-"))
        if inside and word != "--config":
            found.append(word)
    return sorted(found)


def _pull(stages: dict[str, Any], remote: str | None) -> None:
    named = ["--remote", remote] if remote else []
    if doors.call("dvc", "pull", *named, shown=True).returncode == 0:
        return
    if not remote and doors.call("dvc", "config", "core.remote").returncode:
        raise UserError(
            "DVC knows no default remote to pull from: `dvc remote add --default NAME URL`, or name one with --remote. "
            "With the data here already, `--no-pull` leaves the pull out."
        )
    status = doors.call("dvc", "data", "status", "--json", "--granular", "--not-in-remote", *named)
    found = json.loads(status.stdout).get("not_in_remote", []) if status.returncode == 0 else []
    if not found:
        # An interrupted pull may leave DVC's index half built: then the next one brings a part, and one more the rest.
        print("  once more: nothing that is named is known to be missing in the remote", flush=True)
        if doors.call("dvc", "pull", *named, shown=True).returncode == 0:
            return
        raise UserError(
            "`dvc pull` failed; its words stand above. What it brought is kept: the same command goes on from there."
        )
    whole = tuple(path for path in found if path.endswith("/"))
    missing = [path for path in found if path in whole or not path.startswith(whole)]
    sizes = {f"{out['path']}/": out["nfiles"] for stage in stages.values() for out in stage["outs"]}
    raise UserError(
        f"{sum(sizes.get(path, 1) for path in missing)} files that {LOCK} names are not in the remote: "
        f"{some(missing, SHOWN)}. Either a push stopped midway, and whoever made them has to `dvc push` again; or they "
        "were lost there since: docs/sharing.md says how to push them once more. What came is kept: call sync again "
        "then."
    )


def _compare() -> None:
    status = doors.call("dvc", "status", "--json")
    if status.returncode:
        raise UserError(f"`dvc status` failed: {doors.words(status)}")
    changes = [change for found in json.loads(status.stdout).values() for change in found]
    if not changes:
        return
    kinds = [next(iter(change.items())) if isinstance(change, dict) else (change, {}) for change in changes]
    if all(what in ("changed outs", "changed deps") and _in_results(paths) for what, paths in kinds):
        remedy = (
            "The results here are not those that dvc.lock recorded: `dvc pull` brings what is missing, "
            "`dvc checkout --force` restores what was changed, `dvc repro` records what lies here."
        )
    elif crlf := _with_crlf():
        remedy = (
            f"{len(crlf)} files here end their lines with CR LF ({some(crlf, SHOWN)}), as git's core.autocrlf writes "
            "them, and DVC compares bytes. Put edits aside (`git stash`); `git rm -rq --cached . && git reset -q "
            "--hard` then writes every file anew, with the line ends that .gitattributes asks for; call sync again."
        )
    else:
        remedy = (
            "The code, parameters or commands here are not those that dvc.lock recorded: check out the commit that "
            "recorded it and put edits aside until after sync; or run `dvc repro`, which makes and records what these "
            "ask for."
        )
    raise UserError(f"`dvc status` says\n{doors.words(doors.call('dvc', 'status'))}\n{remedy} Nothing was taken over.")


def _with_crlf() -> list[str]:
    """Text files of the project that DVC compares, whose lines end as on Windows."""
    below = (path for name in SOURCES for path in (Path(name), *Path(name).rglob("*")))
    text = (path for path in below if path.is_file() and path.suffix not in (".pyc", ".safetensors"))
    return sorted(str(path) for path in text if b"\r\n" in path.read_bytes())


def _in_results(paths: dict[str, str]) -> bool:
    return all(path.startswith("results/") for path in paths)


def _touch(settings: list[str]) -> None:
    """--forceall: without it Snakemake records nothing of a job whose time stamps happen to be in order."""
    touched = doors.snakemake("--touch", "--forceall", "--no-hooks", "--quiet", "progress", settings=settings)
    if touched.returncode:
        raise UserError(
            f"`snakemake --touch` failed: {doors.said_by_snakemake(touched)}\nWhere another Snakemake or "
            "another sync works in this folder, call sync again when it has ended."
        )


def _verify(settings: list[str]) -> None:
    dry = doors.snakemake("--dry-run", settings=settings)
    if dry.returncode or "Nothing to be done" not in doors.words(dry):
        raise UserError(
            f"Snakemake would still run jobs: {doors.said_by_snakemake(dry)}\n`snakemake --cores all` runs them."
        )
    if doors.call("dvc", "status", "--quiet").returncode:
        raise UserError("`dvc status` is no longer clean: something else wrote to this folder. Call sync again.")


def _with_objects(damaged: list[Path]) -> list[str]:
    """Each path with the name of its object, which is the same below .dvc/cache and below the remote."""
    md5: dict[Path, str] = {}
    for phase in sorted({Path(*path.parts[:2]) for path in damaged}):
        listed = doors.call("dvc", "list", ".", str(phase), "--recursive", "--show-hash", "--json")
        md5 |= {phase / one["path"]: one["md5"] for one in json.loads(listed.stdout or "[]") if one.get("md5")}
    return [f"{path} (files/md5/{md5[path][:2]}/{md5[path][2:]})" if path in md5 else str(path) for path in damaged]
