"""How often the tests and intervals of dp/statistics are wrong, on simulated runs whose truth is known (100 s).

    python benchmarks/calibration.py [--draws 500]

A run gets an example right where a sum of normal parts is positive: of the example (deviation 1), of variant and
example, of the run, and of run and example. Under the null both variants are alike but for the draw. `rejects`: share
of draws with p < 0.05, which should be 5 % at most. `covers`: share whose 95 % interval holds the true value.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from scipy import stats

from dp.numerics.seeds import derive
from dp.statistics import over_tasks
from dp.statistics.bootstraps import RESAMPLES, over_runs
from dp.statistics.intervals import Floats, of_values
from dp.statistics.p_values import gap, p_better, p_equivalent
from dp.statistics.paired import Ints, compare

SEEDS = (3, 5)
# (what it is, deviation of the run, of variant and example, of run and example)
WORLDS = (
    ("seeds agree but for noise", 0.0, 0.0, 1.0),
    ("variants differ by example", 0.0, 0.5, 0.5),
    ("seeds differ by 2 points", 0.1, 0.3, 0.5),
    ("seeds differ by 7 points", 0.3, 0.3, 0.5),
    ("seeds differ by 20 points", 1.0, 0.3, 0.5),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    draws = parser.parse_args().draws
    for section in (several_runs, effects, same_seeds, one_run_each, aggregates, over_backbones, null_task):
        draw = np.random.default_rng(derive(0, section.__name__))
        for line in section(draw, draws):
            print(line, flush=True)


def runs(
    draw: Generator, seeds: int, shares: tuple[float, float], world: tuple[float, float, float], of: Floats,
    together: float = 0.0,
) -> list[Floats]:  # fmt: skip
    """Two variants' right answers [S, N]. of: the examples' part [N]; together: the share of a run's part that is its
    seed's, so common to both variants."""
    run, by_variant, by_run = world
    scale = (1 + run**2 + by_variant**2 + by_run**2) ** 0.5
    seed = draw.normal(0, 1, (seeds, 1))
    found = []
    for share in shares:
        part = run * (together**0.5 * seed + (1 - together) ** 0.5 * draw.normal(0, 1, (seeds, 1)))
        noise = draw.normal(0, by_variant, len(of)) + draw.normal(0, by_run, (seeds, len(of)))
        found.append((stats.norm.ppf(share) * scale + of + part + noise > 0).astype(float))
    return found


def several_runs(draw: Generator, draws: int) -> Iterator[str]:
    yield "\nSeveral runs, null, 80 % right: rejects by this test | t over seeds alone | bootstrap of runs and examples"
    for seeds in SEEDS:
        for examples in (56, 400):
            alone = np.arange(examples)
            for name, *world in WORLDS:
                told = []
                for _ in range(draws):
                    one, other = runs(draw, seeds, (0.8, 0.8), tuple(world), draw.normal(0, 1, examples))
                    p = compare(one, other, alone).p
                    told.append((p < 0.05, p < 0.5, welch(one, other) < 0.05, outside(draw, one, other)))
                here, half, over_seeds, resampled = np.mean(told, axis=0) * 100
                yield (f"{seeds} seeds, {examples:3} examples, {name:27} {here:5.1f} (p < 0.5: {half:.0f}) | "
                       f"{over_seeds:5.1f} | {resampled:5.1f}")  # fmt: skip


def welch(one: Floats, other: Floats) -> float:
    parts = [(runs.mean(), runs.mean(axis=1).std(ddof=1) + 1e-9, len(runs)) for runs in (one, other)]
    return float(stats.ttest_ind_from_stats(*parts[0], *parts[1], equal_var=False).pvalue)


def outside(draw: Generator, one: Floats, other: Floats, resamples: int = 400) -> bool:
    """Whether 0 lies outside the percentile interval of a joint bootstrap."""

    def weights(count: int) -> Floats:
        return draw.multinomial(count, np.full(count, 1 / count), size=resamples) / count

    rows = weights(one.shape[1])
    found = ((weights(len(one)) @ one - weights(len(other)) @ other) * rows).sum(axis=1)
    low, high = np.quantile(found, [0.025, 0.975])
    return not low <= 0 <= high


def effects(draw: Generator, draws: int) -> Iterator[str]:
    yield "\nSeveral runs, 90 against 80 %, 400 examples: covers | rejects"
    for seeds in SEEDS:
        for name, *world in WORLDS:
            found = [
                compare(*runs(draw, seeds, (0.9, 0.8), tuple(world), draw.normal(0, 1, 400)), np.arange(400))
                for _ in range(draws)
            ]
            covers = np.mean([one.low <= 0.1 <= one.high for one in found]) * 100
            yield f"{seeds} seeds, {name:27} {covers:5.1f} | {np.mean([one.p < 0.05 for one in found]) * 100:5.1f}"


