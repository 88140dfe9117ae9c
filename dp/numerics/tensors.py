"""Tensors on their way: to a device, back from it, and into files (written beside, then renamed, as all others)."""

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


def sent(value: Tensor, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """On the device, rounded to the dtype before; from the CPU to a GPU without waiting for what that computes.

    From pageable memory CUDA would wait, whatever it is asked.
    """
    if dtype is not None:
        value = value.to(dtype)
    if value.is_cpu and torch.device(device).type == "cuda":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


def fetched(tensors: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The numbers of one-dimensional tensors, all of one device, in one transfer; a float64 holds each as it is."""
    whole = torch.cat([value.detach().double() for value in tensors.values()]).cpu()
    parts = whole.split([len(value) for value in tensors.values()])
    return {name: part.tolist() for name, part in zip(tensors, parts, strict=True)}


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
