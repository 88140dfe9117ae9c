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
from dp.prompts.prompt import Choices
from dp.protocols import SHARING, input_width


@torch.no_grad()
def score(
    classifier: Classifier, split: Split, features: Tensor | None, config: dict[str, Any], step: int, progress: str = ""
) -> tuple[Tensor, Choices | None]:
    """Scores [R, C] and what the prompt chose (None without one), in the order of the split, after `step` updates.

    Choices are the argmax, or drawn under the switch gumbel_at_evaluation; the draw depends on the step, so the same
    step gives the same numbers again. draw_by_four shares draws as batches of four in the data's order would, and rows
    stay batched by length. features: [R, H] or None. `progress` names the bar; without it there is none.
    """
    width, draws = input_width(config), "gumbel_at_evaluation" in config["switches"]
    sharing = SHARING if "draw_by_four" in config["switches"] else None
    batches = evaluation_batches([len(ids) for ids in split.ids], config["evaluation_batch_size"])
    scores = torch.empty(split.outputs.shape)
    chosen: list[Choices] = []
    for number, rows in enumerate(
        tqdm(batches, desc=progress, unit="batch", disable=not progress, file=sys.stderr, mininterval=5)
    ):
        batch = collate(split, rows, features, width).to(classifier.device)
        moment = Moment(config["seed"], step, number, batch.rows, training=False, draws=draws, sharing=sharing)
        found, choices = classifier(batch, moment)
        scores[rows] = found.cpu()
        if choices is not None:
            chosen.append(choices)
    order = torch.tensor([row for rows in batches for row in rows]).argsort()
    return scores, _joined(chosen, order) if chosen else None


def _joined(chosen: list[Choices], order: Tensor) -> Choices:
    """Each part over all rows, in the order of the split; a part that the prompt does not choose stays None."""

    def joined(parts: list[Tensor | None]) -> Tensor | None:
        there = [part for part in parts if part is not None]
        return torch.cat(there).cpu()[order] if there else None

    split = torch.cat([choices.split for choices in chosen]).cpu()[order]
    return Choices(split, joined([one.length for one in chosen]), joined([one.pool for one in chosen]))
