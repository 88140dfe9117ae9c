"""Tensors in files: written beside, then renamed, as all others."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
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


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """sha256 of the names, types, shapes and bytes of tensors on the CPU, in the order given."""
    found = hashlib.sha256()
    for name, value in tensors:
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
