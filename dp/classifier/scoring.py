"""Class scores of a whole split."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dp.classifier.classifier import Classifier
from dp.classifier.classifier_config import ClassifierConfig
from dp.data.batches import collate, evaluation_batches
from dp.data.tokens import Split
from dp.errors import UserError
from dp.numerics.finite import check_finite, not_finite
from dp.progress import bar
from dp.prompts.choice import Moment
from dp.prompts.prompt import Choices
from dp.prompts.released import SHARING


@torch.no_grad()
def score(
    classifier: Classifier,
    split: Split,
    features: Tensor | None,
    config: ClassifierConfig,
    step: int,
    progress: str = "",
) -> tuple[Tensor, Choices | None]:
    """Scores [R, C] and what the prompt chose (None without one), in the order of the split, after `step` updates.

    Choices are the argmax, or drawn under the switch gumbel_at_evaluation; the draw depends on the step, so the same
    step gives the same numbers again. draw_by_four shares draws as batches of four in the data's order would, and rows
    stay batched by length. features: [R, H] or None. `progress` names the bar; without it there is none.
    """
    if features is not None:
        check_finite({"the table": features}, "Instance features", "Delete their folder, and run again.")
    width, draws = config.input_width, "gumbel_at_evaluation" in config.switches
    sharing = SHARING if "draw_by_four" in config.switches else None
    lengths = [width or len(ids) for ids in split.ids]
    size = config.evaluation_batch_size
    batches = evaluation_batches(lengths, size, config.max_tokens, classifier.prompt_length)
    if draws:  # a draw that a batch shares is of so many rows, however short they are
        every = [row for batch in batches for row in batch]
        batches = [every[start : start + size] for start in range(0, len(every), size)]
    scores = torch.empty(split.outputs.shape)
    chosen: list[Choices] = []
    for number, rows in enumerate(bar(batches, of=progress, unit="batch", shown=bool(progress))):
        batch = collate(split, rows, features, width).to(classifier.device)
        moment = Moment(config.seed, step, number, batch.rows, training=False, draws=draws, sharing=sharing)
        found, choices = classifier(batch, moment)
        scores[rows] = found.cpu()
        if choices is not None:
            chosen.append(choices)
    _check(scores, split, config, classifier.kept())
    order = torch.tensor([row for rows in batches for row in rows]).argsort()
    return scores, _joined(chosen, order) if chosen else None


def _check(scores: Tensor, split: Split, config: ClassifierConfig, tuned: Mapping[str, Tensor]) -> None:
    """Raises UserError where the score of a class that a row has is not finite, with the cause."""
    wrong = ((~scores.isfinite()) & (split.outputs >= 0)).any(1).nonzero().flatten().tolist()
    if not wrong:
        return
    number, dtype = wrong[0], config.compute.dtype
    cause = f"the backbone's states overflow in {dtype}; set compute.dtype to float32, or lower the learning rate"
    if name := not_finite(tuned):
        cause = f"the tuned tensor {name} is not finite; lower the learning rate"
    elif not len(split.ids[number]):
        cause = "it has no tokens; correct the row, or the task's template"
    raise UserError(
        f"{config.backbone}, {config.task}, {config.variant}: the scores of {len(wrong)} of {len(scores)} "
        f"rows, {split.rows[number]['id']} first, are NaN or infinite: {cause}."
    )


def _joined(chosen: list[Choices], order: Tensor) -> Choices:
    """Each part over all rows, in the order of the split; a part that the prompt does not choose stays None."""

    def joined(parts: list[Tensor | None]) -> Tensor | None:
        there = [part for part in parts if part is not None]
        return torch.cat(there).cpu()[order] if there else None

    split = torch.cat([choices.split for choices in chosen]).cpu()[order]
    return Choices(split, joined([one.length for one in chosen]), joined([one.pool for one in chosen]))
