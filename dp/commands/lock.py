"""`dp lock`: the commits of everything that a scale reads from the hub, written down before it is fetched."""

import argparse
from pathlib import Path

from dp.backbones.definition import HubSource
from dp.commands import common
from dp.errors import UserError
from dp.jobs import git, pins
from dp.lineage import revisions
from dp.sources.hub_lock import LOCK, is_commit, key_of, pinned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace) -> None:
    """Resolve what the lock does not name yet, and say what to commit.

    Raises UserError for a revision that the hub does not have, or does not give to us; the others are locked.
    """
    study = common.study(arguments)
    found, failed = revisions.of_scale(study), []
    if not found:
        print(f"Scale {study.scale_name} reads nothing from the hub with source '{study.source}': there is no lock.")
        return
    for one in found:
        repo, revision = one.source.repo, one.source.revision
        before = pinned(repo, revision, one.repo_type)
        try:
            commit, files = _locked(one)
        except UserError as error:
            failed.append(str(error))
            continue
        how = f"is commit {commit}" + (", as the lock had it" if before == commit else "")
        how = "is a commit" if is_commit(revision) else how
        print(f"{one.name}: {key_of(repo, one.repo_type)}@{revision} {how}; {', '.join(files)}")
    if failed:
        raise UserError(f"{len(failed)} of {len(found)} are not locked:" + "".join(f"\n  {why}" for why in failed))
    print(_next(study.scale_name))


def _locked(one: revisions.Revision) -> tuple[str, list[str]]:
    """The commit, and the files that will be read."""
    from dp.sources.hub_locking import lock_backbone, lock_rows

    fetched = lock_backbone(one.source) if isinstance(one.source, HubSource) else lock_rows(one.source)
    return fetched.commit, sorted(fetched.digests)


def _next(scale: str) -> str:
    if pins.committed_lock() == LOCK.read_bytes():
        return (
            f"{LOCK} is committed as it is. To take a newer commit of a repository, take its entry out, and lock anew."
        )
    try:
        git.head(Path())
    except git.GitError as error:
        return f"{LOCK} holds them. Numbers are labelled unpinned until it is committed, and git says: {error}."
    return (
        f"{LOCK} holds them. Commit it, or the numbers of this scale are labelled unpinned:\n"
        f"  git add {LOCK} && git commit -m 'Hub revisions of scale {scale}'"
    )
