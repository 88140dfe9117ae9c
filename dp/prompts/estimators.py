"""How a choice is learned: what is drawn for a row in training, how often, and its objective (design section 4).

estimator         forward passes of a row          gradient of the logits
straight_through  1                                through the candidate's one-hot, biased (the paper's)
reinforce         n candidates drawn from them     leave-one-out score function, unbiased
exact             every candidate                  of the expected loss itself

Another one is a class, a line of ESTIMATORS, and its name in `Choice.estimator` (dp/prompts/prompt_config.py).
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from dp.prompts.choice import Chosen, Moment, gumbel


class Estimator(Protocol):
    def copies(self, candidates: int, samples: int) -> int:
        """Forward passes of one training row, of which all choices together have so many candidates."""

    def chosen(self, logits: Tensor, uniform: "Uniform", moment: Moment, stride: int) -> Chosen:
        """What is drawn from logits [B, S], in training and at an evaluation that draws.

        stride: of the candidates of other choices that are tried with each of these.
        """

    def objective(self, losses: Tensor, log_prob: Tensor) -> Tensor:
        """As `objective` below, where something was drawn."""


class Uniform(Protocol):
    def __call__(self, shared: bool) -> Tensor:
        """Uniform numbers [B, S]: of each row, or, `shared`, the same for rows that share a choice."""


class StraightThrough:
    """Straight-through Gumbel-Softmax: one-hot in value, a softmax in gradient."""

    def copies(self, candidates: int, samples: int) -> int:
        return 1

    def chosen(self, logits: Tensor, uniform: Uniform, moment: Moment, stride: int) -> Chosen:
        return straight_through(logits, uniform(shared=True), moment.temperature)

    def objective(self, losses: Tensor, log_prob: Tensor) -> Tensor:
        return losses.mean(0)


class Reinforce:
    """The score function with the mean of a row's other losses as its baseline."""

    def copies(self, candidates: int, samples: int) -> int:
        return samples

    def chosen(self, logits: Tensor, uniform: Uniform, moment: Moment, stride: int) -> Chosen:
        # Also for a task each row draws on its own: the gradient is as true and has less variance.
        return _drawn(logits, (logits + gumbel(uniform(shared=False)).to(logits)).argmax(1))

    def objective(self, losses: Tensor, log_prob: Tensor) -> Tensor:
        others = (losses.sum(0) - losses) / (len(losses) - 1)
        score = (losses - others).detach() * log_prob
        return losses.mean(0) + (score - score.detach()).mean(0)


class Exact(Reinforce):
    """Copy c of a row takes candidate (c // stride) % S: with strides of 1 and S, two choices meet in every pair."""

    def copies(self, candidates: int, samples: int) -> int:
        return candidates

    def chosen(self, logits: Tensor, uniform: Uniform, moment: Moment, stride: int) -> Chosen:
        if not moment.training:
            return super().chosen(logits, uniform, moment, stride)
        copy = torch.arange(len(logits), device=logits.device) // (len(logits) // moment.copies)
        return _drawn(logits, copy // stride % logits.shape[1])

    def objective(self, losses: Tensor, log_prob: Tensor) -> Tensor:
        return (log_prob.exp() * losses).sum(0)


ESTIMATORS: dict[str, Estimator] = {
    "straight_through": StraightThrough(),
    "reinforce": Reinforce(),
    "exact": Exact(),
}


def objective(estimator: str, losses: Tensor, log_prob: Tensor | None) -> Tensor:
    """[B], in value the (estimated) expected loss, with the estimator's gradient.

    losses: [N, B], of each row under N candidates. log_prob: [N, B] of those candidates; None where nothing is drawn.
    """
    return losses.mean(0) if log_prob is None else ESTIMATORS[estimator].objective(losses, log_prob)


def straight_through(logits: Tensor, uniform: Tensor, temperature: float) -> Chosen:
    """Straight-through Gumbel-Softmax. logits: [B, S]; uniform: [B, S], a choice that rows share has equal lines."""
    soft = ((logits + gumbel(uniform).to(logits)) / temperature).softmax(1)
    index = soft.argmax(1)
    hard = nn.functional.one_hot(index, logits.shape[1]).to(soft)
    return Chosen(index, hard + (soft - soft.detach()))


def _drawn(logits: Tensor, candidate: Tensor) -> Chosen:
    log_probs = logits.log_softmax(1)
    chosen = log_probs.gather(1, candidate[:, None])[:, 0]
    return Chosen(candidate, None, chosen, -(log_probs.exp() * log_probs).sum(1))
