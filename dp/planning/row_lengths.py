"""How many rows and tokens a run reads, before or after they are tokenized."""

import csv
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from dp import paths
from dp.data.regime import Regime
from dp.errors import UserError
from dp.jobs import record
from dp.study import grid
from dp.study.study import Study
from dp.tasks.model import load

LENGTHS = Path(__file__).with_name("lengths.csv")
"""Of the paper's tasks, in T5's pieces with </s>: the mean length of a split's texts and its quantiles, q0 to q100."""
QUANTILES = range(0, 101, 5)
SPLITS = ("train", "selection", "validation")


class Inputs(NamedTuple):
    """Of one task under one backbone. Splits are train, selection and validation."""

    counts: dict[str, list[int]]  # split -> rows of each class
    tokens: dict[str, float]  # split -> mean tokens of a row, special ones counted, at most max_tokens
    origin: str  # where the tokens come from: tokenized | lengths.csv | max_tokens

    def rows(self, split: str, regime: Regime) -> int:
        """Rows of a split that a run of a regime reads; few-shot reads k of each class where there are as many."""
        limit = None if split == "validation" else regime.k
        return sum(count if limit is None else min(limit, count) for count in self.counts[split])


def inputs_of(study: Study, backbone: str, task: str) -> Inputs:
    """From the record of the tokens where this very scale has it; else rows by the task's file, and mean tokens from
    another scale's record, from `lengths.csv`, or, known from none, `max_tokens`: an upper bound.
    """
    asked = grid.tokens_config(study, backbone, task)
    records = [_read(path.parent) for path in sorted(paths.TOKENIZE.glob(f"*/{backbone}/{task}/tokens/record.json"))]
    alike = [one for one in records if _without_rows(one["asked"]) == _without_rows(asked)]
    for one in alike:
        if one["asked"] == asked:
            return Inputs(one["made"]["label_counts"], _means(one["made"]), "tokenized")
    counts = _expected(study, task)
    if alike:
        return Inputs(counts, _means(alike[0]["made"]), "tokenized")
    lengths = {split: _mean(task, split, asked["max_tokens"]) for split in ("train", "validation")}
    found = {"train": lengths["train"], "selection": lengths["train"], "validation": lengths["validation"]}
    known = {split: mean for split, mean in found.items() if mean is not None}
    if len(known) == len(found):
        return Inputs(counts, known, "lengths.csv")
    return Inputs(counts, dict.fromkeys(found, float(asked["max_tokens"])), "max_tokens")


def _read(folder: Path) -> dict[str, Any]:
    """Raises UserError where a record is damaged, or says nothing of the lengths of its texts."""
    found = record.read(folder)
    if not all(found["made"].get(key, {}).keys() >= set(SPLITS) for key in ("rows", "tokens", "label_counts")):
        raise UserError(f"{folder / 'record.json'}: says nothing of the lengths of its texts. {record.RESTORE}")
    return found


def _without_rows(asked: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in asked.items() if key not in ("rows", "source")}


def _means(made: dict[str, Any]) -> dict[str, float]:
    return {split: made["tokens"][split] / max(made["rows"][split], 1) for split in SPLITS}


def _expected(study: Study, task: str) -> dict[str, list[int]]:
    """By the counts that the task's file expects. Splits of a clustered task (MultiRC) come out some rows off."""
    expected, limits = load(task).expected, study.scale.rows
    train, validation = expected["train"].label_counts, expected["validation"].label_counts
    selection = _limited(train, round(limits.selection_fraction * sum(train)))
    rest = [count - carved for count, carved in zip(train, selection, strict=True)]
    return {
        "train": _limited(rest, limits.train),
        "selection": _limited(selection, limits.selection),
        "validation": _limited(validation, limits.report),
    }


def _limited(counts: list[int], limit: int | None) -> list[int]:
    """The counts of `limit` rows drawn from them, shares kept; they add up to `limit`."""
    total = sum(counts)
    if limit is None or limit >= total:
        return counts
    ends = [round(limit * sum(counts[: n + 1]) / total) for n in range(len(counts))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


@cache
def _lengths() -> dict[tuple[str, str], dict[str, float]]:
    with LENGTHS.open(encoding="utf-8", newline="") as file:
        return {
            (row.pop("task"), row.pop("split")): {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        }


def _mean(task: str, split: str, limit: int) -> float | None:
    """Mean length under truncation at `limit`, the quantiles joined by lines and scaled to the untruncated mean."""
    found = _lengths().get((task, split))
    if found is None:
        return None
    steps = [found[f"q{n}"] for n in QUANTILES]
    if limit >= steps[-1]:
        return found["mean"]
    between = [low + (high - low) * part / 20 for low, high in pairwise(steps) for part in range(20)]
    return min(found["mean"], fmean(min(value, limit) for value in between))
