"""Why position, length and pool together are not found on the planted world: too few candidates, or too few updates?

    python benchmarks/joint.py [--worlds 5] [--seeds 3] [--jobs 2] [--out joint]

`adap_ins_all` on planted_cue_end has nine pairs of split and length. It is trained with three of them tried for each
row (as scale planted has it), with all nine, and with three and thrice the updates, which costs what nine do. Needs
what `benchmarks/estimators.py` needs; writes <out>/runs.csv and <out>/joint.md.
"""

import argparse
import itertools
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import estimators
from rich.progress import track

from dp import files
from dp.results import table
from dp.statistics.intervals import of_values

CELL = ("full", "planted_cue_end", "adap_ins_all")
TRIED = [(3, 100), (9, 100), (3, 300)]
"""Candidates of a row, and updates."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("joint"))
    arguments = parser.parse_args()
    asked = list(itertools.product(TRIED, range(arguments.worlds), range(100, 100 + arguments.seeds)))
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        runs = list(track(pool.map(trained, *zip(*asked, strict=True)), "trainings", len(asked)))
    files.write_text(arguments.out / "runs.csv", table.to_csv(runs[0], runs))
    files.write_text(arguments.out / "joint.md", report(runs))


def trained(tried: tuple[int, int], world: int, seed: int) -> dict[str, Any]:
    samples, updates = tried
    name = f"marginal, {samples} samples"
    estimators.ESTIMATORS[name] = {"estimator": "marginal", "samples": samples}
    estimators.CELLS[CELL] = estimators.CELLS["full", "planted_cue_end", "adap_ins_pos"]
    return {"samples": samples, "updates": updates} | estimators.trained(world, CELL, name, seed, updates)


def report(runs: list[dict[str, Any]]) -> str:
    """The Markdown table."""
    lines = ["| candidates tried | updates | mean [95 %, over worlds] | lowest | at 97 or above | median s |",
             "|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for samples, updates in TRIED:
        rows = [row for row in runs if (row["samples"], row["updates"]) == (samples, updates)]
        by_world = itertools.groupby(rows, key=lambda row: row["world"])
        means = [statistics.fmean(row["accuracy"] for row in of_world) for _, of_world in by_world]
        low, high = of_values(means)
        interval = "" if low is None or high is None else f" [{100 * low:.1f}, {min(100 * high, 100):.1f}]"
        found = [row["accuracy"] for row in rows]
        lines.append(f"| {samples} | {updates} | {100 * statistics.fmean(means):.1f}{interval} "
                     f"| {100 * min(found):.1f} | {sum(one >= 0.97 for one in found)}/{len(found)} "
                     f"| {statistics.median(row['seconds'] for row in rows):.1f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
