"""Results that another site made: what its dvc.lock names, brought by DVC to a folder beside those that lie here."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from dp import files, paths, yaml12
from dp.errors import Interrupted, UserError, shown
from dp.jobs import git
from dp.lineage.dvc_lock import LOCK, parse

FOLDER = Path(".cache", "dp", "merge")
"""Where they lie while they are merged, as links into DVC's cache; DVC and git ignore it."""


class Site(NamedTuple):
    """`name`: a git revision, whose dvc.lock says what was made there. `remote`: of DVC; None is the default one."""

    name: str
    remote: str | None

    @classmethod
    def of(cls, text: str) -> "Site":
        """REVISION or REVISION:REMOTE; git allows no colon in the name of a branch or tag."""
        name, _, remote = text.partition(":")
        return cls(name, remote or None)


def bring(sites: list[Site], fetch: bool) -> dict[str, Path]:
    """Name -> a folder that holds its results/. `fetch=False`: all is in DVC's cache already.

    Raises UserError where a revision or a remote is unknown, or does not have all that its dvc.lock names.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    locks = {site: _lock(site.name) for site in sites}
    roots = {}
    for number, (site, lock) in enumerate(locks.items()):
        root = FOLDER / str(number)
        _lay_out(root, lock, f"{site.name}: {LOCK}")
        _bring(site, root, fetch)
        roots[site.name] = root.resolve()
    return roots


def _lock(name: str) -> bytes:
    commit = git.commit_of(Path(), name) if name and files.is_nameable(name) else None
    if commit is None:
        raise UserError(
            f"--merge: '{shown(name)}' is no git revision here. `git fetch` brings the branches of the others, and "
            "`git branch --all` names them (origin/main); a remote of DVC stands behind it, --merge REVISION:REMOTE."
        )
    try:
        return git.run(Path(), "show", f"{commit}:./{LOCK}")
    except git.GitError:
        raise UserError(
            f"--merge: {name} has no {LOCK}, so nobody knows what was made there. Whoever made it calls `dvc repro`, "
            f"commits {LOCK} and pushes both (`git push`, `dvc push`)."
        ) from None


def _lay_out(root: Path, lock: bytes, where: str) -> None:
    """A project of DVC's that holds nothing but the results which a lock names."""
    stages = parse(lock, where)
    phases = {str(path) for path in paths.PHASES}
    outs = {name: [out["path"] for out in stage["outs"] if out["path"] in phases] for name, stage in stages.items()}
    outs = {name: found for name, found in outs.items() if found}
    if not outs:
        raise UserError(f"{where}: names no results, so there is nothing to merge.")
    (root / ".dvc").mkdir(parents=True)
    (root / LOCK).write_bytes(lock)
    files.write_text(
        root / "dvc.yaml",
        yaml12.dump({"stages": {name: {"cmd": "none", "outs": found} for name, found in outs.items()}}),
    )


def _bring(site: Site, root: Path, fetch: bool) -> None:
    """By DVC, within this process, so that the keys of its remotes are written nowhere."""
    from dvc.exceptions import CheckoutError, DownloadError, DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]
    from dvc.ui import ui  # type: ignore[import-untyped]

    ui.enable()  # bars, in a terminal
    asked = f"`dvc fetch{f' --remote {site.remote}' if site.remote else ''}`"
    try:
        with Repo(".") as here:
            config: dict[str, Any] = dict(here.config)
            cache = {"dir": here.cache.local.path, "type": ["hardlink", "symlink", "copy"]}
        config |= {"core": config["core"] | {"no_scm": True}, "cache": config["cache"] | cache}
        with Repo(str(root), config=config) as there:
            if fetch:
                there.fetch(remote=site.remote)
            there.checkout(force=True)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped while DVC brought what {site.name} has; the same command goes on.") from None
    except (DownloadError, CheckoutError):
        raise UserError(
            f"{site.name}: {asked} does not get all that its {LOCK} names; DVC's words stand above. Name the remote "
            f"that it was pushed to (--merge {site.name}:REMOTE), or let whoever made it `dvc push` again. What came "
            "is kept: the same command goes on from there. Nothing was merged."
        ) from None
    except DvcException as error:
        raise UserError(f"{site.name}: {asked} failed: {error}. Nothing was merged.") from None
    except Exception as error:  # of a remote's client: they share no class
        raise UserError(f"{site.name}: {asked} failed ({type(error).__name__}: {error}). Nothing was merged.") from None
