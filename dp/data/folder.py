"""Source `folder`: files that the user already has."""

from collections.abc import Mapping
from pathlib import Path

from dp import files
from dp.errors import UserError


def obtain(folder: str | None, wanted: Mapping[str, str | None], remedy: str) -> dict[str, Path]:
    """Name -> path of each wanted file (name -> sha256, None: any). Raises UserError for a missing or another file."""
    if not folder:
        raise UserError(f"folder: is not set, and source 'folder' needs it. {remedy}")
    base = Path(folder).expanduser()
    if not base.is_dir():
        raise UserError(f"folder: '{folder}' is not a directory. {remedy}")
    found = {}
    for name, digest in wanted.items():
        path = base / name
        if not path.is_file():
            raise UserError(f"{path} does not exist. {remedy}")
        actual = files.sha256(path)
        if digest and actual != digest:
            raise UserError(f"{path}: its sha256 is {actual}, not {digest}: it is another version or damaged. {remedy}")
        found[name] = path
    return found
