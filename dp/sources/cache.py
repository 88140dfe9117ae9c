"""Downloads are kept outside the results; results are built aside and renamed, so nothing half-written is ever seen."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING = ".staging"


def cache() -> Path:
    """Where downloads are kept: DP_CACHE, or `.cache/dp` in the working directory."""
    return Path(os.environ.get("DP_CACHE") or Path(".cache", "dp"))


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` to build its files in. On success they replace everything that `folder` held.

    What a killed call left there is removed first; on failure nothing in `folder` changes.
    """
    aside = folder / STAGING
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        made = {path.name for path in aside.iterdir()}
        (folder / "record.json").unlink(missing_ok=True)
        for old in folder.iterdir():
            if old.is_file() and old.name not in made:
                old.unlink()
        for new in aside.iterdir():
            os.replace(new, folder / new.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
