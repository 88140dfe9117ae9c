"""NaN and infinity are found where they arise, and never saved."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dp.errors import UserError


def check_finite(tensors: Mapping[str, Tensor], where: str, remedy: str) -> None:
    """Raises UserError that names the first tensor with a number that is NaN or infinite, and the remedy."""
    for name, tensor in tensors.items():
        if wrong := int((~tensor.isfinite()).sum()):
            raise UserError(
                f"{where}: {name} holds {wrong} of {tensor.numel()} numbers that are NaN or infinite. {remedy}"
            )


def all_finite(tensors: Mapping[str, Tensor]) -> Tensor:
    """[], bool, on the tensors' device, which nobody waits for: whether no tensor has such a number."""
    return torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).all()


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with such a number; one answer from the device for all of them."""
    if not tensors or all_finite(tensors):
        return None
    return next(name for name, tensor in tensors.items() if not tensor.isfinite().all())
