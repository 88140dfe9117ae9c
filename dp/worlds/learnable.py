"""How well soft prompts learn on a planted backbone: what accuracy on instructed texts alone does not say."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dp.backbones.seq2seq import Seq2Seq
from dp.numerics import seeds
from dp.progress import bar
from dp.worlds import planted
from dp.worlds.answers import answers
from dp.worlds.texts import Texts, instructed

STARTS = 2
"""Prompts of each question, each begun at other words."""
STEPS, ROWS, LR = 150, 192, 0.1
HELD_OUT = 4000
ENOUGH = 0.95
"""Accuracy from which on a prompt has learned to ask."""


def learned(backbone: Seq2Seq, words: Tensor, seed: int) -> dict[str, Any]:
    """`share` of prompts that reach ENOUGH on held-out texts, and the `accuracies` of all.

    One prompt [planted.REACH, H] for each feature, end and start, all tuned at once: a row belongs to the prompt of its
    question, and of a random start. words: [2], ids of no and yes.
    """
    tokenizer, count = backbone.tokenizer, planted.FEATURES * 2 * STARTS
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(planted.WORDS)))
    begin = torch.randint(len(ids), (count, planted.REACH), generator=seeds.generator(seed, "test prompts begin"))
    prompts = torch.nn.Parameter(backbone.embed(ids[begin]).detach().clone())
    first = tokenizer.convert_tokens_to_ids(planted.INSTRUCTIONS[0])

    def scores(texts: Texts, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """[B, 2], and each row's prompt [B]."""
        at = texts.ids >= first
        question = (texts.ids - first).amax(1) * 2 + at[:, 0]
        number = question * STARTS + torch.randint(STARTS, question.shape, generator=generator)
        slot = (at.cumsum(1) - 1).clamp(0, planted.REACH - 1)
        embeds = torch.where(at[..., None], prompts[number[:, None], slot], backbone.embed(texts.ids))
        return answers(backbone, words, embeds, texts), number

    backbone.model.requires_grad_(False)
    optimizer = torch.optim.AdamW([prompts], lr=LR, weight_decay=0.0)
    for step in bar(range(STEPS), of="test prompts", unit="step"):
        for group in optimizer.param_groups:
            group["lr"] = LR * (1 - step / STEPS)
        generator = seeds.generator(seed, "test prompts", step)
        texts = instructed(tokenizer, ROWS, 1, generator)
        functional.cross_entropy(scores(texts, generator)[0], texts.labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    generator = seeds.generator(seed, "test prompts, held-out texts")
    texts = instructed(tokenizer, HELD_OUT, 1, generator)
    with torch.no_grad():
        found, number = scores(texts, generator)
    backbone.model.requires_grad_(True)
    right = (found.argmax(1) == texts.labels).float()
    accuracies = [round(right[number == one].mean().item(), 4) for one in range(count)]
    return {"share": sum(value >= ENOUGH for value in accuracies) / count, "accuracies": accuracies}
