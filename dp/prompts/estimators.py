"""How the loss teaches a choice: the objective of one row from its losses under several candidates (design section 4).

estimator         forward passes of a row          gradient of the logits
straight_through  1                                through the candidate's one-hot, biased (the paper's)
reinforce         n candidates drawn from them     leave-one-out score function, unbiased
exact             every candidate                  of the expected loss itself
"""

from torch import Tensor


def objective(estimator: str, losses: Tensor, log_prob: Tensor | None) -> Tensor:
    """[B], in value the (estimated) expected loss, with the estimator's gradient.

    losses: [N, B], of each row under N candidates. log_prob: [N, B] of those candidates; None where nothing is drawn.
    """
    if log_prob is None:
        return losses.mean(0)
    if estimator == "exact":
        return (log_prob.exp() * losses).sum(0)
    others = (losses.sum(0) - losses) / (len(losses) - 1)
    score = (losses - others).detach() * log_prob
    return losses.mean(0) + (score - score.detach()).mean(0)
