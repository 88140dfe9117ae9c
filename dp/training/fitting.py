"""Into how many parts a pass is cut so that a GPU's memory holds it: found by a dry step on the widest micro-batch."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from dp.classifier.classifier import Classifier
from dp.data.batches import collate
from dp.data.tokens import Split
from dp.errors import UserError
from dp.prompts.choice import Moment
from dp.training.advance import Backward, Passes
from dp.training.loop_config import LoopConfig


def fitting_parts(
    classifiers: Sequence[Classifier], split: Split, features: torch.Tensor | None, config: LoopConfig
) -> int:
    """A power of two, for runs that share passes; 1 on a CPU, and where dropout would be drawn anew in each part.

    features: [R, H] of the split's rows, or None. Raises UserError where not even single rows fit.
    """
    first = classifiers[0]
    if not first.device.startswith("cuda") or first.dropout or len(first.adapters) or first.probes:
        return 1
    rows, parts = config.training.micro_batch_size * first.copies * len(classifiers), 1
    while True:
        try:
            for _ in range(2 if config.torch_compile else 1):  # a CUDA graph is recorded when a shape comes again
                dry_step(classifiers, split, features, config, parts)
            torch.cuda.reset_peak_memory_stats()  # a record tells the peak of what was kept
            return parts
        except torch.OutOfMemoryError as error:
            if parts >= rows:
                name = f"{config.backbone}, {config.task}, {config.variant}"
                raise UserError(
                    f"{name}: the GPU's memory does not hold the pass of one row. Lower max_tokens, or choose "
                    f"compute.dtype bfloat16 or a smaller backbone. ({error})"
                ) from None
        torch.cuda.empty_cache()
        parts *= 2


def dry_step(
    classifiers: Sequence[Classifier], split: Split, features: torch.Tensor | None, config: LoopConfig, parts: int
) -> None:
    """One pass, forward and backward, over the longest rows that a micro-batch can have; nothing of it is kept."""
    order = sorted(range(len(split)), key=lambda row: -len(split.ids[row]))
    longest = [order[number % len(order)] for number in range(config.training.micro_batch_size)]
    width = config.batch_width(len(split.ids[longest[0]]), classifiers[0].longest_text)
    passes, asked, scored = Passes(classifiers[0].backbone, parts, config.torch_compile), {}, {}
    # Room for what an optimizer keeps of each parameter
    moments = [torch.empty_like(value) for one in classifiers for value in one.trained().values() for _ in range(2)]
    try:
        for number, one in enumerate(classifiers):
            batch = collate(split, longest, features, width).to(one.device).repeated(one.copies)
            moment = Moment(config.seed, 0, 0, batch.rows, True, draws=True, copies=one.copies)
            reading, _ = one.backbone_input(batch, moment)
            assert reading is not None
            asked[Path(str(number))], scored[Path(str(number))] = reading, (one, batch)
        states = passes.answer_all(asked)
        losses = {
            key: Backward(functional.cross_entropy(one.scores(states[key], batch), batch.labels))
            for key, (one, batch) in scored.items()
        }
        passes.answer_all(losses)
    finally:
        moments.clear()
        for one in classifiers:
            for value in one.trained().values():
                value.grad = None
