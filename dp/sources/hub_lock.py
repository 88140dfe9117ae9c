"""`workflow/hub.lock.yaml`: repository -> revision -> its commit, and the sha256 of every file used of it."""

import re
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from dp import files, yaml12
from dp.closed import Closed, Sha256, validated
from dp.errors import UserError
from dp.sources.cache import cache

LOCK = Path("workflow", "hub.lock.yaml")
RepoType = Literal["model", "dataset"]


class _Pinned(Closed):
    commit: str
    files: dict[str, Sha256]


class _HubLock(Closed):
    """repository -> revision -> what it was and is."""

    repositories: dict[str, dict[str, _Pinned]]


def key_of(repo: str, repo_type: RepoType) -> str:
    """What the lock, and messages, call a repository."""
    return repo if repo_type == "model" else f"datasets/{repo}"


def is_commit(revision: str) -> bool:
    """Whether a revision pins itself: a whole commit, and no branch, tag or pull request."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def pinned(repo: str, revision: str, repo_type: RepoType, text: bytes | None = None) -> str | None:
    """The commit that the lock, or one of this text, names for a revision; None where it names none."""
    found = _entries(text).get(key_of(repo, repo_type), {}).get(revision, {})
    return found.get("commit")


def locked(key: str, revision: str) -> dict[str, str]:
    """File name -> sha256 that the lock pins."""
    digests: dict[str, str] = _entries().get(key, {}).get(revision, {}).get("files", {})
    return digests


def lock(key: str, revision: str, commit: str, digests: dict[str, str]) -> None:
    """Add to the lock what it does not hold yet."""
    (cache() / "hub").mkdir(parents=True, exist_ok=True)
    with FileLock(cache() / "hub" / f".{LOCK.name}.lock"):
        entries = _entries()
        held = entries.setdefault(key, {}).setdefault(revision, {"commit": commit, "files": {}})
        merged = digests | held["files"]
        if merged != held["files"] or not merged:
            held["files"] = merged
            files.write_text(LOCK, yaml12.dump(entries))


def _entries(text: bytes | None = None) -> dict[str, Any]:
    """Of a text, or of the file. Raises UserError where it is not what `lock` writes."""
    if text is None:
        if not LOCK.is_file():
            return {}
        text = LOCK.read_bytes()
    try:
        held = {"repositories": yaml12.parse(text, str(LOCK)) or {}}
        return validated(_HubLock, held, LOCK).model_dump()["repositories"]
    except UserError as error:
        raise UserError(f"{error} Restore it from version control.") from None
