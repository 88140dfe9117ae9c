"""Training as the paper's released code does it, written from its description alone: nothing of dp is called.

Every candidate sequence is built and the one-hot mixes them; Adafactor, clipping and schedules are written out.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

FILLER = -1e20


@dataclass
class Reference:
    """model: a T5. rows: (ids with </s>, label, the classes' words). start: name -> first value of what is tuned.

    noise(purpose, update, micro-batch, rows, candidates) -> uniform numbers [rows, candidates]; a task's have one row.
    tunes_model: its parameters but the embeddings are tuned too, by AdamW.
    """

    model: Any
    sentinel: int
    rows: list[tuple[list[int], int, list[int]]]
    start: dict[str, Tensor]
    noise: Any
    width: int
    lr: float = 0.3
    warmup: int = 500
    anneal: float = 10.0
    parts: int = 4  # micro-batches of a nominal step
    broken: bool = True  # every micro-batch is an update
    tunes_model: bool = False
    model_optimizer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.requires_grad_(self.tunes_model).eval()
        self.model.shared.requires_grad_(False)
        own = {name.removeprefix("backbone."): value for name, value in self.start.items() if "backbone." in name}
        self.of_model = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        assert own.keys() == self.of_model.keys() and all(torch.equal(own[name], self.of_model[name]) for name in own)
        self.tuned = {
            name: value.clone().requires_grad_() for name, value in self.start.items() if "backbone." not in name
        }
        self.squares: dict[str, tuple[Tensor, Tensor]] = {}
        self.tau, self.nominal, self.done, self.overflowed = 1.0, 0, 0, False
        self.adamw = self.tunes_model and torch.optim.AdamW(
            self.of_model.values(), lr=0.0, weight_decay=self.model_optimizer["weight_decay"]
        )

    def train(self, updates: list[list[list[int]]]) -> list[float]:
        """updates: of each further one, its micro-batches' row numbers. The loss of every update."""
        losses = []
        for micro_batches in updates:
            update = self.done
            found = [self.loss(rows, update, number, self.tau) for number, rows in enumerate(micro_batches)]
            for loss in found:
                loss.backward()
            losses.append(sum(loss.item() for loss in found) / len(found))
            self.overflowed |= not (self.norm().isfinite() and math.isfinite(losses[-1]))
            self.done += 1
            if not self.broken or self.done % self.parts == 0:
                self.clip(1.0)
                self.nominal += 1
                self.tau = max(self.tau * math.exp(-3e-5 * self.nominal / self.anneal), 0.5)
            if self.tunes_model:
                self.step_model(update)
            self.adafactor(self.lr * min(1.0, update / self.warmup), update + 1)
        return losses

    def moved(self) -> dict[str, Tensor]:
        """name -> where it is now."""
        return {name: value.detach() for name, value in self.tuned.items()} | {
            f"backbone.{name}": value.detach() for name, value in self.of_model.items()
        }

    def loss(self, numbers: list[int], update: int, micro_batch: int, tau: float) -> Tensor:
        """Mean over the rows of -log(p + 1e-15)."""
        lengths = [len(self.rows[n][0]) for n in numbers]
        ids = torch.tensor([self.rows[n][0] + [0] * (self.width - len(self.rows[n][0])) for n in numbers])
        mask = torch.tensor([[1] * n + [0] * (self.width - n) for n in lengths])
        with torch.no_grad():
            feature = self.model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.sum(1) / self.width

        def one_hot_of(factor: str) -> Tensor | None:
            logits, shared = self.logits(f"prompt.{factor}.policy.logits.", feature)
            if logits is None:
                return None
            uniform = self.noise(factor, update, micro_batch, 1 if shared else len(numbers), logits.shape[1])
            gumbel = -(-uniform.log()).log()
            soft = ((logits + gumbel.float()) / tau).softmax(1)
            hard = one_hot(soft.argmax(1), soft.shape[1]).float()
            return (hard - soft.detach() + soft).expand(len(numbers), -1)

        vectors = self.vectors(feature)
        count = vectors.shape[1]
        kept = one_hot_of("length")
        if kept is not None:
            fillers = torch.full_like(vectors, FILLER)
            shortened = [torch.cat([vectors[:, :n], fillers[:, n:]], dim=1) for n in range(count + 1)]
            vectors = sum(kept[:, n, None, None] * one for n, one in enumerate(shortened))
        text, place = self.model.shared(ids), one_hot_of("position")
        mixed = []
        for row, (prompt, x, length) in enumerate(zip(vectors, text, lengths, strict=True)):
            # Split s has s vectors in front: the last s of the prompt; the first l - s stand before </s>.
            candidates = [torch.cat([prompt[count - s :], x[: length - 1], prompt[: count - s], x[length - 1 :]])
                          for s in ([count] if place is None else range(count + 1))]  # fmt: skip
            shares = torch.ones(1) if place is None else place[row]
            mixed.append(sum(share * one for share, one in zip(shares, candidates, strict=True)))
        scores = self.model(
            inputs_embeds=torch.stack(mixed),
            attention_mask=pad(mask, (count, 0), value=1),
            decoder_input_ids=torch.tensor([[0, self.sentinel, 1]]).expand(len(numbers), -1),
        ).logits[:, 1]
        words = torch.tensor([self.rows[n][2] for n in numbers])
        labels = torch.tensor([[self.rows[n][1]] for n in numbers])
        return -(scores.gather(1, words).softmax(1).gather(1, labels) + 1e-15).log().mean()

    def logits(self, name: str, feature: Tensor) -> tuple[Tensor | None, bool]:
        """A task's [1, S] and True; an instance's [B, S], behind a ReLU, and False."""
        if f"{name}logits" in self.tuned:
            return self.tuned[f"{name}logits"], True
        if f"{name}weight" in self.tuned:
            return (feature @ self.tuned[f"{name}weight"].T + self.tuned[f"{name}bias"]).clamp(min=0), False
        return None, False

    def vectors(self, feature: Tensor) -> Tensor:
        """[B, l, d]."""
        name = "prompt.representation."
        if f"{name}vectors" in self.tuned:
            return self.tuned[f"{name}vectors"][None].expand(len(feature), -1, -1)
        scores = feature @ self.tuned[f"{name}logits.weight"].T + self.tuned[f"{name}logits.bias"]
        if not any("position" in other for other in self.tuned):
            scores = scores.tanh()
        shares = scores.softmax(1)
        return sum(shares[:, k, None, None] * prompt for k, prompt in enumerate(self.tuned[f"{name}prompts"]))

    def clip(self, largest: float) -> None:
        factor = min(1.0, (largest / (self.norm() + 1e-6)).item())
        for value in (*self.tuned.values(), *self.of_model.values()):
            if value.grad is not None:
                value.grad *= factor

    def norm(self) -> Tensor:
        """Of all gradients together, in float32 as they are."""
        moving = [*self.tuned.values(), *self.of_model.values()]
        return torch.stack([(value.grad**2).sum() for value in moving if value.grad is not None]).sum().sqrt()

    def step_model(self, update: int) -> None:
        """Linear warm-up from 0, then linear to 0 after `ends` updates, where it stays."""
        first, ends = self.model_optimizer["warmup_steps"], self.model_optimizer["ends"]
        share = update / first if update < first else max(0, ends - update) / (ends - first)
        for group in self.adamw.param_groups:
            group["lr"] = self.model_optimizer["lr"] * share
        self.adamw.step()
        self.adamw.zero_grad()

    def adafactor(self, rate: float, count: int) -> None:
        """Shazeer & Stern 2018 without momentum, relative step, parameter scale and weight decay."""
        keep = 1 - count**-0.8
        for name, value in self.tuned.items():
            grad, value.grad = value.grad, None
            square = grad**2 + 1e-30
            if grad.dim() == 1:
                before, _ = self.squares.get(name, (torch.zeros_like(grad), grad))
                mean = keep * before + (1 - keep) * square
                self.squares[name] = (mean, mean)
                change = grad / mean.sqrt()
            else:
                before, across = self.squares.get(
                    name, (torch.zeros_like(grad.sum(-1)), torch.zeros_like(grad.sum(-2)))
                )
                row, column = (
                    keep * before + (1 - keep) * square.mean(-1),
                    keep * across + (1 - keep) * square.mean(-2),
                )
                self.squares[name] = (row, column)
                share = row / row.mean(-1, keepdim=True)  # divided first: squares of fillers' gradients reach 1e36
                estimate = share[..., None] * column[..., None, :]
                change = grad / estimate.sqrt()
            change = change / max(1.0, (change**2).mean().sqrt().item())
            with torch.no_grad():
                value -= rate * change
