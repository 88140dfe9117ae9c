"""How far `dp plan`'s formula is off: recorded trainings, predicted from the speed of one run of each backbone.

    python benchmarks/plan.py results [...]      # folders laid out as results/
    python benchmarks/plan.py results --whole --set scale=open      # and the whole of one scale: time and disk

Each (scale, backbone) is calibrated on its first run of `fixed`; printed is measured / predicted of all others, by
variant: of `step_seconds`, and of the lower quartile of the seconds per token of their steps, which other work on the
same machine disturbs less. `--whole`: seconds of all jobs of a scale, and bytes below results/, against `dp plan` with
the speed of that one run.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from dp import files
from dp.commands import common
from dp.planning.costs import Counter
from dp.planning.shapes import shape_of
from dp.planning.speeds import JOB, LOAD, Sample, Speed, fitted, work_of
from dp.study import grid
from dp.study.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    study = common.study(arguments)
    for results in arguments.results:
        for folder in sorted((results / "train").glob("*/*")):
            if folder.name in study.params.backbones:
                speed = formula(study, folder)
                if arguments.whole and folder.parent.name == study.scale_name:
                    whole(study, results, speed)


def formula(study: Study, folder: Path) -> Speed:
    """Print the ratios of one backbone's trainings; the speed that they were predicted with."""
    own = shape_of(folder.name, study.params.backbones[folder.name])
    runs = {path: files.read_json(path) for path in sorted(folder.glob("*/*/*/*/record.json"))}
    runs = {path: one for path, one in runs.items() if one["asked"]["definition"].get("baseline") != "linear_probe"}
    first = next(
        path
        for path, one in runs.items()
        if one["asked"]["variant"] == "fixed" and "fewshot" not in one["asked"]["regime"]
    )

    def speed(seconds: float) -> Speed:
        return fitted("core", "CPU", folder.name, own.per_position, [Sample(work_of(own, runs[first]), seconds)])

    whole, calm = speed(runs[first]["made"]["step_seconds"]), speed(undisturbed(first, runs[first]))
    ratios: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path, one in runs.items():
        if path != first:
            work = work_of(own, one)
            pair = (one["made"]["step_seconds"] / whole.seconds(work), undisturbed(path, one) / calm.seconds(work))
            ratios[one["asked"]["variant"]].append(pair)
    print(f"\n{folder.parent.name}, {folder.name}: calibrated on {first.parent}, {whole.rate / 1e9:.1f} GFLOP/s "
          f"({calm.rate / 1e9:.1f} undisturbed)")  # fmt: skip
    print(f"{'variant':28} runs   median   worst | undisturbed: median   worst")
    for variant, found in [*ratios.items(), ("all", [pair for pairs in ratios.values() for pair in pairs])]:
        shown = [f"{median(values):7.2f} {worst(values):7.2f}" for values in zip(*found, strict=True)]
        print(f"{variant:28} {len(found):4}  {shown[0]} | {shown[1]:>27}")
    return whole


def undisturbed(path: Path, record: dict[str, Any]) -> float:
    """Seconds that the steps would take, were all as fast as the lower quartile of them, token by token."""
    steps = [line for line in files.read_jsonl(path.with_name("steps.jsonl")) if "loss" in line]
    rates = sorted(line["seconds"] / line["tokens"] for line in steps)
    return rates[len(rates) // 4] * sum(line["tokens"] for line in steps)


def worst(ratios: tuple[float, ...]) -> float:
    return max(ratios, key=lambda ratio: max(ratio, 1 / ratio))


def whole(study: Study, results: Path, speed: Speed) -> None:
    """Print time and bytes of a whole scale, measured and predicted."""
    counter, cells = Counter(study), grid.cells(study)
    cost = sum(counter.cost(cells).values(), counter.rows(cells))
    records = [files.read_json(path) for path in sorted(results.rglob("record.json"))]
    commands = ("features", "train", "evaluate")
    measured = sum(one["made"]["wall_seconds"] for one in records if one["command"] in commands)
    say("seconds of the jobs that compute", measured, speed.seconds(cost.work) + cost.work.loaded / LOAD)
    by_command: dict[str, float] = defaultdict(float)
    for one in records:
        by_command[one["command"]] += one["made"]["wall_seconds"]
    print({command: round(seconds, 1) for command, seconds in by_command.items()}, f"plus {JOB} s a job in the plan")
    for name, said in (("train and evaluate", cost.models + cost.runs), ("download and tokenize", cost.shared)):
        folders = [results / part for part in name.split(" and ")]
        bytes_ = sum(path.stat().st_size for one in folders for path in one.rglob("*") if path.is_file())
        say(f"MB in {name}", bytes_ / 1e6, said / 1e6)


def say(what: str, measured: float, predicted: float) -> None:
    print(f"{what:36} measured {measured:10.1f}  predicted {predicted:10.1f}  ratio {measured / predicted:.2f}")


if __name__ == "__main__":
    main()
