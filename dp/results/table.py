"""results.csv: one row per backbone, regime, task, variant and metric, over training seeds and sample seeds."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from dp.errors import UserError
from dp.escapes import cell
from dp.results.groups import by_backbone, by_row
from dp.results.runs import Run
from dp.statistics.intervals import of_runs
from dp.study.grid import switches
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "source", "variant", "protocol", "metric", "split", "n", "backbones",
           "seeds", "mean", "low", "high", "interval", "majority", "collapsed", "steps", "trials", "chosen",
           "trainable", "seconds", "truncated", "labels", "runs")  # fmt: skip

OVERFLOW = "overflow"
"""What stands where a number would: the status of a run that ended in none, and the label of its rows."""
Row = dict[str, Any]


def rows(study: Study, runs: Iterable[Run]) -> list[Row]:
    """The rows of results.csv, keyed by COLUMNS, in the order of the grid.

    `seeds` counts runs, `backbones` the pre-training seeds that they are of; `steps` is the mean of updates, with those
    of the run whose choice it keeps; `trials` is the number of settings tried, `chosen` what the selection split chose;
    `seconds` is the mean time in training steps, starts included; `truncated` counts reported inputs that were cut. A
    row one of whose runs overflowed has no number: what happened to survive is no fair sample of the seeds. Raises
    UserError where runs of one row report different examples.
    """
    table = []
    for key, members in by_row(runs).items():
        first = members[0].metrics
        _same_examples(members)
        common = key._asdict() | {
            "source": study.source_of(key.task),
            "protocol": protocol(study, key.variant),
            "split": first["split"],
            "n": first["n"],
            "backbones": len(by_backbone(members)),
            "seeds": len(members),
            "majority": first["majority"],
            "collapsed": "" if overflowed(members) else _collapsed(members),
            "steps": round(fmean(updates_of(run.trained) for run in members)),
            "trials": max(_trained(run, "trials") for run in members),
            "chosen": ";".join(dict.fromkeys(_setting(run) for run in members)),
            "trainable": max(_trained(run, "trainable_parameters") for run in members),
            "seconds": fmean(seconds_of(run.trained) for run in members),
            "truncated": members[0].tokens["made"]["truncated"][first["split"]],
            **made_from(members),
        }
        table += [common | {"metric": metric} | summary(members, metric) for metric in first["metrics"]]
    return table


def protocol(study: Study, variant: str) -> str:
    """The scale's protocol, and behind it the switches that the variant adds, as in `controlled+rotation`."""
    base = study.scale.protocol
    return "+".join(
        [base, *(switch for switch in switches(study, variant) if switch not in study.params.protocols[base])]
    )


def digests(members: Iterable[Run]) -> str:
    """The column `runs` of every table: the first digits of the digests of the evaluations' records."""
    return ";".join(run.digest[:12] for run in members)


def labels(members: list[Run]) -> list[str]:
    """What a reader must know of the number made from these runs, sorted."""
    found = set(chain.from_iterable(map(_own_labels, members)))
    dirty = {record["with"]["dirty"] for run in members for record in run.records}
    found |= {"dirty-tree"} if True in dirty else set()
    found |= {"no-commit"} if None in dirty else set()
    found |= {"unpinned"} if any(run.unpinned for run in members) else set()
    found |= {"adopted"} if any(run.adopted for run in members) else set()
    found |= {"single-seed"} if len(members) == 1 and members[0].trained else set()
    pretrained = by_backbone(members)
    found |= {"single-pretraining"} if len(pretrained) == 1 and members[0].model not in pretrained else set()
    return sorted(found)


def _own_labels(run: Run) -> list[str]:
    """Raises UserError for a label that would be two in a column: a task of today cannot have it."""
    found: list[str] = run.evaluated["made"]["labels"]
    if odd := next((label for label in found if ";" in label), None):
        raise UserError(
            f"{run.folder}/record.json: made.labels: {odd!r} holds the ';' that sets labels apart. Rename the label in "
            f"dp/tasks/{run.cell.task}.yaml and run the pipeline again."
        )
    return found


def made_from(*cells: list[Run]) -> Row:
    """The columns `labels` and `runs` of a number that was made from the runs of one or several cells."""
    found = sorted({label for members in cells for label in labels(members)})
    return {"labels": ";".join(found), "runs": digests(run for members in cells for run in members)}


