"""Source `hub`: files of one commit. `workflow/hub.lock.yaml` pins the commit and the digest of every file used.

The first time a revision is seen it is resolved to a commit and written down; from then on that commit is used,
wherever the branch has gone, and a file whose bytes differ is refused. HF_ENDPOINT names another hub.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

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


class Fetched(NamedTuple):
    commit: str
    paths: dict[str, Path]
    digests: dict[str, str]
    """Name -> sha256 that the file was verified by."""


def obtain(repo: str, revision: str, repo_type: RepoType, choose: Callable[[list[str]], list[str]]) -> Fetched:
    """The files that `choose` picks from the names in the repository, verified, at the locked commit of `revision`.

    Raises UserError: no such repository, revision or file; no network; digests other than the locked or announced ones.
    """
    key = _key(repo, repo_type)
    with _exclusive(key.replace("/", "--")), _explained(key, revision):
        for partial in (cache() / "hub").glob(f"*--{repo.replace('/', '--')}/blobs/*.incomplete"):
            partial.unlink()
        commit = _locked(key, revision).get("commit") or _resolve(key, repo, revision, repo_type)
        announced = _listing(key, repo, commit, repo_type)
        paths = {}
        for name in choose(sorted(announced)):
            if name not in announced:
                raise UserError(
                    f"hub: {key} has no file '{name}' at commit {commit}. Its files are {sorted(announced)[:20]}; "
                    "correct the file name or the revision."
                )
            paths[name] = _file(key, repo, revision, repo_type, commit, name, announced[name])
        pinned = _locked(key, revision)["files"]
    return Fetched(commit, paths, {name: pinned[name] for name in paths})


def pinned(repo: str, revision: str, repo_type: RepoType) -> str | None:
    """The commit that the lock names for a revision; None where it names none."""
    return _locked(_key(repo, repo_type), revision).get("commit")


def _key(repo: str, repo_type: RepoType) -> str:
    return repo if repo_type == "model" else f"datasets/{repo}"


def _client() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


def _resolve(key: str, repo: str, revision: str, repo_type: RepoType) -> str:
    commit = str(_client().repo_info(repo, revision=revision, repo_type=repo_type).sha)
    _lock(key, revision, commit, {})
    return commit


def _listing(key: str, repo: str, commit: str, repo_type: RepoType) -> dict[str, str]:
    """File name -> the digest that the hub announces (sha256 of a large file, git's blob id of a small one).

    A commit never changes, so its listing is kept and a second call needs no network.
    """
    kept = cache() / "hub" / "listings" / key.replace("/", "--") / f"{commit}.json"
    if not kept.is_file():
        info = _client().repo_info(repo, revision=commit, repo_type=repo_type, files_metadata=True)
        siblings = getattr(info, "siblings", None) or []
        files.write_json(kept, {s.rfilename: s.lfs.sha256 if s.lfs else (s.blob_id or "") for s in siblings})
    listing: dict[str, str] = files.read_json(kept)
    return listing


def _file(key: str, repo: str, revision: str, repo_type: RepoType, commit: str, name: str, announced: str) -> Path:
    """One verified file. A damaged copy in the cache is downloaded once more before it is refused."""
    expected = _locked(key, revision)["files"].get(name)
    for again in (False, True):
        place = {"repo_type": repo_type, "revision": commit, "cache_dir": cache() / "hub"}
        path = Path(_client().hf_hub_download(repo, name, **place, force_download=again))
        actual = files.sha256(path)
        if actual == expected or (expected is None and _is_announced(path, actual, announced)):
            _lock(key, revision, commit, {name: actual})
            return path
    path.resolve().unlink()
    path.unlink(missing_ok=True)
    raise UserError(
        f"hub: {key}, commit {commit}: the sha256 of '{name}' is {actual}, not {expected or announced} as "
        f"{LOCK if expected else 'the hub announces'}. The bytes were damaged on the way or changed on the hub. Run "
        f"the same command again; if it persists, do not use the file, or take {key} out of {LOCK} to accept it."
    )


def _is_announced(path: Path, sha256: str, announced: str) -> bool:
    if re.fullmatch(r"[0-9a-f]{40}", announced):
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == announced
    return announced in ("", sha256)


# The lock file: {repo: {revision: {commit, files: {name: sha256}}}}


def _entries() -> dict[str, Any]:
    """Raises UserError where the file is not what `_lock` writes."""
    if not LOCK.is_file():
        return {}
    try:
        return validated(_HubLock, {"repositories": yaml12.read(LOCK) or {}}, LOCK).model_dump()["repositories"]
    except UserError as error:
        raise UserError(f"{error} Restore it from version control.") from None


def _locked(key: str, revision: str) -> dict[str, Any]:
    entry: dict[str, Any] = _entries().get(key, {}).get(revision, {})
    return entry


def _lock(key: str, revision: str, commit: str, digests: dict[str, str]) -> None:
    """Add to the lock what it does not hold yet."""
    with _exclusive("lock"):
        entries = _entries()
        held = entries.setdefault(key, {}).setdefault(revision, {"commit": commit, "files": {}})
        merged = digests | held["files"]
        if merged != held["files"] or not merged:
            held["files"] = merged
            files.write_text(LOCK, yaml12.dump(entries))


@contextmanager
def _exclusive(name: str) -> Iterator[None]:
    folder = cache() / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        yield


@contextmanager
def _explained(key: str, revision: str) -> Iterator[None]:
    """Turns what the hub's client raises into a UserError."""
    from huggingface_hub import errors

    again = "then run the same command again"
    try:
        yield
    except errors.RevisionNotFoundError:
        raise UserError(f"hub: {key} has no revision '{revision}'. Correct it to a branch, tag or commit.") from None
    except errors.GatedRepoError:
        raise UserError(
            f"hub: {key} is gated. Accept its terms on the hub, log in with `hf auth login`, {again}."
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"hub: there is no {key}, or it is private. Correct the name, or log in with `hf auth login`, {again}."
        ) from None
    except (errors.HfHubHTTPError, OSError, RuntimeError) as error:
        raise UserError(
            f"hub: {key}@{revision} could not be downloaded ({_first_line(error)}). Check the network and HF_ENDPOINT, "
            f"{again}; a finished file is not downloaded twice."
        ) from None
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        raise UserError(
            f"hub: {key}@{revision} could not be downloaded: no connection or a broken one ({_first_line(error)}). "
            f"Check the network and HF_ENDPOINT, {again}; a finished file is not downloaded twice."
        ) from None


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
