"""Source `folder`: files that the user already has."""

from collections.abc import Mapping
from pathlib import Path

from dp import files
from dp.errors import UserError, shown


def obtain(folder: str | None, wanted: Mapping[str, str | None], remedy: str) -> dict[str, Path]:
    """Name -> path of each wanted file (name -> sha256, None: any). Raises UserError for a missing or another file."""
    if not folder:
        raise UserError(f"folder: is not set, and source 'folder' needs it. {remedy}")
    try:
        base = Path(folder).expanduser()
        if not base.is_dir():
            raise UserError(f"folder: '{folder}' is not a directory. {remedy}")
        return {name: _verified(base / name, digest, remedy) for name, digest in wanted.items()}
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ or ~somebody without a home
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"folder: {shown(repr(folder))} cannot be read ({reason}). {remedy}") from None


def _verified(path: Path, digest: str | None, remedy: str) -> Path:
    if not path.is_file():
        raise UserError(f"{path} does not exist. {remedy}")
    actual = files.sha256(path)
    if digest and actual != digest:
        raise UserError(f"{path}: its sha256 is {actual}, not {digest}: it is another version or damaged. {remedy}")
    return path