def accuracies(members: Iterable[Run]) -> list[float]:
    """Of each run, a share 0..1."""
    return [run.metrics["metrics"]["accuracy"]["value"] for run in members]


def overflowed(*cells: Sequence[Run]) -> bool:
    """Whether a run of these cells ended in an overflow, so that they have no number (label `overflow`)."""
    return any("overflow" in run.metrics for members in cells for run in members)


def is_overflow(row: Mapping[str, Any]) -> bool:
    """Whether a row of a table, with or without its CSV in between, says `overflow` where its number would stand."""
    return OVERFLOW in row["labels"].split(";")


def to_csv(columns: Iterable[str], table: Iterable[Row]) -> str:
    """CSV text: floats with six digits, None empty, no text a formula (dp.escapes.csv_rows reads what was given)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6f}"
    return cell(value) if isinstance(value, str) else value


def draws(members: Sequence[Run], values: Sequence[float]) -> list[float]:
    """The values that count as independent: each run's or, of several backbones, the mean on each one.

    Runs on one backbone share its pre-training. With as many runs on each, Student's t over these means is the interval
    of a mixed model with random backbones and random seeds (docs/statistics.md).
    """
    by = by_backbone(members)
    if len(by) == 1:
        return list(values)
    value_of = dict(zip((run.folder for run in members), values, strict=True))
    # Equal sums in another order may differ in their last bit, and would say that backbones do.
    return [round(fmean(value_of[run.folder] for run in own), 12) for own in by.values()]


def summary(members: list[Run], metric: str) -> Row:
    """Mean with its interval: over `backbones` or runs (`seeds`) where these differ, else over examples (`examples`).

    Runs that agree exactly, as collapsed or untrained ones do, have no spread over seeds; an interval of no width
    would claim a certainty that nobody has, so theirs is the widest of their intervals over examples. All None where a
    run overflowed.
    """
    if overflowed(members):
        return {"mean": None, "low": None, "high": None, "interval": None}
    found = [run.metrics["metrics"][metric] for run in members]
    values = draws(members, [one["value"] for one in found])
    if len(set(values)) > 1:
        low, high = of_runs(values)
        over = "backbones" if len(by_backbone(members)) > 1 else "seeds"
        return {"mean": fmean(values), "low": low, "high": high, "interval": over}
    low, high = min(one["low"] for one in found), max(one["high"] for one in found)
    return {"mean": values[0], "low": low, "high": high, "interval": "examples"}


def _collapsed(members: list[Run]) -> str:
    return f"{sum(run.metrics['collapsed'] for run in members)}/{len(members)}"


def _trained(run: Run, fact: str) -> int | float:
    return run.trained["made"][fact] if run.trained else 0


def updates_of(trained: Mapping[str, Any] | None) -> int:
    """Of a training's record: with those of its other starts, and of the run whose choice it keeps."""
    made: dict[str, Any] = trained["made"] if trained else {"steps": 0, "steps_before": 0}
    return int(made["steps"] + made["steps_before"] + made.get("other_starts", {}).get("steps", 0))


def seconds_of(trained: Mapping[str, Any] | None) -> float:
    """In training steps, with those of its other starts."""
    made: dict[str, Any] = trained["made"] if trained else {"step_seconds": 0.0}
    return float(made["step_seconds"] + made.get("other_starts", {}).get("seconds", 0.0))


def _setting(run: Run) -> str:
    """What a search chose for a run, as `lr_factor=0.3 pool=8`; empty without a search."""
    setting = run.trained["made"]["setting"] if run.trained else None
    return " ".join(f"{axis}={value:g}" for axis, value in (setting or {}).items())


def _same_examples(members: list[Run]) -> None:
    first = members[0]
    for run in members[1:]:
        for key in ("split", "n", "majority"):
            if run.metrics[key] != first.metrics[key]:
                raise UserError(
                    f"{run.folder}/metrics.json: {key} is {run.metrics[key]}, but {first.folder}/metrics.json has "
                    f"{first.metrics[key]}; runs of one table cell must report the same examples. Evaluate both again."
                )
