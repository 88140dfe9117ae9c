"""Source `hub`: files of one commit, which `workflow/hub.lock.yaml` pins with the digest of every file used.

The first time a revision is seen it is resolved to a commit and written down; from then on that commit is used,
wherever the branch has gone, and a file whose bytes differ is refused. HF_ENDPOINT names another hub; what the cache of
the hub's client holds of the commit is taken from there; with HF_HUB_OFFLINE nothing else is.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from dp import files
from dp.errors import UserError
from dp.sources import hub_cache
from dp.sources.cache import cache
from dp.sources.hub_lock import LOCK, RepoType, is_commit, key_of, lock, locked, pinned
from dp.sources.transfer import remote, transfer

LARGE = re.compile(r"[0-9a-f]{64}")
"""How the hub announces a large file: by its sha256."""
UNFINISHED = "*.????????.incomplete"
"""The client's partial files, each under a name of one call alone, which no other goes on with."""


class Fetched(NamedTuple):
    commit: str
    paths: dict[str, Path]
    digests: dict[str, str]
    """Name -> sha256 that the file was verified by."""


class _Snapshot(NamedTuple):
    """A repository at one commit.

    `held`: its folder in the cache of the hub's client, where there is one. `is_alone`: no other call works on it.
    """

    repo: str
    repo_type: RepoType
    revision: str
    commit: str
    held: Path | None
    is_alone: bool

    @property
    def key(self) -> str:
        return key_of(self.repo, self.repo_type)

    @property
    def locked(self) -> dict[str, str]:
        return locked(self.key, self.revision)

    @property
    def folder(self) -> Path:
        """Where the hub's client keeps the repository in this cache: bytes in `blobs`, names in `snapshots`."""
        return cache() / "hub" / f"{self.repo_type}s--{self.repo.replace('/', '--')}"

    def lock(self, digests: dict[str, str]) -> None:
        lock(self.key, self.revision, self.commit, digests)


def obtain(
    repo: str, revision: str, repo_type: RepoType, choose: Callable[[list[str]], list[str]], large: bool = True
) -> Fetched:
    """The files that `choose` picks from the names in the repository, verified, at the locked commit of `revision`.

    large: whether to download what the hub announces by its sha256, too; else that digest alone is locked.
    Raises UserError: no such repository, revision or file; no network; digests other than the locked or announced ones.
    """
    key = key_of(repo, repo_type)
    with _exclusive(key.replace("/", "--")) as is_alone, _explained(repo, revision, repo_type):
        commit = pinned(repo, revision, repo_type) or _resolved(repo, revision, repo_type)
        held = hub_cache.folder_of(repo, commit, repo_type)
        snapshot = _Snapshot(repo, repo_type, revision, commit, held, is_alone)
        for partial in snapshot.folder.glob(f"blobs/{UNFINISHED}") if is_alone else ():
            partial.unlink()
        announced = _listing(snapshot)
        chosen = choose(sorted(announced))
        if astray := [name for name in chosen if name.startswith("/") or ".." in name.split("/")]:
            raise UserError(f"hub: {key} has a file '{astray[0]}' at commit {commit}, which would leave its folder.")
        if absent := [name for name in chosen if name not in announced]:
            raise UserError(
                f"hub: {key} has no file '{absent[0]}' at commit {commit}. Its files are {sorted(announced)[:20]}; "
                "correct the file name or the revision."
            )
        left = {name: announced[name] for name in chosen if not large and LARGE.fullmatch(announced[name])}
        snapshot.lock(left)
        paths = {name: _file(snapshot, name, announced[name]) for name in chosen if name not in left}
        digests = snapshot.locked
    return Fetched(commit, paths, {name: digests[name] for name in chosen})


def log(repo: str, revision: str, repo_type: RepoType, fetched: Fetched, what: str) -> None:
    """Say what was taken, and from which revision, on standard error."""
    names, commit = ", ".join(sorted(fetched.paths)), "" if is_commit(revision) else f" is commit {fetched.commit}"
    print(f"hub: {key_of(repo, repo_type)}@{revision}{commit}: took {what}, {names}.", file=sys.stderr)


def _client() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


def _resolved(repo: str, revision: str, repo_type: RepoType) -> str:
    if is_commit(revision):
        return revision
    if hub_cache.is_offline() and (held := hub_cache.folder_of(repo, revision, repo_type)):
        return held.name
    return str(_client().repo_info(repo, revision=revision, repo_type=repo_type).sha)


def _listing(snapshot: _Snapshot) -> dict[str, str]:
    """File name -> the digest that the hub announces (sha256 of a large file, git's blob id of a small one).

    A commit never changes, so its listing is kept and a second call needs no network. Without one, offline, it is of
    what the client's cache holds, and of what the lock names besides.
    """
    kept = cache() / "hub" / "listings" / snapshot.key.replace("/", "--") / f"{snapshot.commit}.json"
    if not kept.is_file():
        if snapshot.held and hub_cache.is_offline():
            return snapshot.locked | hub_cache.listing(snapshot.held)
        where = {"revision": snapshot.commit, "repo_type": snapshot.repo_type}
        info = _client().repo_info(snapshot.repo, **where, files_metadata=True)
        siblings = getattr(info, "siblings", None) or []
        files.write_json(kept, {s.rfilename: s.lfs.sha256 if s.lfs else (s.blob_id or "") for s in siblings})
    listing: dict[str, str] = files.read_json(kept)
    return listing


