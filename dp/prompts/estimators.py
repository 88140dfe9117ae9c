"""How a choice is learned: what is drawn for a row in training, how often, and its objective (design section 4).

estimator         forward passes of a row          what is minimised
straight_through  1                                the loss of a draw, by a biased gradient (the paper's)
reinforce         n candidates drawn               the expected loss, by a leave-one-out score function, unbiased
exact             every candidate                  the expected loss itself
marginal          n different candidates           -log p(label), the choice summed out over these candidates

The first three make the prompt good under candidates that are not yet chosen between: where the wrong one turns a
question round, learning to ask it costs more than it gains. `marginal` takes the choice for a latent variable: a pass
counts as far as it explains the label, so the prompt learns under the right candidate from the first step.

Another one is a class, a line of ESTIMATORS, and its name in `Choice.estimator` (dp/prompts/prompt_config.py).
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from dp.numerics.tensors import sent
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
        return _drawn(logits, (logits + _like(logits, gumbel(uniform(shared=False)))).argmax(1))

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


class Marginal(Reinforce):
    """The likelihood of the label among n candidates, one drawn and n - 1 others at random; of all, where n allows.

    -log sum_i q_i p(label | i), with q the policy's probabilities scaled to add up to 1 over these candidates.
    """

    def copies(self, candidates: int, samples: int) -> int:
        return min(samples, candidates)

    def chosen(self, logits: Tensor, uniform: Uniform, moment: Moment, stride: int) -> Chosen:
        """Copy c of a row takes the c-th candidate of an order that the drawn one begins.

        Where two choices meet, the second's order is shifted by one each time the first's begins anew, so that no pair
        comes twice; up to P + 1 candidates, the others share neither choice with the drawn one.
        """
        if not moment.training:
            return super().chosen(logits, uniform, moment, stride)
        copies, candidates = moment.copies, logits.shape[1]
        rows = len(logits) // copies
        numbers = _like(logits, uniform(shared=False)).view(copies, rows, candidates)
        drawn = (logits[:rows].detach() + gumbel(numbers[0])).argmax(1)
        order = numbers[-1].scatter(1, drawn[:, None], -1.0).argsort(1)
        copy = torch.arange(copies, device=logits.device)
        places = (copy if stride == 1 else copy + copy // candidates) % candidates
        return _drawn(logits, order[:, places].T.flatten())

    def objective(self, losses: Tensor, log_prob: Tensor) -> Tensor:
        return -(log_prob.log_softmax(0) - losses).logsumexp(0)


ESTIMATORS: dict[str, Estimator] = {
    "straight_through": StraightThrough(),
    "reinforce": Reinforce(),
    "exact": Exact(),
    "marginal": Marginal(),
}


def objective(estimator: str, losses: Tensor, log_prob: Tensor | None) -> Tensor:
    """[B], in value the (estimated) expected loss, with the estimator's gradient.

    losses: [N, B], of each row under N candidates. log_prob: [N, B] of those candidates; None where nothing is drawn.
    """
    return losses.mean(0) if log_prob is None else ESTIMATORS[estimator].objective(losses, log_prob)


def straight_through(logits: Tensor, uniform: Tensor, temperature: float) -> Chosen:
    """Straight-through Gumbel-Softmax. logits: [B, S]; uniform: [B, S], a choice that rows share has equal lines."""
    soft = ((logits + _like(logits, gumbel(uniform))) / temperature).softmax(1)
    index = soft.argmax(1)
    hard = nn.functional.one_hot(index, logits.shape[1]).to(soft)
    return Chosen(index, hard + (soft - soft.detach()))


def _like(logits: Tensor, numbers: Tensor) -> Tensor:
    return sent(numbers, logits.device, logits.dtype)


def _drawn(logits: Tensor, candidate: Tensor) -> Chosen:
    log_probs = logits.log_softmax(1)
    chosen = log_probs.gather(1, candidate[:, None])[:, 0]
    return Chosen(candidate, None, chosen, -(log_probs.exp() * log_probs).sum(1))
