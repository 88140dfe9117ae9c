"""How often are the verdicts on the paper's cells wrong? (docs/claims.md)

    python benchmarks/verdicts.py [--sets 1000]

Prints a Markdown table. A result set is a cell's runs: accuracies on the reported rows, normal around the paper's
value plus the true difference with the spread over seeds, rounded to whole rows. The verdict is that of the report:
interval, tolerance and rule are its own. `reproduced` is wrong where the true difference exceeds the tolerance,
`differs` where it does not.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from dp.numerics.seeds import derive
from dp.paper.claimed import load
from dp.paper.verdicts import verdict
from dp.statistics.intervals import of_runs, wilson

CELLS = ("A_t5_small_lm_fixed_boolq", "A_t5_small_lm_fixed_cb")
DIFFERENCES = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0)
SPREADS = (0.5, 1.0, 2.0)
SEEDS = (1, 3, 5)


class Setting(NamedTuple):
    cell: str
    seeds: int
    spread: float
    difference: float


def settings() -> Iterator[Setting]:
    for parts in product(CELLS, SEEDS, SPREADS, DIFFERENCES):
        yield Setting(*parts)


def shares(setting: Setting, sets: int) -> dict[str, float]:
    """Verdict -> its share of the result sets of a setting."""
    claim = load().claim(setting.cell)
    assert claim.value is not None and claim.n is not None and claim.tolerance is not None
    value, n = float(claim.value), claim.n
    random = np.random.default_rng(derive(0, "verdicts", *setting))
    drawn = random.normal(value + setting.difference, setting.spread, (sets, setting.seeds))
    rights = np.rint(drawn * n / 100).astype(int).clip(0, n)
    counts = Counter(verdict(*interval(tuple(sorted(row)), n), value, claim.tolerance) for row in rights.tolist())
    return {name: counts[name] / sets for name in ("reproduced", "differs", "unclear")}


@cache
def interval(rights: tuple[int, ...], n: int) -> tuple[float, float]:
    """Percent, as in results.csv: Student's t over runs where they differ, else Wilson's over the rows."""
    low, high = of_runs([right / n for right in rights]) if len(set(rights)) > 1 else wilson(rights[0], n)
    return 100 * low, 100 * high


def wrong(setting: Setting, found: dict[str, float]) -> tuple[str, float]:
    """(which verdict would be wrong, its share)"""
    tolerance = load().claim(setting.cell).tolerance
    assert tolerance is not None
    name = "reproduced" if setting.difference > tolerance else "differs"
    return name, found[name]


def document(sets: int) -> str:
    """The Markdown table: a row per cell, number of seeds and spread, a column per true difference."""
    lines = [["rows", "seeds", "s.d.", *[f"{one:g}" for one in DIFFERENCES]], ["---:"] * (3 + len(DIFFERENCES))]
    found = {setting: shares(setting, sets) for setting in settings()}
    for cell, seeds, spread in product(CELLS, SEEDS, SPREADS):
        texts = []
        for difference in DIFFERENCES:
            setting = Setting(cell, seeds, spread, difference)
            name, _ = wrong(setting, found[setting])
            percents = {verdict: f"{100 * share:.0f}" for verdict, share in found[setting].items()}
            texts.append(" / ".join(f"**{text}**" if verdict == name else text for verdict, text in percents.items()))
        lines.append([f"{load().claim(cell).n:,}", str(seeds), f"{spread:g}", *texts])
    said = []
    for name in ("reproduced", "differs"):
        rates = [(wrong(one, found[one])[1], one) for one in found if wrong(one, found[one])[0] == name]
        for few in (True, False):
            share, one = max(rate for rate in rates if (rate[1].seeds == 1) == few)
            where = f"{load().claim(one.cell).task}, s.d. {one.spread:g}, {one.difference:g} away"
            said.append(
                f"wrong `{name}` with {one.seeds} seed{'' if few else 's'}: at most {100 * share:.1f} % ({where})"
            )
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *said])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000, help="result sets of a setting")
    print(document(parser.parse_args().sets))


if __name__ == "__main__":
    main()
