"""optimism.csv: what it is worth to report the best of all evaluations (paper.md section 4).

A run is evaluated many times while it trains. The best of these is the largest of many noisy numbers, and where they
are of the reported rows themselves, as under `select_on_reported`, it is reported as if nobody had looked for it.
"""

from statistics import fmean

from dp.results import steps
from dp.results.groups import by_row
from dp.results.runs import Run
from dp.results.table import Row, accuracies, draws, made_from, overflowed
from dp.results.twins import paired, twins
from dp.statistics.intervals import of_values
from dp.study.grid import switches
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "rows", "evaluations", "seeds", "best", "last", "chosen",
           "best_minus_last", "best_minus_chosen", "low", "high", "labels", "runs")  # fmt: skip
SWITCH = "select_on_reported"


def rows(study: Study, runs: list[Run]) -> list[Row]:
    """One row per trained variant and task, in the grid's order; means over runs.

    rows: which rows the evaluations during training looked at, `selection` (held out from training) or `reported`.
    best, last: of these evaluations. chosen: the accuracy on the reported rows of the step that held-out rows chose;
    under select_on_reported that of the run's twin, same seed, in the variant that differs in this switch alone (empty
    where the scale has none). low, high: 95 % interval of best_minus_chosen, or, without that, of best_minus_last. A
    training that overflowed picked none of its evaluations, so its row has no numbers.
    """
    twin_of = {one: other for (one, other), extra in twins(study).items() if extra == [SWITCH]}
    cells, found = by_row(runs), []
    for key, members in cells.items():
        if members[0].trained is None or study.is_control(key.variant):
            continue
        reported = SWITCH in switches(study, key.variant)
        about = key._asdict() | {"rows": "reported" if reported else "selection"}
        honest = cells.get(key._replace(variant=twin_of.get(key.variant, "")), []) if reported else members
        if overflowed(members):
            found.append(dict.fromkeys(COLUMNS) | about | {"seeds": len(members)} | made_from(members))
            continue
        common, by = paired(members, [] if overflowed(honest) else honest)
        members = common or members
        looks = [_looks(run) for run in members]
        best, last = [max(one) for one in looks], [one[-1] for one in looks]
        gap, more = _minus(best, last), _minus(best, accuracies(by)) if by else []
        low, high = of_values(draws(members, more or gap))
        found.append(
            about
            | {"evaluations": max(map(len, looks)), "seeds": len(members), "best": fmean(best), "last": fmean(last),
               "chosen": fmean(accuracies(by)) if by else None, "best_minus_last": fmean(gap),
               "best_minus_chosen": fmean(more) if more else None, "low": low, "high": high}
            | made_from(members, *([by] if reported and by else []))
        )  # fmt: skip
    return found


def _looks(run: Run) -> list[float]:
    """Accuracy of each evaluation during training: a share that was stored in single precision, to six digits."""
    return [round(accuracy, 6) for _, accuracy in steps.evaluations(run)]


def _minus(ones: list[float], others: list[float]) -> list[float]:
    """To six digits, so that what is equal but for rounding differs by 0, not by -0."""
    return [round(one - other, 6) + 0.0 for one, other in zip(ones, others, strict=True)]