def same_seeds(draw: Generator, draws: int) -> Iterator[str]:
    yield "\nRuns paired by seed (prices), null, 400 examples: rejects paired | unpaired, by how much the seed decides"
    for seeds in SEEDS:
        for together in (0.0, 0.5, 1.0):
            told = []
            for _ in range(draws):
                pair = runs(draw, seeds, (0.8, 0.8), (0.3, 0.0, 0.5), draw.normal(0, 1, 400), together)
                told.append([compare(*pair, np.arange(400), same_runs=paired).p < 0.05 for paired in (True, False)])
            paired, unpaired = np.mean(told, axis=0) * 100
            yield f"{seeds} seeds, {together:.0%} of a run's part is its seed's {paired:5.1f} | {unpaired:5.1f}"


def one_run_each(draw: Generator, draws: int) -> Iterator[str]:
    yield "\nOne run each, the same two prompts on other examples, null: rejects | covers"
    for examples, size in ((56, 1), (400, 1), (500, 10), (4800, 58)):
        clusters: Ints = np.arange(examples) // size
        found = []
        for _ in range(draws):
            shared = np.repeat(draw.normal(0, 1, clusters[-1] + 1), size)[:examples]
            drift = np.repeat(draw.normal(0, 0.5, (2, clusters[-1] + 1)), size, axis=1)[:, :examples]
            one, other = ((0.8 + shared + part + draw.normal(0, 0.5, examples) > 0)[None].astype(float)
                          for part in drift)  # fmt: skip
            found.append(compare(one, other, clusters))
        rejects, covers = ([one.p < 0.05 for one in found], [one.low <= 0 <= one.high for one in found])
        yield (f"{examples:4} examples in {clusters[-1] + 1:3} clusters, {found[0].test:22} "
               f"{np.mean(rejects) * 100:5.1f} | {np.mean(covers) * 100:5.1f}")  # fmt: skip


def aggregates(draw: Generator, draws: int) -> Iterator[str]:
    yield f"\nAggregates, {RESAMPLES} resamples, runs spread normally: covers for the mean | improvement (true 50 %)"
    for seeds in SEEDS:
        for tasks in (1, 5):
            found = []
            for _ in range(draws // 4):
                one, other = ([draw.normal(0, 1, seeds) for _ in range(tasks)] for _ in range(2))
                low, high = over_runs(over_tasks.mean, one)
                below, above = over_runs(over_tasks.improvement, one, other)
                found.append((low <= 0 <= high, below is not None and below <= 0.5 <= above, below is None))
            mean, improvement, empty = np.mean(found, axis=0) * 100
            yield (f"{seeds} seeds, {tasks} tasks {mean:5.1f} | {improvement:5.1f} "
                   f"(no interval in {empty:.0f})")  # fmt: skip


def over_backbones(draw: Generator, draws: int) -> Iterator[str]:
    yield "\nFive backbones, five seeds on each: covers, t over backbones' means | over all 25 runs"
    for backbone, seed, run in ((0.0, 0.0, 2.0), (1.0, 0.0, 2.0), (3.0, 0.0, 2.0), (1.0, 1.0, 2.0), (0.0, 3.0, 1.0)):
        told = []
        for _ in range(4 * draws):
            means = draw.normal(0, backbone, (5, 1)) + draw.normal(0, seed, 5) + draw.normal(0, run, (5, 5))
            told.append([low <= 0 <= high for low, high in map(of_values, (means.mean(axis=1), means.ravel()))])
        pooled, runs = np.mean(told, axis=0) * 100
        yield f"s.d. of backbones {backbone:g}, of seeds {seed:g}, of runs {run:g} {pooled:5.1f} | {runs:5.1f}"


def null_task(draw: Generator, draws: int) -> Iterator[str]:
    yield "\nNull task, margin 2 points, 400 examples, means on five backbones: equivalent | better | wholly below"
    for other, worse, spread in (
        (98, 0, 0.5),
        (97, 0, 1),
        (90, 0, 3),
        (98, 2, 0.5),
        (97, 2, 1),
        (90, 2, 3),
        (97, 5, 1),
        (90, 10, 3),
    ):
        told = []
        for _ in range(4 * draws):
            sides = [draw.normal(mean, spread, 5).clip(0, 100) / 100 for mean in (other - worse, other)]
            found = gap(*(list((side * 400).round() / 400) for side in sides), 400, paired=True)
            below = found.interval[1] < -0.02
            told.append((not below and p_equivalent(found, 0.02) < 0.05, p_better(found) < 0.05, below))
        same, better, below = np.mean(told, axis=0) * 100
        yield f"{other} %, {worse:2} points worse, s.d. {spread:3g} {same:5.1f} | {better:5.1f} | {below:5.1f}"


if __name__ == "__main__":
    main()
