"""Pre-training a T5 from scratch on the planted world: instructed texts in, yes or no out."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dp.backbones.definition import PlantedSource, Pretraining
from dp.backbones.seq2seq import Seq2Seq
from dp.errors import UserError
from dp.numerics import seeds
from dp.numerics.compute import Compute
from dp.numerics.devices import device
from dp.progress import bar as progress_bar
from dp.worlds import planted, random_weights
from dp.worlds.answers import answers
from dp.worlds.learnable import learned
from dp.worlds.texts import instructed

HELD_OUT = 4000
LOG_EVERY = 100


class World(NamedTuple):
    """A model in training, and the token ids that it is trained with."""

    backbone: Seq2Seq
    words: Tensor  # [2], no and yes
    instructions: Tensor  # [FEATURES]


def pretrained(source: PlantedSource, tokenizer: Any) -> tuple[Any, dict[str, Any]]:
    """The model, and the facts of its making: loss by step, accuracy on held-out texts, and what prompts learn on it.

    Raises UserError where the accuracy, or the share of prompts that learn, is below the one that is asked for.
    """
    plan = source.pretraining
    with device(Compute(device="cpu", threads=plan.threads)), torch.random.fork_rng(devices=[]):
        model = random_weights.model(Seq2Seq, source, tokenizer)
        world = World(
            Seq2Seq(model, tokenizer),
            torch.tensor(tokenizer.convert_tokens_to_ids(list(planted.LABEL_WORDS))),
            torch.tensor(tokenizer.convert_tokens_to_ids(list(planted.INSTRUCTIONS))),
        )
        log = _train(world, plan, source.seed)
        model.eval()
        accuracy = _held_out(world, source.seed)
        if accuracy < plan.accuracy:
            raise UserError(
                f"The planted backbone answers {accuracy:.2%} of held-out texts after {plan.steps} steps, and "
                f"source.pretraining.accuracy asks for {plan.accuracy:.2%}. Raise source.pretraining.steps or change "
                "source.seed in params.yaml."
            )
        prompts = learned(world.backbone, world.words, source.seed)
        if prompts["share"] < plan.learnable:
            raise UserError(
                f"Of {len(prompts['accuracies'])} soft prompts {prompts['share']:.0%} learn to ask the planted "
                f"backbone, and source.pretraining.learnable asks for {plan.learnable:.0%}. Raise "
                "source.pretraining.steps or change source.seed in params.yaml."
            )
    return model, {"log": log, "held_out_accuracy": accuracy, "held_out_texts": HELD_OUT, "prompts": prompts}


def _train(world: World, plan: Pretraining, seed: int) -> list[dict[str, Any]]:
    """Loss by step."""
    model, log = world.backbone.model, []
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.0)
    model.train()
    bar = progress_bar(range(plan.steps), of="pre-training", unit="step")
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * min((step + 1) / plan.warmup_steps, 1 - step / plan.steps)
        reach = 1 if step < plan.nearest * plan.steps else planted.REACH
        generator = seeds.generator(seed, "pre-training", step)
        torch.manual_seed(seeds.derive(seed, "pre-training dropout", step))
        texts = instructed(world.backbone.tokenizer, plan.batch_size, reach, generator, _lengths(step, plan))
        embeds = world.backbone.embed(texts.ids)
        if step >= (1 - plan.blurred) * plan.steps:
            embeds = blurred(world, embeds, texts.ids, plan, generator)
        loss = functional.cross_entropy(answers(world.backbone, world.words, embeds, texts), texts.labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % LOG_EVERY == 0 or step + 1 == plan.steps:
            log.append({"step": step + 1, "loss": round(loss.item(), 6)})
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return log


def _lengths(step: int, plan: Pretraining) -> range:
    """Words of a text at a step: from planted.SHORTEST to planted.LENGTHS."""
    short, full = planted.SHORTEST, planted.LENGTHS
    if step >= plan.growing * plan.steps:
        return full
    share = step / (plan.growing * plan.steps)
    return range(
        *(round(few + share * (many - few)) for few, many in ((short.start, full.start), (short.stop, full.stop)))
    )


def blurred(world: World, embeds: Tensor, ids: Tensor, plan: Pretraining, generator: torch.Generator) -> Tensor:
    """[B, T, H] of ids [B, T]: instructions mixed with random tokens' embeddings, under noise that differs by text."""
    instruction = torch.isin(ids, world.instructions)[..., None]
    own = plan.own + (1 - plan.own) * torch.rand(*ids.shape, 1, generator=generator)
    other = world.backbone.embed(torch.randint(len(world.backbone.tokenizer), ids.shape, generator=generator))
    size = plan.noise * embeds.detach().std() * torch.rand(len(ids), 1, 1, generator=generator)
    noise = size * torch.randn(embeds.shape, generator=generator)
    return torch.where(instruction, own * embeds + (1 - own) * other + noise, embeds)


@torch.no_grad()
def _held_out(world: World, seed: int) -> float:
    generator = seeds.generator(seed, "held-out texts")
    texts = instructed(world.backbone.tokenizer, HELD_OUT, planted.REACH, generator)
    scores = answers(world.backbone, world.words, world.backbone.embed(texts.ids), texts)
    return (scores.argmax(1) == texts.labels).float().mean().item()
