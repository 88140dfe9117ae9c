"""What the report would refuse of runs that are still to be made, said before they are."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from dp.jobs import git, record
from dp.jobs.closure import PACKAGE
from dp.jobs.finding import some

SHOWN = 5
WITHOUT = (
    "Or `--config allow_dirty=true` (dp: `--set allow_dirty=true`) goes on without: the numbers are labelled {label}, "
    "and what made them can neither be checked out again nor compared (`python -m dp diff`)."
)


def no_commit(root: Path = PACKAGE.parent) -> str | None:
    """Why runs made now come from code that no commit holds, and what helps; None where one does."""
    try:
        changed = record.changed_code(root) if record.committed(root)["dirty"] else []
    except git.GitError as error:
        return f"git names no commit of this code: {error}. {_remedy(root)} {WITHOUT.format(label='no-commit')}"
    if changed:
        return (f"Code differs from the commit that is checked out: {some(changed, SHOWN)}. Commit it, or put it aside "
                f"(`git stash --include-untracked`). {WITHOUT.format(label='dirty-tree')}")  # fmt: skip
    return None


def made_without(folders: Iterable[Path]) -> str | None:
    """Which of some artifacts that are here hold a run whose code no commit holds, and what helps; None where none."""
    records = ((folder, record.read(folder)) for folder in folders)
    found = [str(folder) for folder, made in records
             if made["command"] in ("train", "evaluate") and not record.is_committed(made)]  # fmt: skip
    if not found:
        return None
    return (f"{len(found)} runs here were made from code that no commit held: {some(found, SHOWN)}. Delete their "
            f"folders, so that they are made again. {WITHOUT.format(label='dirty-tree or no-commit')}")  # fmt: skip


def _remedy(root: Path) -> str:
    if shutil.which("git") is None:
        return "Install git."
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if top is None:
        return f"For a folder without history: `cd {root} && git init && git add -A && git commit -m 'as downloaded'`."
    return (f"For another user's clone: `git config --global --add safe.directory {top}`; for a folder that no commit "
            f"holds: `cd {root} && git add -A && git commit`.")  # fmt: skip
