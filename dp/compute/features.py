"""The instance features h(x) of one task under one backbone, once (design section 4)."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dp.backbones.backbone import Backbone
from dp.backbones.families import load
from dp.backbones.names import Family
from dp.closed import Configuration
from dp.data import tokens
from dp.data.batches import collate, evaluation_batches
from dp.errors import UserError
from dp.numerics import tensors
from dp.numerics.compute import Compute
from dp.numerics.devices import device
from dp.numerics.sequence import Sequence, masked_mean
from dp.progress import bar


class FeaturesConfig(Configuration):
    """width: positions that inputs are padded to, where the mean is over all of them."""

    backbone: str
    family: Family
    head: str
    task: str
    pooling: Literal["masked_mean", "padded_mean"]
    width: int | None
    compute: Compute
    batch_size: int


def features(config: FeaturesConfig, tokens_in: Path, backbone_in: Path, folder: Path) -> dict[str, Any]:
    """Write features.safetensors, a tensor [R, H] of each split, and return its facts.

    Raises UserError where one is not finite.
    """
    with device(config.compute) as where:
        backbone = load(backbone_in, config.family, config.head, config.compute.dtype, where)
        splits, _ = tokens.load(tokens_in)
        found = {}
        for name, split in splits.items():
            progress = f"features {config.task} {name}"
            found[name] = of_split(split, backbone, config.width, config.batch_size, where, progress)
        _check(found, splits, config)
        tensors.save(found, folder / "features.safetensors")
    return {"shape": {name: list(value.shape) for name, value in found.items()}}


@torch.no_grad()
def of_split(
    split: tokens.Split, backbone: Backbone, width: int | None, batch_size: int, device: str, progress: str = ""
) -> Tensor:
    """The features [R, H] of a split's rows: means over their tokens, or over all `width` positions of each.

    batch_size: of the longest rows. `progress` names the bar; without it there is none.
    """
    found = torch.empty(len(split), backbone.hidden_size)
    lengths = [width or len(ids) for ids in split.ids]
    batches = evaluation_batches(lengths, batch_size, max(lengths, default=0))
    for numbers in bar(batches, of=progress, unit="batch", shown=bool(progress)):
        batch = collate(split, numbers, width=width).to(device)
        states = backbone.hidden(Sequence(backbone.embed(batch.ids), batch.mask, batch.mask))
        counted = batch.mask if width is None else torch.ones_like(batch.mask)
        found[numbers] = masked_mean(states.float(), counted).cpu()
    return found


def _check(features: dict[str, Tensor], splits: dict[str, tokens.Split], config: FeaturesConfig) -> None:
    """Raises UserError that names the first row whose feature is not finite. Of the weights fetch saw to that."""
    for name, found in features.items():
        wrong = (~found.isfinite().all(1)).nonzero().flatten().tolist()
        if wrong:
            split, dtype = splits[name], config.compute.dtype
            cause = (
                f"the states of the backbone overflow in {dtype}. Set compute.dtype to float32, or choose another one"
            )
            if not len(split.ids[wrong[0]]):
                cause = "it has no tokens. Correct the row, or the task's template"
            raise UserError(
                f"Features of task '{config.task}' under backbone '{config.backbone}': {len(wrong)} of "
                f"{len(found)} rows of {name}, {split.rows[wrong[0]]['id']} first, are NaN or infinite: {cause}."
            )
