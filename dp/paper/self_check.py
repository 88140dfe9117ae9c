"""What the paper's numbers say about themselves: do they sit at the majority class, and can they be counts?"""

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache

from dp.paper.claimed import Claim, Paper
from dp.statistics.intervals import wilson


def collapsed_cells(paper: Paper, claim: Claim) -> list[Claim]:
    """The cells of a claim whose 95 % interval (Wilson, over the rows) contains the majority rate: a run of ours with
    such a number counts as collapsed."""
    own = claim.cells or ((claim,) if claim.n else ())
    return [cell for cell in own if _at_majority(paper, cell)]


def attainable(value: Decimal, n: int) -> bool:
    """Whether some k / n, rounded or cut to the printed decimals, is the printed percentage."""
    digits = Decimal(1).scaleb(int(value.as_tuple().exponent))
    near = int(value * n / 100)
    shares = [Decimal(100 * k) / n for k in range(near - 1, near + 3)]
    return any(share.quantize(digits, rule) == value for share in shares for rule in (ROUND_HALF_UP, ROUND_DOWN))


def _at_majority(paper: Paper, cell: Claim) -> bool:
    assert cell.value is not None and cell.n is not None
    return _within(round(float(cell.value) * cell.n / 100), cell.n, paper.facts.tasks[cell.task].rate)


@cache
def _within(right: int, n: int, rate: float) -> bool:
    low, high = wilson(right, n)
    return low <= rate <= high
