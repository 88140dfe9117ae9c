"""null_task.csv: where nothing dynamic can help, is every variant as good as another, and none better?"""

from collections.abc import Iterable
from statistics import fmean

from dp.results.groups import by_backbone, by_cell
from dp.results.predicted import OVERFLOWED
from dp.results.runs import Run
from dp.results.table import Row, accuracies, draws, made_from, overflowed
from dp.statistics import ALPHA
from dp.statistics.p_values import gap, holm, p_better, p_equivalent
from dp.study.grid import is_trained
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "against", "seeds", "mean", "against_mean", "difference",
           "low", "high", "p", "p_holm", "margin", "p_equivalent", "verdict", "labels", "runs")  # fmt: skip


def rows(study: Study, runs: Iterable[Run]) -> list[Row]:
    """One row per trained variant on the null task, controls included: its accuracy minus that of `against`.

    Over runs or, of several backbones, over the means on each, paired. p: that it is better; p_holm: corrected over all
    rows. p_equivalent: that the difference lies within the margin (two one-sided tests). verdict: `fails` where it is
    better (p_holm below 5 %) or the interval lies wholly below the margin; else `holds` where it is equivalent at 5 %,
    and `unclear` otherwise; `overflowed` where a run of either has no number.
    """
    assert study.predictions
    null = study.predictions.null_task
    cells = by_cell(run for run in runs if (run.cell.regime, run.cell.task) == (null.regime, null.task))
    found = []
    for key, members in cells.items():
        if key.variant == null.against or not is_trained(study, key.variant):
            continue
        base = cells[key._replace(variant=null.against)]
        about = {"against": null.against, "seeds": len(members), "margin": null.margin,
                 "verdict": OVERFLOWED}  # fmt: skip
        row: Row = dict.fromkeys(COLUMNS) | key._asdict() | about | made_from(members)
        found.append(row)
        if not overflowed(members, base):
            own, against = (draws(side, accuracies(side)) for side in (members, base))
            pooled = len(by_backbone(members)) > 1
            found_gap = gap(own, against, members[0].metrics["n"], paired=pooled)
            low, high = found_gap.interval
            row |= {"mean": fmean(own), "against_mean": fmean(against), "difference": found_gap.mean, "low": low,
                    "high": high, "p": p_better(found_gap),
                    "p_equivalent": p_equivalent(found_gap, null.margin)}  # fmt: skip
    judged = [row for row in found if row["p"] is not None]
    for row, p in zip(judged, holm([row["p"] for row in judged]), strict=True):
        row |= {"p_holm": p, "verdict": _verdict(row | {"p_holm": p})}
    return found


def in_words(table: list[Row]) -> str:
    """What the rows say, as one clause."""
    named = {word: [row["variant"] for row in table if row["verdict"] == word] for word in ("fails", "unclear")}
    same, first = sum(row["verdict"] == "holds" for row in table), table[0]
    rest = [f"{word}: {', '.join(names)}" for word, names in named.items() if names]
    return "; ".join(
        [f"on {first['task']}, where nothing dynamic can help, {same} of {len(table)} trained variants are as good as "
         f"{first['against']} and not better (within {100 * first['margin']:.3g} points)", *rest]
    )  # fmt: skip


def _verdict(row: Row) -> str:
    if row["p_holm"] < ALPHA or row["high"] < -row["margin"]:
        return "fails"
    return "holds" if row["p_equivalent"] < ALPHA else "unclear"
