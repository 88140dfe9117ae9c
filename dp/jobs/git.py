"""Every call of git: in the repository that holds a folder, whatever a hook's variables say, and in git's own words."""

import os
import subprocess
from pathlib import Path

from dp.errors import UserError

# Those of `git rev-parse --local-env-vars` that name another repository, index or history; git sets them for its hooks.
# The rest of them is configuration, which may be what admits a folder (safe.directory).
REDIRECTING = ("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_PREFIX", "GIT_NAMESPACE",
               "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_SHALLOW_FILE",
               "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS",
               "GIT_INTERNAL_SUPER_PREFIX")  # fmt: skip


class GitError(UserError):
    """What git, or the attempt to start it, said."""


def environment() -> dict[str, str]:
    """This process's, as git and what calls git (DVC, Snakemake) should see it."""
    return {name: value for name, value in os.environ.items() if name not in REDIRECTING}


def run(root: Path, *arguments: str) -> bytes:
    """Standard output of `git <arguments>` in a folder. Raises GitError where git fails or is not there."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise GitError(f"git cannot be started ({error.strerror})") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="backslashreplace").split())
        raise GitError(said or f"`git {' '.join(arguments)}` ended with status {done.returncode}")
    return done.stdout


def head(root: Path) -> str:
    """The commit that is checked out in the repository around a folder. Raises GitError where git names none."""
    return run(root, "rev-parse", "--verify", "HEAD").decode().strip()


def commit_of(root: Path, name: str) -> str | None:
    """The commit that a revision's name means in the repository around a folder; None where it means none."""
    try:
        return run(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    except GitError:
        return None
