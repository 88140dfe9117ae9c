"""The choice among the trials of a variant, by the selection split alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dp import files
from dp.training.trials import best


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
