"""Class scores of a whole split."""

import sys
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dp.classifier import Classifier
from dp.data.batches import collate, evaluation_batches
from dp.data.tokens import Split
from dp.prompts.choice import Moment


@torch.no_grad()
def score(
    classifier: Classifier, split: Split, features: Tensor | None, config: dict[str, Any], progress: str = ""
) -> tuple[Tensor, Tensor | None]:
    """Scores [N, C] and chosen splits [N] (None without a prompt), in the order of the split; choices are argmax.

    features: [N, H] or None. `progress` names the bar; without it there is none.
    """
    lengths = [len(ids) for ids in split.ids]
    scores = torch.empty(len(split), len(classifier.words))
    splits = None if classifier.prompt is None else torch.empty(len(split), dtype=torch.long)
    batches = evaluation_batches(lengths, config["evaluation_batch_size"])
    for numbers in tqdm(batches, desc=progress, unit="batch", disable=not progress, file=sys.stderr, mininterval=5):
        batch = collate(split, numbers, features).to(classifier.device)
        found, chosen = classifier(batch, Moment(config["seed"], None, 0, 1.0, batch.rows))
        scores[numbers] = found.cpu()
        if splits is not None and chosen is not None:
            splits[numbers] = chosen.cpu()
    return scores, splits
