"""The choice among the trials of a variant, by the selection split alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dp import files


def choose(trials: Iterable[Path], folder: Path) -> dict[str, Any]:
    """Write choice.json and return its facts. `trials`: folders of the finished trials, in order."""
    records = [files.read_json(trial / "record.json")["made"] for trial in trials]
    tried = [
        {"setting": record["setting"]} | {key: record["selection"][key] for key in ("accuracy", "loss")}
        for record in records
    ]
    chosen = best(tried)
    setting = tried[chosen]["setting"]
    files.write_json(folder / "choice.json", {"trials": tried, "chosen": chosen, "setting": setting})
    return {"trials": len(tried), "chosen": chosen, "setting": setting}


def best(trials: list[dict[str, Any]]) -> int:
    """The trial with the highest selection accuracy, then the lowest selection loss, then the earliest.

    trials: {"accuracy", "loss"} of the selection split, in order; both None of one that ended in no number, which is
    chosen only where all did, since every seed will then do so too.
    """

    def rank(i: int) -> tuple[bool, float, float, int]:
        accuracy, loss = trials[i]["accuracy"], trials[i]["loss"]
        return (True, 0.0, 0.0, i) if accuracy is None else (False, -accuracy, loss, i)

    return min(range(len(trials)), key=rank)
