"""What the hub client's own cache holds (HF_HOME, HF_HUB_CACHE), for a machine that is not to ask the hub."""

import os
from pathlib import Path

from dp.sources.hub_lock import RepoType


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE says that the hub is not to be asked."""
    from huggingface_hub import is_offline_mode

    return bool(is_offline_mode())


def folder_of(repo: str, revision: str, repo_type: RepoType) -> Path | None:
    """The folder with the cached files of a revision, by name its commit; None where there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # No pattern: a repository of which only some files were fetched counts too.
        found = snapshot_download(
            repo, revision=revision, repo_type=repo_type, local_files_only=True, allow_patterns=[]
        )
    except LocalEntryNotFoundError:
        return None
    return Path(found)


def listing(folder: Path) -> dict[str, str]:
    """File name -> digest that the cache keeps its bytes under: sha256 of a large file, git's blob id of a small one.

    Where they lie under none, as on a disk without links, it is the file's own name, which is no digest of any bytes.
    """
    return {
        path.relative_to(folder).as_posix(): (Path(os.readlink(path)) if path.is_symlink() else path).name
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
