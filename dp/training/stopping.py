"""The one stopping rule (`training.stop`): a run ends when so many looks at the selection rows found nothing better.

Rates, temperature and the entropy bonus go by `steps`, whether a run gets there or not: the updates that a stopped run
made are, to the bit, the first ones of the run that goes on.
"""

from dp.training.loop_config import RunBudget


def exhausted(budget: RunBudget, updates: int, best: int) -> bool:
    """Whether a run ends after `updates` whose best look so far was after `best` of them."""
    rule = budget.stop
    if rule is None or updates < rule.after or not budget.looks_after(updates):
        return False
    return sum(budget.looks_after(update) for update in range(best + 1, updates + 1)) >= rule.patience
