"""choices.csv: what the prompts ended with - splits, lengths and pool weights on the reported examples."""

from collections import Counter
from typing import Any

from dp.results.groups import by_row
from dp.results.runs import Run
from dp.results.table import digests, made_from, overflowed
from dp.study.study import Study, length_of

COLUMNS = ("backbone", "regime", "k", "task", "variant", "factor", "value", "share", "examples", "seeds", "labels",
           "runs")  # fmt: skip
FACTORS = {"position": "split", "length": "length"}


def rows(study: Study, runs: list[Run]) -> list[dict[str, Any]]:
    """One row per candidate of each factor that a variant learns.

    split, length: `share` of the examples, of all runs together, for which each value 0..P was chosen. pool: the mean
    weight of prompt `value` of the pool; of one run, since the prompts of two runs have nothing in common but a number.
    """
    found: list[dict[str, Any]] = []
    for key, members in by_row(runs).items():
        definition = study.definition(key.variant)
        if not definition.is_prompt or overflowed(members):
            continue
        predictions = [run.predictions() for run in members]
        about = key._asdict() | made_from(members)
        for factor, column in FACTORS.items():
            if factor not in (*definition.choices, *definition.sources):
                continue
            counts = Counter(line[column] for lines in predictions for line in lines)
            found += [
                about | {"factor": column, "value": value, "share": counts[value] / counts.total(),
                         "examples": counts.total(), "seeds": len(members)}
                for value in range(length_of(study, definition) + 1)
            ]  # fmt: skip
        if predictions[0][0]["pool"] is not None:
            for run, lines in zip(members, predictions, strict=True):
                weights = [sum(column) / len(lines) for column in zip(*(line["pool"] for line in lines), strict=True)]
                found += [
                    about | {"factor": f"pool of {run.draw}", "value": value, "share": weight,
                             "examples": len(lines), "seeds": 1, "runs": digests([run])}
                    for value, weight in enumerate(weights)
                ]  # fmt: skip
    return found
