"""Pre-training a T5 from scratch on the planted world: instructed texts in, yes or no out."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dp.backbones.definition import PlantedSource
from dp.backbones.seq2seq import Seq2Seq
from dp.errors import UserError
from dp.numerics import seeds
from dp.numerics.compute import Compute
from dp.numerics.devices import device
from dp.numerics.sequence import Sequence
from dp.progress import bar as progress_bar
from dp.worlds import planted, random_weights

HELD_OUT = 4000
LOG_EVERY = 100


class Texts(NamedTuple):
    ids: Tensor  # [B, T], right-padded with 0
    labels: Tensor  # [B], 1 is yes


def pretrained(source: PlantedSource, tokenizer: Any) -> tuple[Any, dict[str, Any]]:
    """The model, and the facts of its making: loss by step and accuracy on held-out texts.

    Raises UserError where the accuracy is below the one that is asked for.
    """
    plan = source.pretraining
    with device(Compute(device="cpu", threads=plan.threads)), torch.random.fork_rng(devices=[]):
        model = random_weights.model(Seq2Seq, source, tokenizer)
        backbone = Seq2Seq(model, tokenizer)
        words = torch.tensor(tokenizer.convert_tokens_to_ids(list(planted.LABEL_WORDS)))
        optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.0)
        model.train()
        log = []
        bar = progress_bar(range(plan.steps), of="pre-training", unit="step")
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = plan.lr * min((step + 1) / plan.warmup_steps, 1 - step / plan.steps)
            reach = 1 if step < plan.nearest * plan.steps else planted.REACH
            generator = seeds.generator(source.seed, "pre-training", step)
            torch.manual_seed(seeds.derive(source.seed, "pre-training dropout", step))
            texts = instructed(tokenizer, plan.batch_size, reach, generator)
            noise = None
            if step >= (1 - plan.noisy) * plan.steps:
                noise = plan.noise * torch.randn(*texts.ids.shape, backbone.hidden_size, generator=generator)
            loss = functional.cross_entropy(_scores(backbone, texts, words, noise), texts.labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if (step + 1) % LOG_EVERY == 0 or step + 1 == plan.steps:
                log.append({"step": step + 1, "loss": round(loss.item(), 6)})
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        model.eval()
        accuracy = _held_out(backbone, tokenizer, words, source.seed)
    if accuracy < plan.accuracy:
        raise UserError(
            f"The planted backbone answers {accuracy:.2%} of held-out texts after {plan.steps} steps, and "
            f"source.pretraining.accuracy asks for {plan.accuracy:.2%}. Raise source.pretraining.steps or change "
            "source.seed in params.yaml."
        )
    return model, {"log": log, "held_out_accuracy": accuracy, "held_out_texts": HELD_OUT}


def instructed(tokenizer: Any, count: int, reach: int, generator: torch.Generator) -> Texts:
    """Texts of random words with an instruction at one end that asks about a word up to `reach` from there."""

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, (count, *shape), generator=generator)

    lengths, longest = draw(planted.LENGTHS.start, planted.LENGTHS.stop), planted.LENGTHS.stop - 1
    words = draw(0, len(planted.WORDS), longest)
    feature, distance, behind = draw(0, planted.FEATURES), draw(1, reach + 1), draw(0, 2)
    asked = torch.where(behind == 1, lengths - distance, distance - 1)
    labels = words.gather(1, asked[:, None])[:, 0] >> feature & 1

    first = {kind: tokenizer.convert_tokens_to_ids(names[0])
             for kind, names in {"word": planted.WORDS, "instruction": planted.INSTRUCTIONS}.items()}  # fmt: skip
    place = torch.arange(longest + reach + 1)
    start = torch.where(behind == 1, 0, distance)[:, None]  # of the words
    end = start + lengths[:, None]
    total = (lengths + distance)[:, None]
    ids = first["word"] + words.gather(1, (place - start).clamp(0, longest - 1))
    ids = torch.where((place < start) | (place >= end), first["instruction"] + feature[:, None], ids)
    ids = torch.where(place == total, tokenizer.eos_token_id, ids)
    return Texts(torch.where(place > total, 0, ids), labels)


def _scores(backbone: Seq2Seq, texts: Texts, words: Tensor, noise: Tensor | None = None) -> Tensor:
    """[B, 2]. noise: [B, T, H], in standard deviations of the embeddings, for the instructions."""
    mask, embeds = (texts.ids != 0).long(), backbone.embed(texts.ids)
    if noise is not None:
        instructions = torch.tensor(backbone.tokenizer.convert_tokens_to_ids(list(planted.INSTRUCTIONS)))
        embeds = embeds + torch.isin(texts.ids, instructions)[..., None] * noise * embeds.detach().std()
    state = backbone.state(Sequence(embeds, mask, mask), "verbalizer")
    return backbone.word_scores(state, words.expand(len(mask), -1))


@torch.no_grad()
def _held_out(backbone: Seq2Seq, tokenizer: Any, words: Tensor, seed: int) -> float:
    texts = instructed(tokenizer, HELD_OUT, planted.REACH, seeds.generator(seed, "held-out texts"))
    return (_scores(backbone, texts, words).argmax(1) == texts.labels).float().mean().item()