def _file(snapshot: _Snapshot, name: str, announced: str) -> Path:
    """One verified file. A damaged copy in the client's cache is passed over; one in this cache is downloaded once more
    before it is refused."""
    expected = snapshot.locked.get(name)

    def is_right(path: Path, actual: str) -> bool:
        return actual == expected or (expected is None and _is_announced(path, actual, announced))

    held = snapshot.held / name if snapshot.held else None
    if held and held.is_file() and is_right(held, actual := files.sha256(held)):
        snapshot.lock({name: actual})
        return held
    fetch = _large if LARGE.fullmatch(announced) else _small
    for again in (False, True):
        path = fetch(snapshot, name, announced, again)
        if is_right(path, actual := files.sha256(path)):
            snapshot.lock({name: actual})
            return path
    path.resolve().unlink()
    path.unlink(missing_ok=True)
    key = snapshot.key
    raise UserError(
        f"hub: {key}, commit {snapshot.commit}: the sha256 of '{name}' is {actual}, not {expected or announced} as "
        f"{LOCK if expected else 'the hub announces'}. The bytes were damaged on the way or changed on the hub. Run "
        f"the same command again; if it persists, do not use the file, or take {key} out of {LOCK} to accept it."
    )


def _small(snapshot: _Snapshot, name: str, announced: str, again: bool) -> Path:
    place = {"repo_type": snapshot.repo_type, "revision": snapshot.commit, "cache_dir": snapshot.folder.parent}
    return Path(_client().hf_hub_download(snapshot.repo, name, **place, force_download=again))


def _large(snapshot: _Snapshot, name: str, announced: str, again: bool) -> Path:
    """Lies where the hub's client keeps it, which brings it itself where a part could not be gone on with."""
    from huggingface_hub import hf_hub_url

    path, blobs = snapshot.folder / "snapshots" / snapshot.commit / name, snapshot.folder / "blobs"
    blob = blobs / announced
    if again:
        for damaged in (path.resolve(), path, blob):
            damaged.unlink(missing_ok=True)
    if path.is_file():
        return path
    if not blob.is_file():
        where = {"repo_type": snapshot.repo_type, "revision": snapshot.commit}
        url = hf_hub_url(snapshot.repo, name, **where, endpoint=os.environ.get("HF_ENDPOINT") or None)
        one = remote(url) if snapshot.is_alone else None
        if one is None:
            return _small(snapshot, name, announced, again)
        transfer(url, one, blob, blobs / f"{announced}.incomplete")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:  # a disk without links
        blob.replace(path)
    return path


def _is_announced(path: Path, sha256: str, announced: str) -> bool:
    if re.fullmatch(r"[0-9a-f]{40}", announced):
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == announced
    return announced in ("", sha256)


@contextmanager
def _exclusive(name: str) -> Iterator[bool]:
    """Waits for other calls. Yields whether they wait for this one, too: on some file systems locks do nothing."""
    folder = cache() / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock") as held:
        second = FileLock(held.lock_file)
        try:
            second.acquire(timeout=0)
        except Timeout:
            yield True
        else:
            second.release()
            yield False


@contextmanager
def _explained(repo: str, revision: str, repo_type: RepoType) -> Iterator[None]:
    """Turns what the hub's client raises into a UserError."""
    from huggingface_hub import constants, errors

    key, again = key_of(repo, repo_type), "then run the same command again"
    token = "with `hf auth login` or in HF_TOKEN"
    network = f"Check the network, HF_ENDPOINT and HTTPS_PROXY, {again}; it goes on with what has arrived."
    try:
        yield
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        if not hub_cache.is_offline():
            raise UserError(
                f"hub: {key}@{revision} could not be downloaded ({_first_line(error)}). {network}"
            ) from None
        commit = pinned(repo, revision, repo_type)
        by_lock = f" (commit {commit} by {LOCK})" if commit else ""
        raise UserError(
            f"hub: HF_HUB_OFFLINE is set, and not all that is needed of {key}@{revision}{by_lock} lies verifiably in "
            f"{cache() / 'hub'} or in the cache of the hub's client, {constants.HF_HUB_CACHE}. Unset it, or bring one "
            f"of the two from a machine with a network, {again}."
        ) from None
    except errors.RevisionNotFoundError:
        if commit := pinned(repo, revision, repo_type):
            raise UserError(
                f"hub: {key} has no commit {commit}, which {LOCK} pins for '{revision}'. It was taken away, or "
                "HF_ENDPOINT names a hub that lacks it; to have the revision as it is now, take its entry out."
            ) from None
        raise UserError(f"hub: {key} has no revision '{revision}'. Correct it to a branch, tag or commit.") from None
    except errors.GatedRepoError:
        raise UserError(f"hub: {key} is gated. Accept its terms on the hub, give a token {token}, {again}.") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"hub: there is no {key}, or it is private. Correct the name, or give a token {token}, {again}."
        ) from None
    except errors.HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise UserError(
                f"hub: {key}@{revision} could not be downloaded ({_first_line(error)}). {network}"
            ) from None
        raise UserError(
            f"hub: {key}@{revision} is refused ({_first_line(error)}). Give a valid token {token}, or none, {again}."
        ) from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"hub: {key}@{revision} could not be downloaded ({_first_line(error)}). {network}") from None
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        raise UserError(
            f"hub: {key}@{revision} could not be downloaded: no connection or a broken one ({_first_line(error)}). "
            f"{network}"
        ) from None


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
