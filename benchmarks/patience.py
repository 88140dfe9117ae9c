"""What a stopping rule would have done to finished trainings: replayed on their logs, nothing is trained.

    python benchmarks/patience.py results/train/patience-minilm [...]     # folders that hold runs, at any depth
    python benchmarks/patience.py results/train/patience-minilm --after 60 --by variant

Of each run the looks at the selection rows stand in steps.jsonl. For each patience: the share of runs whose selected
step stays, what the others lose in selection accuracy (points, mean over all runs and the worst), and the updates that
the rule saves. Last the smallest patience that leaves at least 99 % of the runs as they are. A run with no more looks
than the patience shows nothing and is left out: the column `runs` says how many are not.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from dp import files
from dp.training.loop_config import RunBudget, Stop
from dp.training.stopping import exhausted

ENOUGH = 0.99


class Run(NamedTuple):
    """A finished training: its budget, and its looks as (updates, accuracy, loss)."""

    variant: str
    budget: RunBudget
    looks: list[tuple[int, float, float]]


class Replay(NamedTuple):
    kept: bool  # the same step is selected
    regret: float  # points of selection accuracy
    saved: float  # share of the updates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--after", type=int, help="updates before which no run stops (default: a quarter of its steps)")
    parser.add_argument("--by", choices=("all", "variant"), default="all")
    arguments = parser.parse_args()
    runs = list(finished(arguments.folders))
    if not runs:
        parser.error(f"no finished training lies below {', '.join(map(str, arguments.folders))}")
    most = max(len(run.looks) for run in runs)
    names = dict.fromkeys(run.variant for run in runs) if arguments.by == "variant" else ["all"]
    print("variant           patience   runs  unchanged  regret: mean   worst   updates saved")
    enough = None
    for patience in range(1, most):
        for name in names:
            own = [run for run in runs if name in ("all", run.variant) and len(run.looks) > patience]
            if own:
                said = [replayed(run, patience, arguments.after) for run in own]
                print(f"{name:17} {patience:8}  {len(own):5}  {fmean(one.kept for one in said):8.1%}  "
                      f"{fmean(one.regret for one in said):12.2f}  {max(one.regret for one in said):6.2f}  "
                      f"{fmean(one.saved for one in said):14.1%}")  # fmt: skip
        long = [run for run in runs if len(run.looks) > patience]
        if enough is None and fmean(replayed(run, patience, arguments.after).kept for run in long) >= ENOUGH:
            enough = patience
    print(f"{len(runs)} runs; the smallest patience that leaves {ENOUGH:.0%} of them as they are: {enough}")


def finished(folders: Iterable[Path]) -> Iterable[Run]:
    for folder in folders:
        for path in sorted(folder.rglob("record.json")):
            told = files.read_json(path)
            if told.get("command") != "train" or told["made"]["selected_step"] is None:
                continue
            looks = [(line["step"], line["selection"]["accuracy"], line["selection"]["loss"])
                     for line in files.read_jsonl(path.with_name("steps.jsonl")) if "selection" in line]  # fmt: skip
            budget = RunBudget.model_validate(told["asked"]["training"])
            if budget.stop is None:
                yield Run(told["asked"]["variant"], budget, looks)


def replayed(run: Run, patience: int, after: int | None) -> Replay:
    """The rule of the training loop on the looks of a run that made all its steps."""
    least = max(run.budget.optimizer.warmup_steps, run.budget.steps // 4 if after is None else after, 1)
    budget = run.budget.model_copy(update={"stop": Stop(patience=patience, after=least)})
    whole, best = max(run.looks, key=_rank), run.looks[0]
    for look in run.looks:
        best = max(best, look, key=_rank)
        if exhausted(budget, look[0], best[0]):
            return Replay(best[0] == whole[0], 100 * (whole[1] - best[1]), 1 - look[0] / budget.steps)
    return Replay(True, 0.0, 0.0)


def _rank(look: tuple[int, float, float]) -> tuple[float, float, int]:
    """Best accuracy, then lowest loss, then earliest."""
    return look[1], -look[2], -look[0]


if __name__ == "__main__":
    main()
