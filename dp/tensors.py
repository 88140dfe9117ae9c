"""Tensors in files: written beside, then renamed, as all others."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from dp.errors import UserError
from dp.files import replacing


def save(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Raises UserError as `named`."""
    with named(path), replacing(path) as beside:
        save_file(dict(tensors), beside, metadata)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """What safetensors cannot write, on a full disk above all, is no OSError there, and names no file.

    Raises UserError that names `path`.
    """
    try:
        yield
    except SafetensorError as error:
        raise UserError(f"{path}: is not written ({error}). Make room, then call it again.") from None
