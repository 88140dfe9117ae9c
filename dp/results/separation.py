"""planted_choices.csv: how far what a variant chose differs between the questions, or tasks, that call for it."""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from dp import files, paths
from dp.data.regime import Regime
from dp.errors import UserError
from dp.results.groups import Key, by_cell
from dp.results.runs import Run
from dp.results.table import Row, draws, made_from, overflowed
from dp.statistics.intervals import Floats, of_runs
from dp.study.prediction_file import Planted
from dp.study.study import Study, learned_factors, length_of

COLUMNS = ("backbone", "regime", "k", "task", "variant", "factor", "planted", "seeds", "mean", "low", "high", "agree",
           "labels", "runs")  # fmt: skip
AGREES = 0.8
"""A run whose distance is above this tells the groups apart."""


class Separation(NamedTuple):
    """What the runs of one variant chose in the groups (questions or tasks) of one planted entry."""

    about: dict[str, Any]
    runs: list[Run]
    shares: list[dict[str, Floats]]  # of each run: group -> share of each candidate, adding up to 1


def rows(separations: Iterable[Separation]) -> list[Row]:
    """One row per planted entry and variant that learns its factor; `planted` says whether the entry names it.

    mean: of the runs' distances; low, high: Student's t interval over runs, or over the means of several backbones,
    empty where there is one or all agree exactly. agree: the share of runs whose distance is above 0.8.
    """
    table = []
    for one in separations:
        distances = [distance(shares) for shares in one.shares]
        drawn = draws(one.runs, distances)
        low, high = of_runs(drawn) if len(set(drawn)) > 1 else (None, None)
        numbers = {"seeds": len(distances), "mean": float(np.mean(distances)), "low": low, "high": high}
        agree = sum(value > AGREES for value in distances) / len(distances)
        table.append(one.about | numbers | {"agree": agree})
    return table


def distance(shares: dict[str, Floats]) -> float:
    """Total variation distance, 0..1, between the distributions of two groups; the mean over all pairs of groups."""
    pairs = combinations(shares.values(), 2)
    return min(float(np.mean([np.abs(a - b).sum() / 2 for a, b in pairs])), 1.0)


def separations(study: Study, runs: list[Run]) -> Iterator[Separation]:
    """For each planted entry, backbone and variant that learns its factor and is evaluated there without an overflow.

    Raises UserError where a task's rows have no `question`, or the reported ones a single one.
    """
    assert study.predictions
    cells = by_cell(runs)
    for entry in study.predictions.planted:
        questions, k = _questions(study, entry.task) if entry.task else {}, Regime.parse(entry.regime).k
        for backbone in study.models:
            for variant in study.variants_on(backbone):
                wanted = [Key(backbone, entry.regime, k, task, variant) for task in entry.all_tasks]
                if entry.factor not in learned_factors(study, variant) or not cells.keys() >= set(wanted):
                    continue
                by_task = [cells[cell] for cell in wanted]
                if overflowed(*by_task):
                    continue
                about = wanted[0]._replace(task=" + ".join(entry.all_tasks))._asdict() | made_from(*by_task)
                about |= {"factor": entry.factor, "planted": "yes" if variant in entry.variants else "no"}
                shares = [_shares(study, entry, of_seed, questions) for of_seed in zip(*by_task, strict=True)]
                yield Separation(about, by_task[0], shares)


def _shares(study: Study, entry: Planted, runs: tuple[Run, ...], questions: dict[str, str]) -> dict[str, Floats]:
    """Of the run of each task under one seed: split, length: share of rows per value 0..P; pool: mean weights."""
    one_hot = np.eye(length_of(study, study.definition(runs[0].cell.variant)) + 1)
    chosen: dict[str, list[Any]] = {}
    for run in runs:
        for line in run.predictions():
            vector = line["pool"] if entry.factor == "pool" else one_hot[line[entry.factor]]
            chosen.setdefault(questions[line["id"]] if questions else run.cell.task, []).append(vector)
    if len(chosen) < 2:
        raise UserError(
            f"{study.scale.predictions}: planted: the reported rows of {entry.task} all ask {next(iter(chosen))!r}, so "
            "there is nothing to tell apart; take the entry out, or report more rows."
        )
    return {group: np.mean(chosen[group], axis=0) for group in (sorted(chosen) if questions else chosen)}


def _questions(study: Study, task: str) -> dict[str, str]:
    """Row id -> the question that it asks."""
    path = paths.task_rows(task, study.source_of(task)) / "validation.jsonl"
    rows = files.read_jsonl(path)
    if "question" not in rows[0]["fields"]:
        raise UserError(f"{path}: the rows have no field 'question', by which planted entries of {task} are told apart")
    return {row["id"]: row["fields"]["question"] for row in rows}
